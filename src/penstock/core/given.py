"""Given: calls whose answer is not made for them: it is kept, or another call at the same time brings it. A part of the
Gate.

Which answers may be used again, and under which key, is `cache`'s arithmetic. Here is what that means for the lives of
calls: who leads and who follows, and what becomes of the others when one of them is over [C1, C2].
"""

from msgspec import UNSET, UnsetType

from penstock.base.contents import CacheState, CacheView
from penstock.base.errors import REFUSALS, Label
from penstock.base.rand import Rand
from penstock.core.cache.cache import Cache
from penstock.core.cache.spec import CacheSpec
from penstock.core.catalog import Catalog
from penstock.core.doors import Doors
from penstock.core.effects import Adopt, Answer, Compare, Drop, Effect, Keep, LookUp
from penstock.core.events import Began, ClientGone, Compared, Ended, Failed, Invalidated, LookedUp
from penstock.core.fleet import Alarm, Fleet
from penstock.core.flight import Flight, Sharing
from penstock.core.timers import Timers


class Given(Doors):
    """The calls in flight, and the answers that they have in common."""

    __slots__ = ("_dropped", "_orphans", "cache")

    def __init__(self, fleet: Fleet, timers: Timers[Alarm], catalog: Catalog, rand: Rand) -> None:
        super().__init__(fleet, timers, catalog, rand)
        self.cache: Cache | None = None
        self._orphans: list[tuple[Sharing, str, int, str]] = []
        """Those whose leader ended without an answer, how, and its id: `let_in` decides about them as the turn ends."""
        self._dropped: tuple[str, ...] = ()

    # ===== settings, and for people =====

    def respec_cache(self, spec: CacheSpec | None, looks_up: bool) -> None:
        """This cache holds from now on. What is being made goes on."""
        if spec is None:
            if self.cache is not None:
                self._dropped += self.cache.invalidate(None, None, None)
            self.cache = None
        elif self.cache is None:
            self.cache = Cache(spec, looks_up)
        else:
            self._dropped += self.cache.respec(spec, looks_up)
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
        self._counts(flight, "coalesced")
        flight.move("given")
        flight.sharing = sharing
        sharing.followers[flight] = None
        leader = sharing.leader.call.id
        rates = None if flight.hold is None else self._limits.goes(flight, now)
        out.append(Answer(flight.call.id, sharing.key, "coalesced", leader, 0.0, rates))
        if self.trails is not None:
            self.trails.given(flight, "coalesced", leader, 0.0, now)

    def looked_up(self, event: LookedUp, out: list[Effect], now: float) -> None:
        """What gateways share was asked."""
        flight = self._flights.get(event.id)
        if flight is None or flight.state != "looking":
            return
        sharing, cache, found = flight.sharing, self.cache, event.found
        assert sharing is not None
        if cache is None or found is None or not sharing.keep or found.left_s <= 0 or not cache.index.takes(found.size):
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
        for each in (flight, *sharing.followers):
            each.sharing = None
            self._hit(each, sharing.key, found.age_s, out, now)

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

    # ===== one of several is over =====

    def _kept(self, flight: Flight, sharing: Sharing, event: Ended, out: list[Effect], now: float) -> None:
        """The answer is whole: keep it, if it may be. That of a fallback is another model's."""
        cache, size, targets = self.cache, event.kept_bytes, flight.targets
        if cache is None or not size or not sharing.keep or sharing.leader is not flight or event.status != 200:
            return
        if targets[flight.target].model != targets[0].model or not cache.index.takes(size):
            return
        entry = cache.entry(sharing, size, now, now + sharing.ttl_s)
        evicted = cache.index.add(sharing.key, entry)
        out.append(Keep(
            flight.call.id, sharing.key, sharing.ttl_s, entry.tenant, entry.model, sharing.tags, False, evicted,
            sharing.frame or UNSET,
        ))  # fmt: skip

    def _unshare(self, flight: Flight, sharing: Sharing, outcome: str, status: int) -> None:
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
        elif sharing.followers:
            self._orphans.append((sharing, outcome, status, flight.call.id))
            self.freed.append(flight.call.tenant)  # so that `let_in` is called when the turn is over

    def let_in(self, out: list[Effect], now: float) -> None:
        """See `Doors`; and those whose leader has ended without an answer."""
        while self.freed or self._orphans:
            super().let_in(out, now)
            if self._orphans:
                self._bereave(*self._orphans.pop(0), out, now)

    def _bereave(self, sharing: Sharing, outcome: str, status: int, leader: str, out: list[Effect], now: float) -> None:
        """What failed the leader fails all, where it was a replica's fault and it has had all its chances. Where it
        was the leader's own (its client left, its limits, its priority), the next one leads."""
        row = REFUSALS.get(outcome)
        followers = sharing.followers
        if row is not None and (row.blames_replica or row.type == "upstream_error"):
            label: Label = outcome  # type: ignore[assignment]
            for follower in list(followers):
                follower.sharing = None
                self._refuse(follower, label, out, now, status=status)
            followers.clear()
            return
        while followers:
            heir = next(iter(followers))
            del followers[heir]
            heir.sharing = None
            out.append(Adopt(leader, heir.call.id))
            leader = heir.call.id
            if self.trails is not None:
                self.trails.given(heir, "alone", "", 0.0, now)
            if not self._begin_anew(heir, out, now):
                continue  # it waits for its limits, alone
            sharing.leader = heir
            heir.sharing = sharing
            if self.cache is not None and sharing.keep and sharing.key not in self.cache.sharings:
                self.cache.sharings[sharing.key] = sharing
            self._goes(heir, out, now)
            return

    def _left(self, flight: Flight, sharing: Sharing, event: ClientGone, out: list[Effect], now: float) -> bool:
        """Its client has left: where others wait for what is being made for it, the next of them has it from now on;
        whether it is so."""
        if sharing.leader is not flight or not sharing.followers or flight.state not in ("sent", "begun"):
            return False
        heir = next(iter(sharing.followers))
        del sharing.followers[heir]
        out.append(Adopt(flight.call.id, heir.call.id))
        replica = "" if flight.seat is None else flight.seat.id
        if self.trails is not None:
            self.trails.given(heir, "owner", flight.call.id, 0.0, now)
        self._hand_over(flight, heir, now)
        sharing.leader = heir
        heir.sharing, flight.sharing = sharing, None
        self._counts(heir, "miss")
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
