"""The fleet as the Gate sees it: who is in it, their health, and the looks that keep that knowledge fresh.

Takes the facts that are about replicas rather than calls. Whoever asks it something about health gets told whether
room may have appeared, because then waiting calls must be looked at again.
"""

from collections.abc import Mapping
from random import Random
from typing import Final

from penstock.base.nouns import WITHOUT_STATS, EngineStats, GpuReading, Replica, ReplicaView
from penstock.base.rand import Rand
from penstock.core.bench import Benches
from penstock.core.effects import Effect, Forget, Look, Probe
from penstock.core.events import Benched
from penstock.core.flight import Flight
from penstock.core.health import Health
from penstock.core.load import Seat
from penstock.core.outliers import ejection_s, overdue
from penstock.core.pool import Pool
from penstock.core.spec import PoolSpec
from penstock.core.timers import Timers

Alarm = tuple[str, str]
"""What an alarm is for, and whom it concerns (a replica's or a call's id)."""

WARMING_S: Final = 1.0
"""How often a new replica is probed until it first answers: the usual interval would add its length to every start."""
LIST_S: Final = 30.0
"""How often engines are asked which models they serve, where the configuration leaves that to them."""
SPREAD: Final = 0.1
"""Looks at different replicas drift apart by this share of their interval, so that they do not come in volleys."""


class Fleet:
    """All seats, by id and by pool."""

    __slots__ = ("_count", "_flights", "_leaving", "_rng", "_timers", "benches", "pools", "seats")

    def __init__(self, timers: Timers[Alarm], flights: Mapping[str, Flight], rand: Rand) -> None:
        """`flights`: the calls in flight, which `books` writes; read once an interval, for who waits for long."""
        self._flights = flights
        self._timers = timers
        self._rng: Random = rand.stream("looks")
        self._count = 0
        self._leaving: list[Seat] = []
        """Out of the fleet, with calls still in flight."""
        self.benches = Benches(timers)
        self.seats: dict[str, Seat] = {}
        self.pools: dict[str, Pool] = {}

    # ===== membership =====

    def seen(self, replicas: tuple[Replica, ...], out: list[Effect], now: float) -> None:
        """The fleet should be exactly this. Replicas of unknown pools are left out (configuration refuses them)."""
        wanted = {replica.id: replica for replica in replicas if replica.pool in self.pools}
        left = [seat for seat in self.seats.values() if not seat.same_as(wanted.get(seat.id))]
        for seat in left:
            self._leave(seat, out)
        for replica in wanted.values():
            known = self.seats.get(replica.id)
            if known is None:
                self._join(replica, now)
            elif known.replica != replica:
                known.adopt(replica)
                if replica.drain != (known.health.life == "draining"):
                    known.health.sign("drain" if replica.drain else "undrain")
                self.schedule(known, self.pools[known.pool].spec, now)
        for seat in left:  # only now: an id that came back at another address is not to be forgotten
            self.emptied(seat, out)
        for pool in self.pools.values():
            pool.changed()
            self._schedule_sweep(pool, now)

    def _join(self, replica: Replica, now: float) -> None:
        pool = self.pools[replica.pool]
        spec = pool.spec
        health = Health(spec.breaker, spec.probe, replica.max_concurrent_requests)
        seat = self._back(replica, health)
        if seat is None:
            seat = Seat(replica, health, self._count)
            self._count += 1
        self.seats[seat.id] = seat
        pool.seats.append(seat)
        if replica.drain:
            seat.health.sign("drain")
        self.schedule(seat, spec, now)

    def _back(self, replica: Replica, health: Health) -> Seat | None:
        """The seat of a replica that left and has calls still, which go on holding its places; None: there is none."""
        seat = next((one for one in self._leaving if one.id == replica.id and one.same_as(replica)), None)
        if seat is not None:
            self._leaving.remove(seat)
            health.returns += seat.health.returns
            seat.health = health
            seat.adopt(replica)
        return seat

    def schedule(self, seat: Seat, spec: PoolSpec, now: float) -> None:
        """Start (or stop) looking at a replica, as its pool's settings say."""
        for look, wanted in (
            ("health", spec.probe.enabled),
            ("stats", spec.scrape.enabled and seat.replica.engine not in WITHOUT_STATS),
            ("models", not spec.models and not seat.replica.models),
        ):
            if wanted:
                self._timers.set((look, seat.id), now)
            else:
                self._timers.cancel((look, seat.id))
                if look == "stats":  # nobody would ever tell that its queue has become shorter
                    self._changed(seat, seat.health.crowd(None), now)
        self.benches.hurry(seat, spec.benchmark, now)

    def _schedule_sweep(self, pool: Pool, now: float) -> None:
        """Start (or stop) to compare a pool's replicas: where there are too few no clock runs. Where the settings no
        longer want it, who was put out comes back."""
        alarm, fewest = ("outliers", pool.spec.name), pool.outliers.fewest()
        if fewest is None or len(pool.seats) < fewest:
            self._timers.cancel(alarm)
        elif alarm not in self._timers:
            self._timers.set(alarm, now + max(1.0, pool.spec.outliers.interval_s))
        for seat in pool.seats if fewest is None else ():
            self._timers.cancel(("ejected", seat.id))
            self._changed(seat, seat.health.eject(False), now)

    def _leave(self, seat: Seat, out: list[Effect]) -> None:
        """The replica is no longer in the fleet: nothing new, and `emptied` once it has ended what it has."""
        del self.seats[seat.id]
        self.pools[seat.pool].seats.remove(seat)
        for what in ("health", "stats", "models", "breaker", "aside", "ejected"):
            self._timers.cancel((what, seat.id))
        self.benches.leave(seat, out)
        seat.health.sign("drain")
        self._leaving.append(seat)

    def keep_pools(self, names: set[str], out: list[Effect], now: float) -> None:
        """Only these pools exist any longer; settings of their looks may have changed."""
        for seat in [seat for seat in self.seats.values() if seat.pool not in names]:
            self._leave(seat, out)
            self.emptied(seat, out)
        for name in [name for name in self.pools if name not in names]:
            self._timers.cancel(("outliers", name))
            del self.pools[name]
        for seat in self.seats.values():
            self.schedule(seat, self.pools[seat.pool].spec, now)
        for pool in self.pools.values():
            self._schedule_sweep(pool, now)

    def emptied(self, seat: Seat, out: list[Effect]) -> None:
        """A seat that left the fleet has ended its last call (or had none): it is gone."""
        if seat.in_flight == 0 and self.seats.get(seat.id) is not seat:
            seat.health.sign("emptied")
            self._leaving.remove(seat)
            if seat.id not in self.seats and all(other.id != seat.id for other in self._leaving):
                out.append(Forget(seat.id))

    # ===== traffic =====

    def succeeded(self, seat: Seat, now: float) -> bool:
        """A call ended well there; whether room may have appeared."""
        if seat.errors:
            seat.outcome(False, now)
        else:
            seat.served += 1
        health = seat.health
        watched = health.failures or health.breaker != "closed" or health.panic
        return bool(watched) and self._changed(seat, health.succeeded(), now)

    def failed(self, seat: Seat, now: float) -> None:
        """A call failed by its fault."""
        seat.outcome(True, now)
        health = seat.health
        was_open = health.breaker == "open"  # then the call was under way before: it proves nothing about now
        changed = health.failed()
        if health.breaker == "open" and not was_open and self.seats.get(seat.id) is seat:
            health.open_until = now + health.spec_breaker.open_s
            self._timers.set(("breaker", seat.id), health.open_until)
        self._changed(seat, changed, now)

    def cleared(self, seat: Seat, now: float) -> None:
        """A call that it was blamed for failed by its own fault."""
        self._changed(seat, seat.health.cleared(), now)

    def set_aside(self, seat: Seat, pause_s: float, now: float) -> None:
        """It asked for a pause."""
        if self.seats.get(seat.id) is seat:
            self._timers.set(("aside", seat.id), now + pause_s)
            self._changed(seat, seat.health.set_aside(True), now)

    def sweep(self, name: str, at: float, now: float) -> None:
        """An interval of a pool's comparison is over: put out who did so much worse than the others."""
        pool = self.pools[name]
        spec = pool.spec.outliers
        waiting = overdue(self._flights.values(), now) if spec.latency.enabled else {}
        chosen = pool.outliers.sweep(pool.seats, waiting)
        for seat, reason in chosen:
            self._changed(seat, seat.health.eject(True, reason), now)
            seat.health.ejected_until = now + ejection_s(spec, seat.health.ejections)
            self._timers.set(("ejected", seat.id), seat.health.ejected_until)
        interval_s = max(1.0, spec.interval_s)
        self._timers.set(("outliers", name), at + interval_s if at + interval_s > now else now + interval_s)

    # ===== looks =====

    def probed(self, replica: str, ok: bool, now: float) -> bool:
        """A health probe came back; whether room may have appeared."""
        seat = self.seats.get(replica)
        if seat is None:
            return False
        was_new = seat.health.life == "warming"
        changed = self._changed(seat, seat.health.probed(ok), now)
        if was_new and changed and seat.listed is None and ("models", replica) in self._timers:
            self._timers.set(("models", replica), now)  # it has just come up: now it can say what it serves
        return changed

    def observed(self, replica: str, stats: EngineStats | None, now: float) -> bool:
        """A scrape came back. A failed one changes nothing until the old numbers are stale; then they count no more."""
        seat = self.seats.get(replica)
        if seat is None:
            return False
        if stats is not None:
            pool = self.pools[seat.pool]
            seat.observed(stats, pool.spec.scrape.stale_after_s, now)
            if seat.cache.observed(stats) and pool.pipeline.prefix is not None:
                pool.pipeline.prefix.index.forget(seat.cache)
            if stats.loaded is not None or stats.loras_running is not None:
                pool.engines_tell()
            return self._changed(seat, seat.health.crowd(stats.waiting), now)
        return now >= seat.stats_until and self._changed(seat, seat.health.crowd(None), now)

    def metered(self, replica: str, gpus: tuple[GpuReading, ...], now: float) -> None:
        """A replica's GPUs were read."""
        seat = self.seats.get(replica)
        if seat is not None:
            seat.metered(gpus, self.pools[seat.pool].spec.scrape.gpus_stale_after_s, now)

    def listed(self, replica: str, models: tuple[str, ...], now: float) -> bool:
        """An engine listed its models; whether that is news."""
        seat = self.seats.get(replica)
        if seat is None or seat.listed == models:
            return False
        seat.listed = models
        pool = self.pools[seat.pool]
        pool.changed()
        self.benches.hurry(seat, pool.spec.benchmark, now)
        return True

    def benched(self, event: Benched, now: float) -> str | None:
        """A benchmark is over; the pool in which its seat came free."""
        seat = self.seats.get(event.replica)
        over = seat is not None and self.benches.benched(event, self.pools[seat.pool], None, now)
        return seat.pool if seat is not None and over else None

    def rang(self, what: str, replica: str, out: list[Effect], at: float, now: float) -> bool:
        """An alarm about a replica of the fleet (who leaves has none left), or about a pool's comparison; whether room
        may have appeared."""
        if what == "outliers":
            self.sweep(replica, at, now)
            return True  # who was put out may have tipped the pool into panic
        seat = self.seats[replica]
        if what == "ejected":
            return self._changed(seat, seat.health.eject(False), now)
        if what == "breaker":
            return self._changed(seat, seat.health.half_open(), now)
        if what == "aside":
            return self._changed(seat, seat.health.set_aside(False), now)
        if what == "bench":
            return self.benches.rang(seat, self.pools[seat.pool], out, now)
        spec = self.pools[seat.pool].spec
        look: Look = "health" if what == "health" else "stats" if what == "stats" else "models"
        timeout_s = spec.scrape.timeout_s if look == "stats" else spec.probe.timeout_s
        out.append(Probe(replica, look, timeout_s))
        next_at = at + self._interval_s(seat, look, spec)
        # after a long stall the missed looks are not made up for
        self._timers.set((what, replica), next_at if next_at > now else now + self._interval_s(seat, look, spec))
        return False

    def _interval_s(self, seat: Seat, look: Look, spec: PoolSpec) -> float:
        if look == "health":
            interval_s = (
                min(WARMING_S, spec.probe.interval_s) if seat.health.life == "warming" else spec.probe.interval_s
            )
        elif look == "stats":
            interval_s = spec.scrape.interval_s
        else:
            interval_s = LIST_S if seat.listed else WARMING_S
        return max(0.05, interval_s) * (1 + SPREAD * (2 * self._rng.random() - 1))

    def _changed(self, seat: Seat, changed: bool, now: float) -> bool:
        if changed:
            pool = self.pools.get(seat.pool)
            if pool is not None:
                pool.changed()
                if pool.spec.benchmark.enabled and self.seats.get(seat.id) is seat:
                    self.benches.hurry(seat, pool.spec.benchmark, now)
        return changed

    # ===== for people =====

    def views(self, now: float) -> list[ReplicaView]:
        """Every replica, in the fleet's order."""
        return [self._view(seat, now) for seat in self.seats.values()]

    def _view(self, seat: Seat, now: float) -> ReplicaView:
        replica = seat.replica
        return ReplicaView(
            id=seat.id,
            url=replica.url,
            pool=seat.pool,
            engine=replica.engine,
            models=sorted(replica.models or seat.listed or self.pools[seat.pool].spec.models),
            state=seat.state_at(now),
            breaker=seat.health.breaker,
            suspect=seat.health.suspect,
            ejected=seat.health.ejected,
            in_flight=seat.in_flight,
            seats=seat.seats,
            load=seat.load_at(now),
            ttft_ewma_s=seat.ttft_s,
            error_rate=seat.error_rate_at(now),
            stats=seat.stats,
            stats_age_s=None if seat.stats is None else now - seat.stats_at,
            served=seat.served,
            failed=seat.failed,
            pinned=seat.pinned,
            gpus=seat.gpus if seat.gpus and now < seat.gpus_until else None,
            version=replica.version,
            max_model_len=replica.max_model_len,
            benchmark=self.benches.view(seat, now),
            region=replica.region,
            purchase=replica.purchase,
        )
