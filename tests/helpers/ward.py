"""A ward of ill replicas in virtual time: a Gate over replicas that fall ill and heal by a script, and steady calls.

It counts what an operator would look at: how calls ended, how often each replica went in and out of traffic, when each
was last sent a call. Everything is drawn from the seed.
"""

from typing import Literal, NamedTuple

from penstock.base.nouns import Call, CallRow, EngineStats, Replica, Usage
from penstock.base.rand import Rand
from penstock.core.effects import Cancel, Effect, Probe, Record, Refuse, Send
from penstock.core.events import Arrived, Began, ClientGone, Ended, Event, Failed, FleetSeen, Observed, Probed, Woke
from penstock.core.gate import Gate
from penstock.core.spec import GateSpec, PoolSpec
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug

Ailment = Literal["dead", "flapping", "frozen", "failing", "silent", "lying_idle", "lying_full", "unprobed"]
"""dead: refuses all. flapping: dead every other second. frozen: answers probes only. failing: every second call ends in
a 500. silent: its metrics cannot be read. lying: they say that it is idle, or that it is full. unprobed: only its
probes fail."""

PATIENCE_S = 20.0
"""How long a client waits for its first byte."""


class Illness(NamedTuple):
    """One replica, from when until when, and what it has."""

    replica: int
    ailment: Ailment
    start_s: float
    end_s: float


class Ward:
    """The pool `main` with so many replicas, and a call every `every_s`, streamed or not, for 0.1 to 0.5 s of work."""

    def __init__(
        self, spec: PoolSpec, replicas: int, illnesses: list[Illness], every_s: float = 0.05, seed: int = 1
    ) -> None:
        self.kernel = Kernel()
        self.gate = Gate(GateSpec(pools=(spec,)), Rand(seed))
        self.pump: Pump[Event, Effect] = Pump(
            self.gate, self._perform, self.kernel.clock, self.kernel.call_at, self._see, Woke(), raise_bug
        )
        self._illnesses = illnesses
        self._every_s = every_s
        self._rand = Rand(seed).child("ward")
        self.rows: list[CallRow] = []
        self.sent: dict[str, list[float]] = {f"r{number}": [] for number in range(replicas)}
        self.turns: dict[str, list[float]] = {name: [] for name in self.sent}
        """When each went into traffic or out of it."""
        self.panics: list[float] = []
        """When the pool began to panic, or calmed down."""
        self._usable = dict.fromkeys(self.sent, False)
        self._panic = False
        self._open: dict[str, int] = {}
        """Calls under way: the attempt that is running."""
        fleet = (
            Replica(id=name, url=f"http://{name}", pool="main", engine="vllm", max_concurrent_requests=8)
            for name in self.sent
        )
        self.pump.tell(FleetSeen(tuple(fleet)))

    def run(self, until_s: float) -> None:
        """Calls arrive from second 1 on."""
        calls = int((until_s - 1.0) / self._every_s)
        for number in range(calls):
            self.kernel.at(1.0 + number * self._every_s, self._arrive, f"c{number}")
        self.kernel.run(until_s)

    def ok_share(self, start_s: float = 0.0, end_s: float = float("inf")) -> float:
        """Of the calls that arrived in this time and are over, how many ended well."""
        ended = [row.outcome == "ok" for row in self.rows if start_s <= row.at < end_s]
        return sum(ended) / len(ended)

    def most_in_a_minute(self, times: list[float]) -> int:
        """How many of these lie in the worst minute."""
        return max((sum(at <= other < at + 60.0 for other in times) for at in times), default=0)

    # ===== what happens =====

    def _arrive(self, name: str) -> None:
        self._open[name] = 0
        self.pump.tell(Arrived(Call(name, model="m", stream=self._rand.stream(name).random() < 0.7)))

    def _see(self, now: float, event: Event, orders: list[Effect]) -> None:
        for name, seat in self.gate._fleet.seats.items():
            if seat.health.usable != self._usable[name]:
                self._usable[name] = seat.health.usable
                self.turns[name].append(now)
        for pool in self.gate._fleet.pools.values():
            if pool.panic != self._panic:
                self._panic = pool.panic
                self.panics.append(now)

    def _has(self, replica: str, now: float) -> set[Ailment]:
        return {
            ill.ailment for ill in self._illnesses if f"r{ill.replica}" == replica and ill.start_s <= now < ill.end_s
        }

    def _down(self, replica: str, now: float) -> bool:
        has = self._has(replica, now)
        return "dead" in has or ("flapping" in has and int(now) % 2 == 1)

    def _perform(self, order: Effect) -> None:
        if isinstance(order, Send):
            self._open[order.id] = order.attempt
            self.sent[order.replica].append(self.kernel.clock())
            for delay_s, fact in self._answer(order, self.kernel.clock()):
                self.kernel.at(self.kernel.clock() + delay_s, self._tell_of, fact)
        elif isinstance(order, Probe):
            self.kernel.at(self.kernel.clock() + 0.01, self._look, order)
        elif isinstance(order, Record):
            self.rows.append(order.row)
            self._open.pop(order.row.id, None)
        else:
            assert isinstance(order, (Cancel, Refuse))

    def _answer(self, order: Send, now: float) -> list[tuple[float, Event]]:
        """What will be told of an attempt; a frozen replica says nothing, and its client leaves."""
        key, rng = (order.id, order.attempt), self._rand.stream(f"{order.id}/{order.attempt}")
        has = self._has(order.replica, now)
        if self._down(order.replica, now):
            return [(0.001, Failed(*key, "connect_refused"))]
        if "frozen" in has:
            return [(PATIENCE_S, ClientGone(order.id))]
        if "failing" in has and rng.random() < 0.5:
            return [(0.05, Failed(*key, "upstream_5xx", 500))]
        whole_s = rng.uniform(0.1, 0.5)
        return [(0.05, Began(*key)), (whole_s, Ended(*key, 200, Usage(5, 5), 5))]

    def _tell_of(self, fact: Event) -> None:
        if not isinstance(fact, Began | Ended | Failed) or self._open.get(fact.id) == fact.attempt:
            self.pump.tell(fact)

    def _look(self, order: Probe) -> None:
        now = self.kernel.clock()
        has, down = self._has(order.replica, now), self._down(order.replica, now)
        if order.look == "health":
            self.pump.tell(Probed(order.replica, not down and "unprobed" not in has))
        elif order.look == "stats":
            waiting = 100_000 if "lying_full" in has else 0
            running = 0 if "lying_idle" in has else self.gate._fleet.seats[order.replica].in_flight
            stats = EngineStats(running=running, waiting=waiting, kv_usage=float(waiting > 0))
            self.pump.tell(Observed(order.replica, None if down or "silent" in has else stats))
