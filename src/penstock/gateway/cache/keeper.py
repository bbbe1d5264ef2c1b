"""Performs the Gate's orders about the cache: bytes of answers that are kept, given again, looked up, let go of."""

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import UNSET
from msgspec.structs import replace

from penstock.core.effects import Adopt, Answer, Compare, Drop, Hand, Keep, LookUp, Release
from penstock.core.events import Compared, LookedUp
from penstock.gateway.cache.beside import Beside
from penstock.gateway.cache.cached import CachedExchange
from penstock.gateway.cache.comparing import Comparer
from penstock.gateway.cache.share import Share
from penstock.gateway.cache.shelf import Kept, Shelf
from penstock.gateway.call.exchange import Exchange
from penstock.gateway.plane import Plane


class Floor(Plane, Protocol):
    """The data plane, as seen from here."""

    exchanges: dict[str, Exchange]
    shelf: Shelf
    similar: Comparer | None
    """None: questions in other words are other questions."""


class Elsewhere(Protocol):
    """Where gateways share answers."""

    def look_up(self, call: str, key: str, told: Callable[[int], None]) -> None:
        """Ask; what comes of it is told within a bounded time, and `told` how new an answer is that is made now."""
        ...

    def keep(self, order: Keep, kept: Kept, epoch: int | None) -> None:
        """Keep it there as well; None: nobody knows how new it is."""
        ...


class Keeper:
    """Does what the Gate orders."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self.elsewhere: Elsewhere | None = None
        self.beside: Beside | None = None
        """The other workers; None: there are none."""

    def table(self) -> dict[type, Callable[[Any], None]]:
        """Orders, and what is done."""
        return {
            Answer: self._answer,
            Adopt: self._adopt,
            Keep: self._keep,
            Drop: self._drop,
            LookUp: self._look_up,
            Release: self._release,
            Hand: self._hand,
            Compare: self._compare,
        }

    def _exchange(self, id: str) -> CachedExchange | None:
        found = self._floor.exchanges.get(id)
        return found if isinstance(found, CachedExchange) else None

    def _answer(self, order: Answer) -> None:
        exchange = self._exchange(order.id)
        if exchange is None:
            return
        if order.how == "hit":
            exchange.give(order, self._floor.shelf.kept.get(order.key))
        elif self.beside is not None and (feed := self.beside.joined(order.id)) is not None:
            exchange.follow_abroad(order, feed)
        else:
            exchange.follow(order, self._exchange(order.of))

    def _adopt(self, order: Adopt) -> None:
        exchange = self._exchange(order.by)
        if exchange is not None:
            exchange.adopt()
        before = self._exchange(order.id)
        if before is not None:
            before.part()

    def _keep(self, order: Keep) -> None:
        shelf, similar = self._floor.shelf, self._floor.similar
        exchange = self._exchange(order.id)
        self._let_go(order.evicted)
        kept, epoch = shelf.found.pop(order.id, None), None
        if kept is None and not order.found:
            epoch = None if exchange is None else exchange.epoch
            share = None if exchange is None else exchange.share
            kept = None if share is None or share.kept is None else replace(share.kept, tags=order.tags)
        if kept is not None:
            shelf.keep(order.key, kept)
            if self.elsewhere is not None and not order.found:
                self.elsewhere.keep(order, kept, epoch)
            if similar is not None and exchange is not None:
                similar.keep(order, exchange.question)

    def _drop(self, order: Drop) -> None:
        self._let_go(order.keys)

    def _let_go(self, keys: tuple[str, ...]) -> None:
        self._floor.shelf.drop(keys)
        if keys and self._floor.similar is not None:
            self._floor.similar.drop(keys)

    def _compare(self, order: Compare) -> None:
        similar, exchange = self._floor.similar, self._exchange(order.id)
        if similar is None or exchange is None:
            self._floor.tell(Compared(order.id))
        else:
            similar.compare(order, exchange.question)

    def _look_up(self, order: LookUp) -> None:
        """Other workers first: what they have need not be carried over a network."""
        if self.beside is None or order.priority is UNSET:
            self._look_elsewhere(order)
        else:
            self.beside.look_up(order, lambda: self._look_elsewhere(order))

    def _release(self, order: Release) -> None:
        if self.beside is not None:
            self.beside.release(order)

    def _hand(self, order: Hand) -> None:
        if self.beside is not None:
            self.beside.lending.hand(order, lambda: self._share(order.of))

    def _share(self, call: str) -> Share | None:
        exchange = self._exchange(call)
        return None if exchange is None else exchange.shared()

    def _look_elsewhere(self, order: LookUp) -> None:
        exchange = self._exchange(order.id)
        if self.elsewhere is None or exchange is None:
            self._floor.tell(LookedUp(order.id))
        else:
            self.elsewhere.look_up(order.id, order.key, exchange.dated)
