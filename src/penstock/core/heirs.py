"""Heirs: what becomes of calls that have one answer when one of them is over. A part of the Gate.

The answer of one that ends well is kept, and the others get all of it. When the client of the one that leads leaves, or
what befell it is its alone, the next of them takes its place; what replicas did to it befalls them all [C2].
"""

from msgspec import UNSET

from penstock.base.errors import Label
from penstock.base.rand import Rand
from penstock.core.abroad import failed_by_replicas
from penstock.core.catalog import Catalog
from penstock.core.effects import Adopt, Effect, Keep
from penstock.core.events import ClientGone, Ended, Failed
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight, Sharing
from penstock.core.given import Given
from penstock.core.timers import Timers


class Heirs(Given):
    """Calls that have one answer, and who is next."""

    __slots__ = ("_orphans",)

    def __init__(self, fleet: Fleet, timers: Timers[Alarm], catalog: Catalog, rand: Rand) -> None:
        super().__init__(fleet, timers, catalog, rand)
        self._orphans: list[tuple[Sharing, str, int, str]] = []
        """Those whose leader ended without an answer, how, and its id: `let_in` decides about them as the turn ends."""

    def _kept(self, flight: Flight, sharing: Sharing, event: Ended, out: list[Effect], now: float) -> None:
        """The answer is whole: keep it, if it may be. That of a fallback is another model's."""
        cache, size, targets = self.cache, event.kept_bytes, flight.targets
        if cache is None or not size or not sharing.keep or sharing.leader is not flight or event.status != 200:
            return
        if targets[flight.target].model != targets[0].model or not cache.index.takes(size):
            return
        entry = cache.entry(sharing, size, now, now + sharing.ttl_s)
        evicted = cache.index.add(sharing.key, entry)
        sharing.kept = True
        out.append(Keep(
            flight.call.id, sharing.key, sharing.ttl_s, entry.tenant, entry.model, sharing.tags, False, evicted,
            sharing.frame or UNSET,
        ))  # fmt: skip

    def _unshare(self, flight: Flight, sharing: Sharing, outcome: str, status: int, out: list[Effect]) -> None:
        """See `Books`. Whose leader has its whole answer get it as fast as they read, whatever else happens."""
        flight.sharing = None
        if sharing.leader is not flight:
            del sharing.followers[flight]
            return
        if self.cache is not None:
            self.cache.close(sharing)
        if outcome == "ok":
            for follower in sharing.followers:
                follower.sharing = None
            self._dissolve(sharing, out)
        elif sharing.followers:
            self._orphans.append((sharing, outcome, status, flight.call.id))
            self.freed.append(flight.call.tenant)  # so that `let_in` is called when the turn is over
        else:
            self._dissolve(sharing, out, outcome, status)

    def let_in(self, out: list[Effect], now: float) -> None:
        """See `Doors`; and those whose leader has ended without an answer."""
        while self.freed or self._orphans:
            super().let_in(out, now)
            if self._orphans:
                self._bereave(*self._orphans.pop(0), out, now)

    def _bereave(self, sharing: Sharing, outcome: str, status: int, leader: str, out: list[Effect], now: float) -> None:
        """What failed the leader fails all, where it was a replica's fault and it has had all its chances. Where it
        was the leader's own (its client left, its limits, its priority), the next one leads."""
        followers = sharing.followers
        if failed_by_replicas(outcome):
            label: Label = outcome  # type: ignore[assignment]
            for follower in list(followers):
                follower.sharing = None
                self._refuse(follower, label, out, now, status=status)
            followers.clear()
            self._dissolve(sharing, out, outcome, status)
            return
        while followers:
            heir = next(iter(followers))
            del followers[heir]
            heir.sharing = None
            if heir.call.id != leader:
                out.append(Adopt(leader, heir.call.id))
                leader = heir.call.id
            if self.trails is not None:
                self.trails.given(heir, "alone", "", 0.0, now)
            if not self._begin_anew(heir, out, now):
                continue  # it waits for its limits, alone
            sharing.leader, sharing.left = heir, None
            heir.sharing = sharing
            if self.cache is not None and sharing.keep and sharing.key not in self.cache.sharings:
                self.cache.sharings[sharing.key] = sharing
            if not self._asks_again(heir, sharing, out):
                self._goes(heir, out, now)
            return
        self._dissolve(sharing, out, outcome, status)

    def _left(self, flight: Flight, sharing: Sharing, event: ClientGone, out: list[Effect], now: float) -> bool:
        """Its client has left: where others wait for what is being made for it, the next of them has it from now on,
        and where they are all at other workers, it goes on for them; whether it is so."""
        if sharing.leader is not flight or flight.state not in ("sent", "begun", "given"):
            return False
        if not sharing.followers:
            if not sharing.abroad or sharing.left is not None:
                return False
            sharing.left = event.relayed_tokens
            return True
        heir = next(iter(sharing.followers))
        del sharing.followers[heir]
        out.append(Adopt(flight.call.id, heir.call.id))
        replica = "" if flight.seat is None else flight.seat.id
        if self.trails is not None:
            self.trails.given(heir, "owner", flight.call.id, 0.0, now)
        if not sharing.brought:
            self._hand_over(flight, heir, now)
            self._counts(heir, "miss")
        sharing.leader, sharing.left = heir, None
        heir.sharing, flight.sharing = sharing, None
        self._over(flight, "client_gone", 499, None, event.relayed_tokens, out, now, replica)
        return True

    def _hand_over(self, flight: Flight, heir: Flight, now: float) -> None:
        """All that has to do with the attempts that run."""
        if flight.hedge == "due":
            self._unwatch(flight)
        heir.move(flight.state)
        if flight.state == "begun" and heir.began is None:
            heir.began = now
        for name in (
            "attempt", "number", "seat", "rival", "sent_at", "hedge", "hedged", "tried", "free_used", "last", "cached",
            "deadline", "expected", "flow", "target", "target_attempts", "targets", "spared",
        ):  # fmt: skip
            setattr(heir, name, getattr(flight, name))
        flight.attempt = 0  # who reads both rows would count its attempts, and what was relayed of them, twice
        flight.seat = flight.rival = flight.flow = None
        flight.hedge = ""
        flight.move("given")
        self._limits.hand_over(flight, heir)

    def _not_brought(self, flight: Flight, sharing: Sharing, event: Failed, out: list[Effect], now: float) -> None:
        """Another worker does not bring (the rest of) the answer. Where clients have seen some of it, or replicas have
        failed that one as well, all are told; else others are asked again, or one of those here is sent."""
        sharing.brought = False
        if flight.began is not None or event.label != "stale_connection":
            self._refuse(flight, event.label, out, now, status=event.status, tokens=event.relayed_tokens)
            return
        if self.cache is not None:
            self.cache.close(sharing)
        sharing.followers = {flight: None, **sharing.followers}
        self._orphans.append((sharing, "", 0, flight.call.id))
        self.freed.append(flight.call.tenant)
