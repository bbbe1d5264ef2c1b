"""Given: calls whose answer is not made for them: it is kept, or another call at the same time brings it. A part of the
Gate.

Which answers may be used again, and under which key, is `cache`'s arithmetic. Here is what that means for the lives of
calls: who leads and who follows, and what becomes of the others when one of them is over [C1, C2].
"""

from msgspec import UNSET, UnsetType

from penstock.base.errors import REFUSALS, Label
from penstock.core.answers import Answers
from penstock.core.books import Books
from penstock.core.cache.cache import Cache
from penstock.core.catalog import Catalog
from penstock.core.doors import Doors
from penstock.core.effects import Adopt, Answer, Compare, Drop, Effect, Keep, LookUp
from penstock.core.events import Began, ClientGone, Compared, Ended, Failed, LookedUp
from penstock.core.exits import Exits
from penstock.core.flight import Flight, Sharing
from penstock.core.limits.limits import Limits


class Given:
    """Calls that get an answer which is not made for them. What returns a call or None returns the one that is to go on
    now, because it is to have an answer of its own after all."""

    __slots__ = ("_answers", "_books", "_catalog", "_doors", "_exits", "_limits")

    def __init__(
        self, books: Books, limits: Limits, catalog: Catalog, answers: Answers, exits: Exits, doors: Doors
    ) -> None:
        self._books = books
        self._limits = limits
        self._catalog = catalog
        self._answers = answers
        self._exits = exits
        self._doors = doors

    # ===== a call comes =====

    def answered_at_once(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """Before its limits are asked what generating an answer would need: whether it needs none. Then it holds what
        that takes."""
        if not flight.targets or not self.answered(flight, out, now, held=False):
            return False
        self._books.flights[flight.call.id] = flight
        return True

    def answered(self, flight: Flight, out: list[Effect], now: float, *, held: bool = True) -> bool:
        """Whether it need not be sent now: it has its answer from elsewhere, or asks for one. Else it is sent, and if
        `held`, it leads from then on."""
        cache = self._answers.cache
        if cache is None or not flight.call.content or flight.sharing is not None:
            return False
        use = cache.use(flight)
        if use == "bypass":
            if held:
                self._answers.counts(flight, "bypass")
            return False
        key = cache.key(flight)
        if cache.index.lapsed(key, now):
            out.append(Drop((key,)))
        if use == "use" and self._finds(cache, key, flight, out, now, held):
            return True
        return held and self._leads(cache, key, flight, use == "use", out, now)

    def _finds(self, cache: Cache, key: str, flight: Flight, out: list[Effect], now: float, held: bool) -> bool:
        entry = cache.index.get(key, now)
        sharing = cache.sharings.get(key) if entry is None and cache.spec.coalesce else None
        if entry is None and (sharing is None or not sharing.takes(flight)):
            return False
        if sharing is not None and sharing.frame and not cache.frame(flight):
            return False  # it wants no other question's answer, which that one may get
        if not held and self._limits.hold(flight, now, given=True) is not None:
            return False
        if entry is not None:
            self._hit(flight, key, now - entry.at, out, now)
        else:
            assert sharing is not None
            self._follow(flight, sharing, out, now)
        return True

    def _leads(self, cache: Cache, key: str, flight: Flight, looks: bool, out: list[Effect], now: float) -> bool:
        """It is sent, and others may join it; whether something is asked first."""
        self._answers.counts(flight, "miss")
        if looks and key in cache.sharings and cache.spec.coalesce:
            return False  # it is more urgent than those: it has nothing to do with them
        flight.sharing = cache.lead(key, flight)
        if not looks:
            return False
        if not cache.looks_up:
            return self._compares(flight, flight.sharing, out)
        flight.move("looking")
        out.append(LookUp(flight.call.id, key))
        return True

    @staticmethod
    def _compares(flight: Flight, sharing: Sharing, out: list[Effect]) -> bool:
        """Whether kept questions in other words are looked at before it is sent."""
        if not sharing.frame or not sharing.keep:
            return False
        if flight.state != "looking":
            flight.move("looking")
        out.append(Compare(flight.call.id, sharing.frame))
        return True

    def _hit(
        self, flight: Flight, key: str, age_s: float, out: list[Effect], now: float,
        similarity: float | UnsetType = UNSET,
    ) -> None:  # fmt: skip
        self._answers.counts(flight, "hit" if similarity is UNSET else "similar")
        if flight.state != "given":
            flight.move("given")
        rates = None if flight.hold is None else self._limits.goes(flight, now)
        out.append(Answer(flight.call.id, key, "hit", "", age_s, rates, similarity))
        if self._books.trails is not None:
            how, of = ("hit", "") if similarity is UNSET else ("similar", f"{similarity:.4f}")
            self._books.trails.given(flight, how, of, age_s, now)

    def _follow(self, flight: Flight, sharing: Sharing, out: list[Effect], now: float) -> None:
        self._answers.counts(flight, "coalesced")
        flight.move("given")
        flight.sharing = sharing
        sharing.followers[flight] = None
        leader = sharing.leader.call.id
        rates = None if flight.hold is None else self._limits.goes(flight, now)
        out.append(Answer(flight.call.id, sharing.key, "coalesced", leader, 0.0, rates))
        if self._books.trails is not None:
            self._books.trails.given(flight, "coalesced", leader, 0.0, now)

    def looked_up(self, event: LookedUp, out: list[Effect], now: float) -> Flight | None:
        """What gateways share was asked."""
        flight = self._books.flights.get(event.id)
        if flight is None or flight.state != "looking":
            return None
        sharing, cache, found = flight.sharing, self._answers.cache, event.found
        assert sharing is not None
        if cache is None or found is None or not sharing.keep or found.left_s <= 0 or not cache.index.takes(found.size):
            if cache is not None and self._compares(flight, sharing, out):
                return None
            flight.move("new")
            return flight
        sharing.tags, sharing.ttl_s = found.tags, found.left_s
        entry = cache.entry(sharing, found.size, now - found.age_s, now + found.left_s)
        evicted = cache.index.add(sharing.key, entry)
        out.append(Keep(
            event.id, sharing.key, found.left_s, entry.tenant, entry.model, found.tags, True, evicted,
            sharing.frame or UNSET,
        ))  # fmt: skip
        cache.close(sharing)
        for each in (flight, *sharing.followers):
            each.sharing = None
            self._hit(each, sharing.key, found.age_s, out, now)
        return None

    def compared(self, event: Compared, out: list[Effect], now: float) -> Flight | None:
        """Kept questions in other words were looked at."""
        flight, cache = self._books.flights.get(event.id), self._answers.cache
        if flight is None or flight.state != "looking":
            return None
        sharing, entry = flight.sharing, None
        assert sharing is not None
        if cache is not None and event.key:
            if cache.index.lapsed(event.key, now):
                out.append(Drop((event.key,)))
            entry = cache.alike(sharing, event.key, event.similarity, now)
        if cache is None or entry is None:
            flight.move("new")
            return flight
        cache.close(sharing)
        for each in (flight, *sharing.followers):
            each.sharing = None
            self._hit(each, event.key, now - entry.at, out, now, event.similarity)
        return None

    # ===== its answer comes =====

    def began(self, event: Began, now: float) -> None:
        """Its client gets the first of it."""
        flight = self._books.flights.get(event.id)
        if flight is not None and flight.state == "given" and flight.began is None:
            flight.began = now

    def ended(self, event: Ended, out: list[Effect], now: float) -> None:
        """Its client has it."""
        flight = self._books.flights.get(event.id)
        if flight is None or flight.state != "given":
            return
        if flight.began is None:
            flight.began = now
        self._exits.over(flight, "ok", event.status, event.usage, event.relayed_tokens, out, now)

    def failed(self, event: Failed, out: list[Effect], now: float) -> Flight | None:
        """What it was to get is not to be had: it is sent itself, if its client has seen nothing."""
        flight = self._books.flights.get(event.id)
        if flight is None or flight.state != "given":
            return None
        if flight.began is not None:
            self._exits.refuse(flight, event.label, out, now, tokens=event.relayed_tokens)
            return None
        if flight.sharing is not None:
            del flight.sharing.followers[flight]
            flight.sharing = None
        if self._books.trails is not None:
            self._books.trails.given(flight, "alone", "", 0.0, now)
        return flight if self._begin_anew(flight, out, now) else None

    def _begin_anew(self, flight: Flight, out: list[Effect], now: float) -> bool:
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

    # ===== one of several is over =====

    def bereave(self, out: list[Effect], now: float) -> Flight | None:
        """A leader has ended without an answer: what becomes of its followers. What failed it fails all, where it was a
        replica's fault and it has had all its chances. Where it was the leader's own (its client left, its limits, its
        priority), the next one leads."""
        sharing, outcome, status, leader = self._answers.orphans.pop(0)
        row = REFUSALS.get(outcome)
        followers = sharing.followers
        if row is not None and (row.blames_replica or row.type == "upstream_error"):
            label: Label = outcome  # type: ignore[assignment]
            for follower in list(followers):
                follower.sharing = None
                self._exits.refuse(follower, label, out, now, status=status)
            followers.clear()
            return None
        while followers:
            heir = next(iter(followers))
            del followers[heir]
            heir.sharing = None
            out.append(Adopt(leader, heir.call.id))
            leader = heir.call.id
            if self._books.trails is not None:
                self._books.trails.given(heir, "alone", "", 0.0, now)
            if not self._begin_anew(heir, out, now):
                continue  # it waits for its limits, alone
            sharing.leader = heir
            heir.sharing = sharing
            if self._answers.cache is not None and sharing.keep and sharing.key not in self._answers.cache.sharings:
                self._answers.cache.sharings[sharing.key] = sharing
            return heir
        return None

    def left(self, flight: Flight, sharing: Sharing, event: ClientGone, out: list[Effect], now: float) -> bool:
        """Its client has left: where others wait for what is being made for it, the next of them has it from now on;
        whether it is so."""
        if sharing.leader is not flight or not sharing.followers or flight.state not in ("sent", "begun"):
            return False
        heir = next(iter(sharing.followers))
        del sharing.followers[heir]
        out.append(Adopt(flight.call.id, heir.call.id))
        replica = "" if flight.seat is None else flight.seat.id
        if self._books.trails is not None:
            self._books.trails.given(heir, "owner", flight.call.id, 0.0, now)
        if flight.hedge == "due":
            self._books.unwatch(flight)
        if flight.state == "begun" and heir.began is None:
            heir.began = now
        flight.hand_over(heir)
        self._limits.hand_over(flight, heir)
        sharing.leader = heir
        heir.sharing, flight.sharing = sharing, None
        self._answers.counts(heir, "miss")
        self._exits.over(flight, "client_gone", 499, None, event.relayed_tokens, out, now, replica)
        return True
