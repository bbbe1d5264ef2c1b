"""Where queueing theory has an exact answer, the simulator finds it: the Gate's queue, an engine that shares its speed.

A run that is short enough for a test says little about a mean: near 80 % load tens of thousands of waits still scatter
by a tenth. So there are two steps, and both must hold. The simulator is held against the queue's own recursion on the
very same jobs, where chance plays no part; and the recursion, which is cheap enough for millions of jobs, against the
formula.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from math import factorial
from typing import Any

import pytest

from penstock.base.nouns import Replica
from penstock.base.rand import Rand
from penstock.config.costs import Loaded
from penstock.config.scenarios import Group, Network, Policy
from penstock.core.effects import Cancel, Send
from penstock.core.events import Began, Ended, Event
from penstock.core.route.presets import RoundRobin
from penstock.core.spec import OutlierSpec, ProbeSpec, QueueSpec, ScrapeSpec, SlowStartSpec
from penstock.drive.kernel import Kernel
from penstock.engine.modelled import Modelled
from penstock.engine.perf import StepCost
from penstock.sim.run import Run
from penstock.sim.tally import Result
from penstock.workload.draws import Sampler, exponential
from penstock.workload.request import NS, Request
from tests.sim.support import scenario

JOBS, MANY_JOBS = 4_000, 1_500_000
LEAN = Policy(
    strategy=RoundRobin(), slow_start=SlowStartSpec(window_s=0.0), probe=ProbeSpec(enabled=False),
    scrape=ScrapeSpec(enabled=False), outliers=OutlierSpec(enabled=False), queue=QueueSpec(timeout_s=1e6),
)  # fmt: skip
"""Nothing but a queue and replicas."""
NO_WAY = Network(round_trip_s=0.0)

Job = tuple[float, float]
"""When it comes, and how many seconds it takes alone; the mean of these is one second."""


def jobs(seed: int, count: int, rate: float, size: Sampler) -> Iterator[Job]:
    """Jobs of a Poisson process."""
    gap, at = exponential(Rand(seed).stream("gaps")), 0.0
    for _ in range(count):
        at += gap() / rate
        yield at, size()


class Means:
    """What was really drawn: a formula that is given it leaves less to chance."""

    def __init__(self, drawn: Iterable[Job]) -> None:
        self._drawn = drawn
        self.count, self.last_at, self.size_s = 0, 0.0, 0.0

    def __iter__(self) -> Iterator[Job]:
        total = 0.0
        for at, size in self._drawn:
            self.count, self.last_at = self.count + 1, at
            total += size
            yield at, size
        self.size_s = total / self.count

    @property
    def rate(self) -> float:
        """Jobs per second."""
        return self.count / self.last_at


# ===== first come, first served =====


def erlang_c_wait_s(servers: int, rate: float, size_s: float) -> float:
    """Mean wait in M/M/c (Erlang, 1917): C(c, a) / (c/s - λ) with a = λs."""
    load = rate * size_s
    waiting = load**servers / factorial(servers) * servers / (servers - load)
    share = waiting / (sum(load**k / factorial(k) for k in range(servers)) + waiting)
    return share / (servers / size_s - rate)


def recursive_wait_s(servers: int, drawn: Iterable[Job]) -> float:
    """Mean wait of just these jobs (Kiefer and Wolfowitz, 1955): each takes the server that is free first."""
    free_at = [0.0] * servers
    waited = count = 0.0
    for at, size in drawn:
        begins = max(heappop(free_at), at)
        heappush(free_at, begins + size)
        waited += begins - at
        count += 1
    return waited / count


class Server:
    """Stands in for an engine: an answer takes as many microseconds as it was to have tokens."""

    def __init__(self, replica: Replica, kernel: Kernel, tell: Callable[[Event], None]) -> None:
        self.replica = replica
        self.group = Group(seats=1)
        self._kernel = kernel
        self._tell = tell

    def submit(self, order: Send, request: Request, number: int, way_s: float | None = None) -> None:
        """Served at once: it has a seat."""
        self._kernel.at(self._kernel.clock() + request.output_tokens / 1e6, self._done, order)

    def _done(self, order: Send) -> None:
        self._tell(Began(order.id, order.attempt))
        self._tell(Ended(order.id, order.attempt, 200))

    def abort(self, order: Cancel) -> None:
        """Nobody cancels here."""
        raise AssertionError(order)


def served(servers: int, drawn: list[Job]) -> Result:
    """What the simulator makes of them, over replicas of one seat."""
    made = scenario(fleet=(Group(count=servers, seats=1),), network=NO_WAY, policy=LEAN)
    run = Run(made, LEAN, [Request(round(at * NS), 1, round(size * 1e6)) for at, size in drawn], seed=1)
    stand_ins: dict[str, Any] = {
        name: Server(engine.replica, run.kernel, run.pump.tell) for name, engine in run.cloud.engines.items()
    }
    run.cloud.engines.update(stand_ins)
    return run.go().result


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (3, 0.6), (10, 0.7)])
def test_the_gates_queue_is_erlangs(servers: int, load: float) -> None:
    """Replicas with one seat and exponential answers: the mean wait in front of them is that of M/M/c, within 2 %."""
    rate, size = load * servers, exponential(Rand(2).stream("sizes"))
    drawn = list(jobs(1, JOBS, rate, size))
    result = served(servers, drawn)
    assert result.ok == JOBS
    waited_s = result.e2e_mean_s - sum(size for _, size in drawn) / JOBS
    assert waited_s == pytest.approx(recursive_wait_s(servers, drawn), rel=1e-4)
    many = Means(jobs(3, MANY_JOBS, rate, size))
    assert recursive_wait_s(servers, many) == pytest.approx(erlang_c_wait_s(servers, many.rate, many.size_s), rel=0.02)


# ===== all at once, each the slower =====

TOKEN_S = 0.001


def shared_response_s(drawn: Iterable[Job]) -> float:
    """Mean response of just these jobs where all that are there share one server evenly: each has had as much as its
    `level` says, which rises by 1/n a second."""
    ends: list[tuple[float, float]] = []
    level = now = total = count = 0.0
    for at, size in drawn:
        while ends and now + (ends[0][0] - level) * len(ends) <= at:
            now += (ends[0][0] - level) * len(ends)
            level, since = heappop(ends)
            total += now - since
        if ends:
            level += (at - now) / len(ends)
        now = at
        heappush(ends, (level + size, at))
        count += 1
    while ends:
        now += (ends[0][0] - level) * len(ends)
        level, since = heappop(ends)
        total += now - since
    return total / count


def generated(drawn: list[Job]) -> Result:
    """What one engine makes of them whose steps take as long as there are sequences; the first token costs nothing."""
    steps = StepCost(base_s=1e-9, prefill_token_s=0.0, decode_sequence_s=TOKEN_S)
    cost = Loaded(content=Modelled(about="shared", cost=steps))
    group = Group(cost=cost, seats=10_000, max_num_seqs=10_000, max_num_batched_tokens=20_000, kv_blocks=1_000_000)
    made = scenario(fleet=(group,), network=NO_WAY, policy=LEAN)
    requests = [Request(round(at * NS), 1, 1 + round(size / TOKEN_S)) for at, size in drawn]
    return Run(made, LEAN, requests, seed=1).go().result


def few_long_ones() -> Sampler:
    """Nine of ten take 0.4 s, the tenth 6.4 s."""
    uniform = Rand(4).stream("sizes").random
    return lambda: 0.4 if uniform() < 0.9 else 6.4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["all alike", "few long ones", "exponential"])
def test_an_engine_that_shares_its_speed_is_a_processor_sharing_queue(kind: str) -> None:
    """Steps as long as there are sequences: the mean response is that of M/G/1-PS, E[S] / (1 - load), whatever the
    lengths' distribution (Kleinrock, 1967), within 2 %."""
    size = {
        "all alike": lambda: 1.0, "few long ones": few_long_ones(), "exponential": exponential(Rand(2).stream("sizes"))
    }[kind]  # fmt: skip
    drawn = list(jobs(1, JOBS, 0.6, size))
    result = generated(drawn)
    assert result.ok == JOBS
    assert result.e2e_mean_s == pytest.approx(shared_response_s(drawn), rel=0.005)
    many = Means(jobs(3, MANY_JOBS, 0.6, size))
    found_s = shared_response_s(many)
    assert found_s == pytest.approx(many.size_s / (1 - many.rate * many.size_s), rel=0.02)
