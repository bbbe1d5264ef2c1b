"""Answers: which of them are kept, and which calls wait for one that is being made. A part of the Gate.

Which answers may be used again, and under which key, is `cache`'s arithmetic; what it means for the way of a call is
`given`'s business.
"""

from msgspec import UNSET

from penstock.base.contents import CacheState, CacheView
from penstock.core.abroad import Abroad
from penstock.core.cache.cache import Cache
from penstock.core.cache.spec import CacheSpec
from penstock.core.effects import Drop, Effect, Keep
from penstock.core.events import Ended, Invalidated, Wanted
from penstock.core.flight import Flight, Sharing
from penstock.core.limits.limits import Limits


class Answers:
    """The cache, where there is one, and what is to be told of it."""

    __slots__ = ("_abroad", "_dropped", "_limits", "cache", "orphans")

    def __init__(self, limits: Limits, abroad: Abroad) -> None:
        self._limits = limits
        self._abroad = abroad
        self.cache: Cache | None = None
        self._dropped: tuple[str, ...] = ()
        self.orphans: list[tuple[Sharing, str, int, str]] = []
        """Those whose leader ended without an answer, how, and its id: as the turn ends, `heirs` decides about them."""

    # ===== settings, and for people =====

    def respec(self, spec: CacheSpec | None, looks_up: bool, beside: bool) -> None:
        """This cache holds from now on. What is being made goes on."""
        if spec is None:
            if self.cache is not None:
                self._dropped += self.cache.invalidate(None, None, None)
            self.cache = None
        elif self.cache is None:
            self.cache = Cache(spec, looks_up, beside)
        else:
            self._dropped += self.cache.respec(spec, looks_up, beside)
        self._limits.given_free = spec is None or spec.charge == "none"

    def drop(self, out: list[Effect]) -> None:
        """What other settings have put out of use goes."""
        if self._dropped:
            out.append(Drop(self._dropped))
            self._dropped = ()

    def view(self) -> CacheView | None:
        """As it stands; None: there is none."""
        return None if self.cache is None else self.cache.view()

    def invalidated(self, event: Invalidated, out: list[Effect], now: float) -> None:
        """Some answers must not be given any more."""
        if event.mark is not UNSET:
            self._abroad.mark = event.mark
        keys = () if self.cache is None else self.cache.invalidate(event.tag, event.model, event.tenant)
        if keys:
            out.append(Drop(keys))

    # ===== other workers =====

    def wanted(self, event: Wanted, out: list[Effect], now: float) -> None:
        """Another worker's calls want an answer."""
        self._abroad.wanted(self.cache, event, out, now)

    # ===== of one call =====

    @staticmethod
    def counts(flight: Flight, state: CacheState) -> None:
        """It is known what the cache has to do with it; what was known before was too early."""
        flight.cache = state

    def counted(self, state: CacheState) -> None:
        """A call of which that was known at last is over."""
        if self.cache is not None and state in self.cache.calls:
            self.cache.calls[state] += 1

    def keep(self, flight: Flight, sharing: Sharing, event: Ended, out: list[Effect], now: float) -> None:
        """The answer is whole: keep it, if it may be. That of a fallback, or by an alias that has moved, is another
        model's."""
        cache, size, targets = self.cache, event.kept_bytes, flight.targets
        if cache is None or not size or not sharing.keep or sharing.leader is not flight or event.status != 200:
            return
        if targets[flight.target].model != sharing.target.model or not cache.index.takes(size):
            return
        self.put(cache, flight, sharing, size, 0.0, False, out, now)

    @staticmethod
    def put(
        cache: Cache, flight: Flight, sharing: Sharing, size: int, age_s: float, shared: bool, out: list[Effect],
        now: float,
    ) -> None:  # fmt: skip
        """Keep this call's answer, which is so old. `shared`: other gateways can have it already."""
        entry = cache.entry(sharing, size, now - age_s, now + sharing.ttl_s)
        evicted = cache.index.add(sharing.key, entry)
        sharing.kept = True
        out.append(Keep(
            flight.call.id, sharing.key, sharing.ttl_s, entry.tenant, entry.model, sharing.tags, shared, evicted,
            sharing.frame or UNSET,
        ))  # fmt: skip

    def unshare(self, flight: Flight, sharing: Sharing, outcome: str, status: int, out: list[Effect]) -> None:
        """A call that has one answer with others is over. Whose leader has its whole answer get it as fast as they
        read, whatever else happens."""
        flight.sharing = None
        if sharing.leader is not flight:
            del sharing.followers[flight]
            return
        if self.cache is not None:
            self.cache.close(sharing)
        if outcome == "ok":
            for follower in sharing.followers:
                follower.sharing = None
            self._abroad.dissolve(sharing, out)
        elif sharing.followers:
            self.orphan(sharing, outcome, status, flight)
        else:
            self._abroad.dissolve(sharing, out, outcome, status)

    def orphan(self, sharing: Sharing, outcome: str, status: int, flight: Flight) -> None:
        """This call was the one that led, and brings no answer: its followers are thought of as the turn ends."""
        self.orphans.append((sharing, outcome, status, flight.call.id))
        self._limits.freed.append(flight.call.tenant)  # so that `let_in` is called then
