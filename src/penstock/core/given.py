"""Given: calls whose answer is not made for them: it is kept, or another call at the same time brings it. A part of the
Gate.

Which answers may be used again, and under which key, is `cache`'s arithmetic. Here is what that means for the lives of
calls: who leads and who follows [C1, C2]; what becomes of the others when one of them is over stands in `heirs`.
"""

from abc import abstractmethod

from msgspec import UNSET, UnsetType

from penstock.base.contents import CacheState, CacheView
from penstock.base.rand import Rand
from penstock.core.abroad import Abroad
from penstock.core.cache.cache import Cache
from penstock.core.cache.spec import CacheSpec
from penstock.core.catalog import Catalog
from penstock.core.effects import Answer, Compare, Drop, Effect, Keep
from penstock.core.events import Began, Compared, Ended, Failed, Found, Invalidated, LookedUp
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight, Sharing
from penstock.core.timers import Timers


class Given(Abroad):
    """The calls in flight, and the answers that they have in common."""

    __slots__ = ("_dropped",)

    def __init__(self, fleet: Fleet, timers: Timers[Alarm], catalog: Catalog, rand: Rand) -> None:
        super().__init__(fleet, timers, catalog, rand)
        self._dropped: tuple[str, ...] = ()

    # ===== settings, and for people =====

    def respec_cache(self, spec: CacheSpec | None, looks_up: bool, beside: bool) -> None:
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

    def recached(self, out: list[Effect]) -> None:
        """What other settings have put out of use goes."""
        if self._dropped:
            out.append(Drop(self._dropped))
            self._dropped = ()

    def cache_view(self) -> CacheView | None:
        """As it stands; None: there is none."""
        return None if self.cache is None else self.cache.view()

    def invalidated(self, event: Invalidated, out: list[Effect], now: float) -> None:
        """Some answers must not be given any more."""
        if event.mark is not UNSET:
            self._mark = event.mark
        keys = () if self.cache is None else self.cache.invalidate(event.tag, event.model, event.tenant)
        if keys:
            out.append(Drop(keys))

    # ===== a call comes =====

    def _given_at_once(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """Before its limits are asked what generating an answer would need: whether it needs none. Then it holds what
        that takes."""
        if not flight.targets or not self._given(flight, out, now, held=False):
            return False
        self._flights[flight.call.id] = flight
        return True

    def _given(self, flight: Flight, out: list[Effect], now: float, *, held: bool = True) -> bool:
        """Whether it need not be sent now: it has its answer from elsewhere, or asks for one. Else it is sent, and if
        `held`, it leads from then on."""
        cache = self.cache
        if cache is None or not flight.call.content or flight.sharing is not None:
            return False
        use = cache.use(flight)
        if use == "bypass":
            if held:
                self._counts(flight, "bypass")
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
        self._counts(flight, "miss")
        if looks and key in cache.sharings and cache.spec.coalesce:
            return False  # it is more urgent than those: it has nothing to do with them
        flight.sharing = cache.lead(key, flight)
        if not looks:
            return False
        if not cache.looks_up and not cache.beside:
            return self._compares(flight, flight.sharing, out)
        self._asks(cache, flight, flight.sharing, out)
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

    def _counts(self, flight: Flight, state: CacheState) -> None:
        """It is known what the cache has to do with it; what was known before was too early."""
        calls = {} if self.cache is None else self.cache.calls
        if flight.cache in calls:
            calls[flight.cache] -= 1
        if calls:
            calls[state] += 1
        flight.cache = state

    def _hit(
        self, flight: Flight, key: str, age_s: float, out: list[Effect], now: float,
        similarity: float | UnsetType = UNSET,
    ) -> None:  # fmt: skip
        self._counts(flight, "hit" if similarity is UNSET else "similar")
        if flight.state != "given":
            flight.move("given")
        rates = None if flight.hold is None else self._limits.goes(flight, now)
        out.append(Answer(flight.call.id, key, "hit", "", age_s, rates, similarity))
        if self.trails is not None:
            how, of = ("hit", "") if similarity is UNSET else ("similar", f"{similarity:.4f}")
            self.trails.given(flight, how, of, age_s, now)

    def _follow(self, flight: Flight, sharing: Sharing, out: list[Effect], now: float) -> None:
        flight.sharing = sharing
        sharing.followers[flight] = None
        self._joins(flight, sharing, sharing.leader.call.id, out, now)

    def _joins(self, flight: Flight, sharing: Sharing, leader: str, out: list[Effect], now: float) -> None:
        self._counts(flight, "coalesced")
        flight.move("given")
        rates = None if flight.hold is None else self._limits.goes(flight, now)
        out.append(Answer(flight.call.id, sharing.key, "coalesced", leader, 0.0, rates))
        if self.trails is not None:
            self.trails.given(flight, "coalesced", leader, 0.0, now)

    def looked_up(self, event: LookedUp, out: list[Effect], now: float) -> None:
        """Other workers, and what gateways share, were asked."""
        flight = self._flights.get(event.id)
        if flight is None or flight.state != "looking":
            return
        sharing, cache, found = flight.sharing, self.cache, event.found
        assert sharing is not None
        sharing.looking = False
        if event.leader is not UNSET:
            sharing.asked = ""
            if sharing.keep and cache is not None:
                sharing.brought = True
                self._joins(flight, sharing, event.leader, out, now)
                self._dissolve(sharing, out, "brought")  # whoever follows it from elsewhere finds that leader as well
                return
        if cache is None or found is None or not sharing.keep or not self._may_keep(cache, found):
            if cache is None or not self._compares(flight, sharing, out):
                flight.move("new")
                self._enter(flight, out, now)
            return
        sharing.tags, sharing.ttl_s = found.tags, found.left_s
        entry = cache.entry(sharing, found.size, now - found.age_s, now + found.left_s)
        evicted = cache.index.add(sharing.key, entry)
        out.append(Keep(
            event.id, sharing.key, found.left_s, entry.tenant, entry.model, found.tags, True, evicted,
            sharing.frame or UNSET,
        ))  # fmt: skip
        cache.close(sharing)
        sharing.kept = True
        for each in (flight, *sharing.followers):
            each.sharing = None
            self._hit(each, sharing.key, found.age_s, out, now)
        self._dissolve(sharing, out, "hit")

    def _may_keep(self, cache: Cache, found: Found) -> bool:
        """Not where it is too old; nor where it comes from a worker that does not know yet what is out of use."""
        return (
            found.left_s > 0
            and cache.index.takes(found.size)
            and (found.mark is UNSET or found.mark >= self._mark)
        )  # fmt: skip

    def compared(self, event: Compared, out: list[Effect], now: float) -> None:
        """Kept questions in other words were looked at."""
        flight, cache = self._flights.get(event.id), self.cache
        if flight is None or flight.state != "looking":
            return
        sharing, entry = flight.sharing, None
        assert sharing is not None
        if cache is not None and event.key:
            if cache.index.lapsed(event.key, now):
                out.append(Drop((event.key,)))
            entry = cache.alike(sharing, event.key, event.similarity, now)
        if cache is None or entry is None:
            flight.move("new")
            self._enter(flight, out, now)
            return
        cache.close(sharing)
        for each in (flight, *sharing.followers):
            each.sharing = None
            self._hit(each, event.key, now - entry.at, out, now, event.similarity)
        self._dissolve(sharing, out, "similar")

    # ===== its answer comes =====

    def _given_began(self, event: Began, now: float) -> None:
        flight = self._flights.get(event.id)
        if flight is not None and flight.state == "given" and flight.began is None:
            flight.began = now

    def _given_ended(self, event: Ended, out: list[Effect], now: float) -> None:
        flight = self._flights.get(event.id)
        if flight is None or flight.state != "given":
            return
        if flight.began is None:
            flight.began = now
        self._over(flight, "ok", event.status, event.usage, event.relayed_tokens, out, now)

    def _given_failed(self, event: Failed, out: list[Effect], now: float) -> None:
        """What it was to get is not to be had: it is sent itself, if its client has seen nothing."""
        flight = self._flights.get(event.id)
        if flight is None or flight.state != "given":
            return
        if flight.sharing is not None and flight.sharing.leader is flight:
            self._not_brought(flight, flight.sharing, event, out, now)
            return
        if flight.began is not None:
            self._refuse(flight, event.label, out, now, tokens=event.relayed_tokens)
            return
        if flight.sharing is not None:
            del flight.sharing.followers[flight]
            flight.sharing = None
        if self.trails is not None:
            self.trails.given(flight, "alone", "", 0.0, now)
        if self._begin_anew(flight, out, now):
            self._goes(flight, out, now)

    @abstractmethod
    def _not_brought(self, flight: Flight, sharing: Sharing, event: Failed, out: list[Effect], now: float) -> None:
        """Another worker does not bring (the rest of) the answer that this one stood for."""

    def _begin_anew(self, flight: Flight, out: list[Effect], now: float) -> bool:
        """It has held what it takes to be given an answer, and needs one of its own; False: its limits do not let it
        pass now, or ever."""
        self._counts(flight, "miss")
        flight.move("new")
        flight.targets = self.catalog.targets(flight.call)
        if not self._limits.on:
            return True
        self._limits.release(flight)
        del self._flights[flight.call.id]
        if not self._admit(flight, out, now):
            return False
        self._flights[flight.call.id] = flight
        return True

    def _goes(self, flight: Flight, out: list[Effect], now: float) -> None:
        """It is sent, or waits, whatever the cache holds."""
        if not flight.targets:
            self._refuse(flight, "model_not_found", out, now)
            return
        flight.deadline = now + self._fleet.pools[flight.targets[0].pool].patience_s(flight.call)
        self._dispatch(flight, out, now)
