"""Heirs: what becomes of calls that have one answer when one of them is over. A part of the Gate.

The others get all of the answer of one that ends well. When the client of the one that leads leaves, or what befell it
is its alone, the next of them takes its place; what replicas did to it befalls them all [C2].
"""

from penstock.base.errors import Label
from penstock.core.abroad import Abroad, failed_by_replicas
from penstock.core.answers import Answers
from penstock.core.books import Books
from penstock.core.catalog import Catalog
from penstock.core.doors import Doors
from penstock.core.effects import Adopt, Effect
from penstock.core.events import ClientGone, Failed
from penstock.core.exits import Exits
from penstock.core.flight import Flight, Sharing
from penstock.core.limits.limits import Limits


class Heirs:
    """Calls that have one answer, and who is next."""

    __slots__ = ("_abroad", "_answers", "_books", "_catalog", "_doors", "_exits", "_limits")

    def __init__(
        self, books: Books, limits: Limits, catalog: Catalog, answers: Answers, abroad: Abroad, exits: Exits,
        doors: Doors,
    ) -> None:  # fmt: skip
        self._books = books
        self._limits = limits
        self._catalog = catalog
        self._answers = answers
        self._abroad = abroad
        self._exits = exits
        self._doors = doors

    def begin_anew(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """It has held what it takes to be given an answer, and needs one of its own; False: its limits do not let it
        pass now, or ever."""
        self._answers.counts(flight, "miss")
        flight.move("new")
        flight.targets = self._catalog.targets(flight.call)
        if not self._limits.on:
            return True
        self._limits.release(flight)
        del self._books.flights[flight.call.id]
        if not self._doors.admit(flight, out, now):
            return False
        self._books.flights[flight.call.id] = flight
        return True

    def bereave(self, out: list[Effect], now: float) -> Flight | None:
        """A leader has ended without an answer: what becomes of its followers. What failed it fails all, where it was a
        replica's fault and it has had all its chances. Where it was the leader's own (its client left, its limits, its
        priority), the next one leads."""
        sharing, outcome, status, leader = self._answers.orphans.pop(0)
        followers = sharing.followers
        if failed_by_replicas(outcome):
            label: Label = outcome  # type: ignore[assignment]
            for follower in list(followers):
                follower.sharing = None
                self._exits.refuse(follower, label, out, now, status=status)
            followers.clear()
            self._abroad.dissolve(sharing, out, outcome, status)
            return None
        while followers:
            heir = next(iter(followers))
            del followers[heir]
            heir.sharing = None
            if heir.call.id != leader:
                out.append(Adopt(leader, heir.call.id))
                leader = heir.call.id
            if self._books.trails is not None:
                self._books.trails.given(heir, "alone", "", 0.0, now)
            if not self.begin_anew(heir, out, now):
                continue  # it waits for its limits, alone
            sharing.leader, sharing.left = heir, None
            heir.sharing = sharing
            if self._answers.cache is not None and sharing.keep and sharing.key not in self._answers.cache.sharings:
                self._answers.cache.sharings[sharing.key] = sharing
            return None if self._abroad.asks_again(self._answers.cache, heir, sharing, out) else heir
        self._abroad.dissolve(sharing, out, outcome, status)
        return None

    def left(self, flight: Flight, sharing: Sharing, event: ClientGone, out: list[Effect], now: float) -> bool:
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
        if self._books.trails is not None:
            self._books.trails.given(heir, "owner", flight.call.id, 0.0, now)
        if not sharing.brought:
            self._hand_over(flight, heir, now)
        sharing.leader, sharing.left = heir, None
        heir.sharing, flight.sharing = sharing, None
        self._exits.over(flight, "client_gone", 499, None, event.relayed_tokens, out, now, replica)
        return True

    def _hand_over(self, flight: Flight, heir: Flight, now: float) -> None:
        """All that has to do with the attempts that run."""
        if flight.hedge == "due":
            self._books.unwatch(flight)
        if flight.state == "begun" and heir.began is None:
            heir.began = now
        flight.hand_over(heir)
        self._limits.hand_over(flight, heir)
        self._answers.counts(heir, "miss")

    def not_brought(self, flight: Flight, sharing: Sharing, event: Failed, out: list[Effect], now: float) -> None:
        """Another worker does not bring (the rest of) the answer. Where clients have seen some of it, or replicas have
        failed that one as well, all are told; else others are asked again, or one of those here is sent."""
        sharing.brought = False
        if flight.began is not None or event.label != "stale_connection":
            self._exits.refuse(flight, event.label, out, now, status=event.status, tokens=event.relayed_tokens)
            return
        if self._answers.cache is not None:
            self._answers.cache.close(sharing)
        sharing.followers = {flight: None, **sharing.followers}
        self._answers.orphan(sharing, "", 0, flight)
