"""A small world around a Gate: replicas that answer, fail and go down by a script, and clients that come and leave.

Everything that happens is drawn from the seed by name, so the same seed is the same story on any clock. With a grid,
all times are multiples of it, so that many things happen at the same instant.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from msgspec.structs import replace

from penstock.base.errors import Label
from penstock.base.nouns import Call, EngineStats, Replica, Usage
from penstock.base.rand import Rand
from penstock.core.effects import BENCHMARK, Bench, Cancel, Effect, Probe, Record, Refuse, Send
from penstock.core.events import (
    Arrived,
    Began,
    Benched,
    ClientGone,
    Ended,
    Event,
    Failed,
    FleetSeen,
    Listed,
    Observed,
    Probed,
    Reconfigured,
    Woke,
)
from penstock.core.gate import Gate
from penstock.core.limits.spec import LimitsSpec
from penstock.core.route.presets import Adaptive, LeastLoaded, P2CPeakEwma, RoundRobin, Strategy, WeightedRoundRobin
from penstock.core.spec import (
    BenchmarkSpec,
    BreakerSpec,
    ExplainSpec,
    GateSpec,
    HedgeSpec,
    PoolSpec,
    QueueSpec,
    RetrySpec,
)
from penstock.drive.journal import Journal
from penstock.drive.pump import CallAt, Clock, Pump, raise_bug

STRATEGIES: tuple[Strategy, ...] = (Adaptive(), RoundRobin(), LeastLoaded(), P2CPeakEwma(), WeightedRoundRobin())
BEFORE_ANSWER: tuple[Label, ...] = ("upstream_5xx", "upstream_busy", "closed_early", "stale_connection", "bad_response")


class At(Protocol):
    """Call `action(argument)` at a time."""

    def __call__(self, when: float, action: Callable[[Any], object], argument: Any, /) -> object: ...


EXPLAIN = ExplainSpec(calls=1000)


def scenario(seed: int) -> tuple[GateSpec, tuple[Replica, ...]]:
    """A configuration and a fleet of two to five replicas in two pools."""
    rng = Rand(seed).stream("scenario")
    queue = QueueSpec(
        timeout_s=rng.choice([2.0, 10.0]), max=rng.choice([3, 50]), unavailable_wait_s=1.0, waiting_room_s=1.0
    )
    breaker = BreakerSpec(failures=rng.choice([2, 5]), open_s=1.0)
    retries = RetrySpec(backoff_s=0.2)
    hedge = rng.choice([None, HedgeSpec(), HedgeSpec(delay_s=0.25, budget=0.5), HedgeSpec(delay_s=0.125, budget=1.0)])
    benchmark = BenchmarkSpec(enabled=Rand(seed).stream("benchmark").random() < 0.5, timeout_s=1.0)
    pools = tuple(
        PoolSpec(
            name=name,
            models=models,
            strategy=rng.choice(STRATEGIES),
            queue=queue,
            breaker=breaker,
            retries=retries,
            hedge=hedge,
            benchmark=benchmark,
        )
        for name, models in (("a", ("m1",)), ("b", ()))
    )
    replicas = tuple(
        Replica(
            id=f"r{number}",
            url=f"http://10.0.0.{number}",
            pool="ab"[number % 2],
            engine="vllm",
            max_concurrent_requests=rng.choice([1, 3]),
            weight=rng.choice([1.0, 2.0]),
            backup=number == 4,
        )
        for number in range(rng.randint(2, 5))
    )
    return GateSpec(pools=pools, fallback={"m1": ("m2",)}, max_waiting=60, explain=EXPLAIN), replicas


class World:
    """One story. Build it, `begin` it, and let time pass on whatever clock it was given."""

    def __init__(
        self, seed: int, clock: Clock, call_at: CallAt, at: At, grid_s: float = 0.0, limits: LimitsSpec | None = None
    ) -> None:  # fmt: skip
        self.spec, self.replicas = scenario(seed)
        self.spec = replace(self.spec, limits=limits)
        self.rand = Rand(seed).child("world")
        self.gate = Gate(self.spec, Rand(seed))
        self.journal: Journal[Event, Effect] = Journal(capacity=1_000_000)
        self.pump: Pump[Event, Effect] = Pump(
            self.gate, self.perform, clock, call_at, self.journal.observe, Woke(), raise_bug
        )
        self.rows: list[Record] = []
        self.open: set[str] = set()
        self._clock = clock
        self._at = at
        self._grid_s = grid_s
        self._silent: set[tuple[str, int]] = set()
        self._down = {replica.id: self._outages(replica.id) for replica in self.replicas}

    def begin(self, calls: int, over_s: float) -> None:
        """The fleet appears, calls arrive, the configuration changes half way, one replica leaves and returns."""
        rng = self.rand.stream("arrivals")
        start = self._clock()
        self._at(start, self.pump.tell, FleetSeen(self.replicas))
        for number in range(calls):
            call = Call(
                f"c{number}",
                model=rng.choice(["m1", "m1", "m2", "nonsense"]),
                tenant=rng.choice("xyz"),
                stream=rng.random() < 0.7,
                repeatable=rng.random() < 0.9,
                priority=rng.randrange(5),
                body_bytes=rng.randrange(1000),
            )
            when = start + self._round(rng.uniform(0.5, over_s))
            self._at(when, self._arrive, call)
            if rng.random() < 0.15:
                self._at(when + self._round(rng.expovariate(2.0)), self._leave, call.id)
        quicker = GateSpec(pools=self.spec.pools[:1], aliases={"m2": "m1"}, max_waiting=20, explain=EXPLAIN)
        self._at(start + self._round(over_s / 2), self.pump.tell, Reconfigured(quicker))
        self._at(start + self._round(over_s * 0.6), self.pump.tell, FleetSeen(self.replicas[1:]))
        self._at(start + self._round(over_s * 0.7), self.pump.tell, Reconfigured(self.spec))
        self._at(start + self._round(over_s * 0.7), self.pump.tell, FleetSeen(self.replicas))

    # ===== clients =====

    def _arrive(self, call: Call) -> None:
        self.open.add(call.id)
        self.pump.tell(Arrived(call))

    def _leave(self, call_id: str) -> None:
        if call_id in self.open:
            self.open.discard(call_id)
            self.pump.tell(ClientGone(call_id))

    # ===== orders =====

    def perform(self, order: Effect) -> None:
        """What a body would do with sockets."""
        if isinstance(order, Send):
            for delay_s, fact in self.answer(order):
                self._at(self._clock() + delay_s, self._tell_of_attempt, fact)
        elif isinstance(order, Cancel):
            self._silent.add((order.id, order.attempt))
        elif isinstance(order, Probe) and order.bench is not None:
            self._bench(order, order.bench)
        elif isinstance(order, Probe):
            self._at(self._clock() + self._round(0.01), self._look, order)
        elif isinstance(order, Refuse):
            self.open.discard(order.id)
        elif isinstance(order, Record):
            self.open.discard(order.row.id)
            self.rows.append(order)

    def answer(self, order: Send) -> list[tuple[float, Event]]:
        """What will be told of an attempt, with delays: by chance, and by when its replica goes down."""
        rng = self.rand.stream(f"{order.id}/{order.attempt}")
        now, key = self._clock(), (order.id, order.attempt)
        if self._is_down(order.replica, now):
            return [(self._round(0.001), Failed(*key, "connect_refused"))]
        first_s = self._round(rng.uniform(0.02, 0.4))
        whole_s = first_s + self._round(rng.expovariate(3.0))
        cut_s = self._down_after(order.replica, now) - now
        if rng.random() < 0.15:
            return [(first_s, self._failure(key, rng))]
        if cut_s <= first_s:
            return [(cut_s, Failed(*key, "closed_early"))]
        if cut_s <= whole_s:
            return [(first_s, Began(*key)), (cut_s, Failed(*key, "died_mid_answer", relayed_tokens=3))]
        ended = Ended(*key, rng.choice([200, 200, 200, 400]), Usage(5, rng.randrange(50)), 7)
        return [(first_s, Began(*key)), (whole_s, ended)]

    def _failure(self, key: tuple[str, int], rng: Random) -> Failed:
        label = rng.choice(BEFORE_ANSWER)
        return Failed(*key, label, 503 if label.startswith("up") else 0, rng.choice([None, 0.3]))

    def _tell_of_attempt(self, fact: Began | Ended | Failed) -> None:
        if (fact.id, fact.attempt) not in self._silent:
            self.pump.tell(fact)

    def _bench(self, order: Probe, bench: Bench) -> None:
        """A benchmark: it may fail, be cut by an outage, or never come to an end."""
        rng, now = self.rand.stream(f"bench/{bench.number}"), self._clock()
        took_s, ok = self._round(rng.uniform(0.1, 0.8)), rng.random() < 0.8
        up = not self._is_down(order.replica, now) and self._down_after(order.replica, now) > now + took_s
        told = Benched(order.replica, bench.number, detail="failed")
        if ok and up:
            told = Benched(order.replica, bench.number, True, took_s / 4, rng.choice([None, 50.0]))
        if rng.random() < 0.9:
            self._at(now + took_s, self._tell_of_bench, told)

    def _tell_of_bench(self, fact: Benched) -> None:
        if (BENCHMARK + fact.replica, fact.number) not in self._silent:
            self.pump.tell(fact)

    def _look(self, order: Probe) -> None:
        up = not self._is_down(order.replica, self._clock())
        if order.look == "health":
            self.pump.tell(Probed(order.replica, up, "" if up else "refused"))
        elif order.look == "stats":
            stats = EngineStats(running=len(self.open), waiting=0, kv_usage=0.25) if up else None
            self.pump.tell(Observed(order.replica, stats))
        elif up:
            self.pump.tell(Listed(order.replica, ("m2", "m3")))

    # ===== time =====

    def _round(self, delay_s: float) -> float:
        return delay_s if not self._grid_s else max(1, round(delay_s / self._grid_s)) * self._grid_s

    def _outages(self, replica: str) -> list[tuple[float, float]]:
        rng, start, found = self.rand.stream(f"outages/{replica}"), self._clock(), []
        for _ in range(rng.randrange(3)):
            begin = start + self._round(rng.uniform(0.0, 10.0))
            found.append((begin, begin + self._round(rng.uniform(0.5, 4.0))))
        return found

    def _is_down(self, replica: str, now: float) -> bool:
        return any(begin <= now < end for begin, end in self._down[replica])

    def _down_after(self, replica: str, now: float) -> float:
        return min((begin for begin, _ in self._down[replica] if begin > now), default=now + 1e9)
