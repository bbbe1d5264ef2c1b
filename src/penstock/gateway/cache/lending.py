"""What a worker does for the others: it keeps the register of the keys that hash to it, and hands out answers."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from penstock.adapters.stores.lease_socket import bound
from penstock.config.schema import GatewayTimeouts
from penstock.core.cache.register import Leader, Register
from penstock.core.effects import Hand
from penstock.core.events import Event, Wanted
from penstock.gateway.cache.handed import Outlet
from penstock.gateway.cache.share import Share
from penstock.gateway.cache.shelf import Shelf
from penstock.gateway.cache.talk import SILENCE_S, Asking, Have, Hello, Line, Lost, Nothing, Over, Question, Told, Want

MOST_LINES: Final = 1024
"""Answers at a time to other workers; and from them."""


class Floor(Protocol):
    """The data plane, as seen from here."""

    shelf: Shelf
    timeouts: GatewayTimeouts
    tell: Callable[[Event], None]


class Lending:
    """Its socket. Whoever can open that may ask: it is made for this user alone."""

    def __init__(self, worker: int, floor: Floor, tick: Callable[[], None]) -> None:
        """`tick`: `beat` must be called soon, and again as long as it says so."""
        self.register = Register()
        self._worker = worker
        self._floor = floor
        self._tick = tick
        self._numbers = 0
        self._server: asyncio.Server | None = None
        self._lines: dict[Line[Asking], str] = {}
        """Those that are open, and by which name what they want is known to the Gate."""
        self._callers: dict[Line[Asking], int] = {}
        """Those that ask who leads, and whose they are."""
        self._outlets: dict[str, Outlet] = {}

    async def start(self, path: str) -> None:
        """Listen there. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._accepted, sock=bound(path))

    def close(self) -> None:
        """Be there for nobody any more; what is written arrives."""
        if self._server is not None:
            self._server.close()
        for line in list(self._lines):
            line.close()

    def _accepted(self) -> Line[Asking]:
        self._numbers += 1
        by = f"{self._worker}/{self._numbers}"
        line: Line[Asking] = Line(
            Asking, lambda word: self._heard(line, by, word), lambda: self._closed(line, by),
            lambda paused: self._slow(by, paused),
        )  # fmt: skip
        self._lines[line] = by
        return line

    def _heard(self, line: Line[Asking], by: str, word: Asking) -> None:
        worker = self._callers.get(line, 0)
        match word:
            case Hello():
                self._callers[line] = word.worker
            case Want():
                self._want(line, by, word)
            case Question() if worker:
                wrong = Leader(word.wrong_worker, word.wrong_call)
                line.tell(Told(word.number, *self.register.ask(word.key, Leader(worker, word.call), wrong)))
            case Over() if worker:
                self.register.release(word.key, Leader(worker, word.call), word.kept)
            case _:
                line.abort()

    def _want(self, line: Line[Asking], by: str, word: Want) -> None:
        if by in self._outlets or len(self._outlets) >= MOST_LINES:
            line.close()
            return
        self._outlets[by] = Outlet(by, line, self._floor.tell)
        self._tick()
        self._floor.tell(Wanted(by, word.key, word.priority))

    def _closed(self, line: Line[Asking], by: str) -> None:
        self._lines.pop(line, None)
        outlet = self._outlets.pop(by, None)
        if outlet is not None:
            outlet.closed()
        worker = self._callers.pop(line, 0)
        if worker and worker not in self._callers.values():  # else it is back already
            self.register.gone(worker)

    def _slow(self, by: str, paused: bool) -> None:
        outlet = self._outlets.get(by)
        if outlet is not None:
            outlet.slow(paused)

    def hand(self, order: Hand, share: Callable[[], Share | None]) -> None:
        """Give another worker what the Gate says; `share`: that of the call that brings it."""
        outlet = self._outlets.get(order.by)
        if outlet is None:
            return
        if order.how == "coalesced":
            outlet.take(share(), order.of, order.mark)
        elif order.how == "failed" and order.label:
            outlet.end(Lost(order.label, order.status))
        else:
            kept = self._floor.shelf.kept.get(order.key) if order.how == "hit" else None
            held = None if kept is None else Have(kept, order.age_s, order.left_s, order.tags, order.mark)
            outlet.end(held or Nothing())

    def beat(self, now: float) -> bool:
        """Say to those who wait that their answers are still being made; whether there are any."""
        patience_s = self._floor.timeouts.send_s + SILENCE_S
        for outlet in list(self._outlets.values()):
            outlet.beat(now, patience_s)
        return bool(self._outlets)
