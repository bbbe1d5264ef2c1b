"""Given: calls whose answer is not made for them: it is kept, or another call at the same time brings it. A part of the
Gate.

Which answers may be used again, and under which key, is `cache`'s arithmetic. Here is what that means for the lives of
calls: who leads and who follows [C1, C2]; what becomes of the others when one of them is over stands in `heirs`.
"""

from msgspec import UNSET, UnsetType

from penstock.core.abroad import Abroad
from penstock.core.answers import Answers
from penstock.core.books import Books
from penstock.core.cache.cache import Cache
from penstock.core.effects import Answer, Compare, Drop, Effect
from penstock.core.events import Began, Compared, Ended, Failed, Found, LookedUp
from penstock.core.exits import Exits
from penstock.core.flight import Flight, Sharing
from penstock.core.heirs import Heirs
from penstock.core.limits.limits import Limits


class Given:
    """Calls that get an answer which is not made for them. What returns a call or None returns the one that is to go on
    now, because it is to have an answer of its own after all."""

    __slots__ = ("_abroad", "_answers", "_books", "_exits", "_heirs", "_limits")

    def __init__(
        self, books: Books, limits: Limits, answers: Answers, abroad: Abroad, exits: Exits, heirs: Heirs
    ) -> None:
        self._books = books
        self._limits = limits
        self._answers = answers
        self._abroad = abroad
        self._exits = exits
        self._heirs = heirs

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
        if not cache.looks_up and not cache.beside:
            return self._compares(flight, flight.sharing, out)
        self._abroad.asks(cache, flight, flight.sharing, out)
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
        flight.sharing = sharing
        sharing.followers[flight] = None
        self._joins(flight, sharing, sharing.leader.call.id, out, now)

    def _joins(self, flight: Flight, sharing: Sharing, leader: str, out: list[Effect], now: float) -> None:
        self._answers.counts(flight, "coalesced")
        flight.move("given")
        rates = None if flight.hold is None else self._limits.goes(flight, now)
        out.append(Answer(flight.call.id, sharing.key, "coalesced", leader, 0.0, rates))
        if self._books.trails is not None:
            self._books.trails.given(flight, "coalesced", leader, 0.0, now)

    def looked_up(self, event: LookedUp, out: list[Effect], now: float) -> Flight | None:
        """Other workers, and what gateways share, were asked."""
        flight = self._books.flights.get(event.id)
        if flight is None or flight.state != "looking":
            return None
        sharing, cache, found = flight.sharing, self._answers.cache, event.found
        assert sharing is not None
        sharing.looking = False
        if event.leader is not UNSET:
            sharing.asked = ""
            if sharing.keep and cache is not None and self._knows_enough(event.mark):
                sharing.brought = True
                self._joins(flight, sharing, event.leader, out, now)
                self._abroad.dissolve(sharing, out, "brought")  # who follows it elsewhere finds that leader as well
                return None
        if cache is None or found is None or not sharing.keep or not self._may_keep(cache, found):
            if cache is not None and self._compares(flight, sharing, out):
                return None
            flight.move("new")
            return flight
        sharing.tags, sharing.ttl_s = found.tags, found.left_s
        self._answers.put(cache, flight, sharing, found.size, found.age_s, True, out, now)
        self._all_hit(cache, sharing, sharing.key, found.age_s, out, now)
        return None

    def _may_keep(self, cache: Cache, found: Found) -> bool:
        """Not where it is too old; nor where it comes from a worker that does not know yet what is out of use."""
        return (
            found.left_s > 0
            and cache.index.takes(found.size)
            and self._knows_enough(found.mark)
        )  # fmt: skip

    def _knows_enough(self, mark: int | UnsetType) -> bool:
        """Whether another worker has heard of all that is out of use; what it has may be among that otherwise."""
        return mark is UNSET or mark >= self._abroad.mark

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
        self._all_hit(cache, sharing, event.key, now - entry.at, out, now, event.similarity)
        return None

    def _all_hit(
        self, cache: Cache, sharing: Sharing, key: str, age_s: float, out: list[Effect], now: float,
        similarity: float | UnsetType = UNSET,
    ) -> None:  # fmt: skip
        """The call that asked before it was sent, and all that follow it, get a kept answer."""
        cache.close(sharing)
        for each in (sharing.leader, *sharing.followers):
            each.sharing = None
            self._hit(each, key, age_s, out, now, similarity)
        self._abroad.dissolve(sharing, out, "hit")

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
        if flight.sharing is not None and flight.sharing.leader is flight:
            self._heirs.not_brought(flight, flight.sharing, event, out, now)
            return None
        if flight.began is not None:
            self._exits.refuse(flight, event.label, out, now, tokens=event.relayed_tokens)
            return None
        if flight.sharing is not None:
            del flight.sharing.followers[flight]
            flight.sharing = None
        if self._books.trails is not None:
            self._books.trails.given(flight, "alone", "", 0.0, now)
        return flight if self._heirs.begin_anew(flight, out, now) else None
