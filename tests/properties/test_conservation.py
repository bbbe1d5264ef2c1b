"""What no simulation may lose or make up, whatever goes wrong in it: requests, tokens, seats and memory."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.nouns import CallRow
from penstock.base.rand import Rand
from penstock.config.scenarios import (
    Die,
    Drain,
    Fault,
    Flap,
    Freeze,
    Group,
    Leave,
    MetricsOutage,
    Network,
    Policy,
    Slow,
    Spot,
)
from penstock.core.effects import Cancel, Effect, Record, Refuse, Send
from penstock.core.events import Ended, Event, Failed
from penstock.core.route.presets import STRATEGIES
from penstock.core.spec import (
    BenchmarkSpec,
    BreakerSpec,
    FailureShareSpec,
    HedgeSpec,
    OutlierSpec,
    ProbeSpec,
    QueueSpec,
    RetrySpec,
    ScrapeSpec,
    ShedSpec,
    StickySpec,
    TimeoutSpec,
)
from penstock.engine.batcher import Batcher
from penstock.sim.cloud import Engine
from penstock.sim.run import Run
from penstock.workload.request import NS, Request
from tests.sim.support import scenario

QUICK = FailureShareSpec(share=0.2, replicas=1, requests=1)
ALL_OVER_S = 4000.0
"""By then every call is over: four attempts of ten minutes are the longest."""
AFTER_S = 30.0
"""So long after the last answer whatever was cancelled has been stopped."""


class Story:
    """A scenario and its requests, drawn from a seed: many kinds of everything in every one of them."""

    def __init__(self, seed: int) -> None:
        self._pick = Rand(seed).stream("story").choice
        self.seed = seed
        fleet = tuple(self._group() for _ in range(self._pick([1, 2, 3])))
        self._count = sum(group.count for group in fleet)
        self.scenario = scenario(
            fleet=fleet,
            faults=tuple(self._fault() for _ in range(self._pick([0, 1, 2, 4, 6]))),
            policy=self._policy(),
            network=Network(round_trip_s=self._pick([0.0, 0.001, 0.1]), metrics_lag_s=self._pick([0.0, 1.0])),
        )
        over_s = self._pick([0.01, 0.5, 2.0])
        times = sorted(self._pick(range(1000)) / 1000 * over_s for _ in range(self._pick([0, 1, 20, 60])))
        self.requests = [self._request(at) for at in times]

    def _group(self) -> Group:
        pick = self._pick
        return Group(
            count=pick([1, 2]), cost=pick(["fast", "demo"]), speed=pick([1.0, 0.3]), seats=pick([1, 3, 12]),
            max_num_seqs=pick([2, 256]), max_num_batched_tokens=pick([64, 2048]), kv_blocks=pick([40, 60, 8192]),
            max_model_len=pick([500, 100_000]),
        )  # fmt: skip

    def _fault(self) -> Fault:
        pick = self._pick
        when: dict[str, Any] = {
            "at_s": pick([0.0, 0.2, 0.5, 1.0]), "for_s": pick([None, 0.1, 0.7, 3.0]),
            "replicas": pick([(), (0,), (self._count - 1,)]),
        }  # fmt: skip
        kinds: list[Fault] = [
            Die(**when),
            Slow(factor=pick([3.0, 500.0]), **when),
            Freeze(**when),
            Flap(period_s=pick([0.05, 0.4]), **{**when, "for_s": pick([0.3, 2.0])}),
            MetricsOutage(**when),
            Drain(**when),
            Leave(**when),
            Spot(notice_s=pick([0.0, 0.05]), **when),
        ]
        return pick(kinds)

    def _policy(self) -> Policy:
        pick = self._pick
        rare = [True, False, False]
        return Policy(
            strategy=STRATEGIES.spec(pick(STRATEGIES.names()))(),  # type: ignore[arg-type]
            sticky=pick([None, StickySpec(header="x"), StickySpec(header="x", pin=True, pin_wait_s=0.2)]),
            queue=QueueSpec(
                timeout_s=pick([0.3, 5.0]), order=pick(["class", "score"]), within=pick(["fifo", "edf"]),
                max=5 if pick(rare) else 10_000, max_per_tenant=2 if pick(rare) else None,
                max_in_flight=3 if pick(rare) else None, max_share=pick([1.0, 0.5]),
                unavailable_wait_s=pick([0.1, 4.0]),
                shed=pick([ShedSpec(), ShedSpec(mode="hold", waiting=1), ShedSpec(mode="refuse", kv_usage=0.2)]),
            ),
            timeouts=TimeoutSpec(first_byte_s=0.05 if pick(rare) else pick([1.0, 600.0]), idle_s=pick([0.3, 2.0])),
            retries=RetrySpec(
                attempts=pick([1, 2, 4]), backoff_s=pick([0.0, 0.3]), budget=pick([0.0, 1.0]),
                budget_min_per_s=pick([0.0, 10.0]),
            ),
            hedge=pick([None, HedgeSpec(delay_s=0.02, budget=1.0), HedgeSpec(min_delay_s=0.0, budget=0.5)]),
            breaker=pick([BreakerSpec(), BreakerSpec(suspect_after=1, failures=2, open_s=0.3)]),
            outliers=pick([OutlierSpec(), OutlierSpec(interval_s=1.0, failure_share=QUICK)]),
            probe=pick([ProbeSpec(), ProbeSpec(enabled=False), ProbeSpec(interval_s=0.1, unhealthy_after=1)]),
            scrape=ScrapeSpec(interval_s=pick([0.1, 2.0])),
            benchmark=BenchmarkSpec(enabled=pick(rare), prompt_tokens=50, output_tokens=4, timeout_s=1.0),
        )  # fmt: skip

    def _request(self, at: float) -> Request:
        pick = self._pick
        return Request(
            int(at * NS), pick([1, 15, 16, 200, 450, 700]), pick([1, 2, 17, 60, 150]),
            pick([(), (1,), (1, 2, 3), (4, 5)]), 64, pick(["", "s1", "s2"]), pick(["a", "b", "c"]),
            priority=pick(range(5)), deadline_ns=pick([None, None, NS // 2]),
        )  # fmt: skip


@dataclass
class Books:
    """What a reader of the turns has seen, and every engine that there ever was."""

    run: Run
    ended: dict[str, Ended] = field(default_factory=dict)
    rows: dict[str, CallRow] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    given_up: bool = False
    """An attempt was cancelled or timed out: its engine may have worked for nobody."""
    batchers: list[Batcher] = field(default_factory=list)

    def __post_init__(self) -> None:
        for engine in self.run.cloud.engines.values():
            self._keep(engine.batcher)
            engine.revive = partial(self._revived, engine, engine.revive)  # type: ignore[method-assign]

    def _revived(self, engine: Engine, revive: Callable[..., None], *cause: object) -> None:
        revive(*cause)
        if all(engine.batcher is not known for known in self.batchers):
            self._keep(engine.batcher)

    def _keep(self, batcher: Batcher) -> None:
        batcher._histograms = True  # a simulation has none; here they are the engine's own count of what it made
        self.batchers.append(batcher)

    def observe(self, now: float, event: Event, orders: list[Effect]) -> None:
        """Take one turn."""
        self.given_up |= isinstance(event, Failed) and event.label in ("first_byte_timeout", "idle_timeout")
        for order in orders:
            if isinstance(order, Send):
                self.sent[order.id] = self.sent.get(order.id, 0) + 1
            elif isinstance(order, Refuse):
                self.refused[order.id] = self.refused.get(order.id, 0) + 1
            elif isinstance(order, Cancel):
                self.given_up = True
            elif isinstance(order, Record):
                assert order.row.id not in self.rows, "it ends a second time"
                self.rows[order.row.id] = order.row
                if isinstance(event, Ended):
                    self.ended[event.id] = event


def check(story: Story) -> Books:
    """Run it, and look at what is left."""
    made, requests = story.scenario, story.requests
    run = Run(made, made.policy, requests, story.seed)
    books = Books(run)
    run.watch = books.observe
    run.kernel.at(ALL_OVER_S, lambda _: run.kernel.halt(), None)  # a call that is never over keeps a run going for ever
    result = run.go().result
    assert sorted(books.rows) == sorted(f"c{number}" for number in range(len(requests))), "each ends exactly once"
    assert sum(result.outcomes.values()) == result.requests == len(requests)
    assert result.ok + result.failed == result.requests
    check_tokens(books, requests)
    check_rest(run)
    return books


def check_tokens(books: Books, requests: list[Request]) -> None:
    """Whoever was answered got what was asked for, and engines generated it, and nothing else where nobody gave up."""
    served = 0
    for number, request in enumerate(requests):
        row = books.rows[f"c{number}"]
        assert row.attempts == books.sent.get(row.id, 0)
        assert (row.outcome == "ok") is (row.id in books.ended) is (row.id not in books.refused)
        if row.outcome != "ok" or row.status != 200:
            assert row.usage is None
            continue
        assert row.usage is not None
        assert (row.usage.prompt_tokens, row.usage.completion_tokens) == (request.prompt_tokens, request.output_tokens)
        assert row.usage.cached_tokens <= row.usage.prompt_tokens
        assert row.relayed_tokens == request.output_tokens
        served += request.output_tokens
    finished = sum(batcher.counters.request_generation_tokens.sum for batcher in books.batchers)
    benched = finished if books.run.gate.spec.pools[0].benchmark.enabled else served
    assert finished >= served
    if not books.given_up:
        assert finished == served or benched > served


def check_rest(run: Run) -> None:
    """After a while nothing is held by anybody, though replicas are looked at, and benchmarked anew, for ever."""
    run.kernel.run(run.kernel.clock() + AFTER_S)
    counts = run.gate.counts()
    assert (counts["flights"], counts["waiting"], counts["held_ids"]) == (0, 0, 0)
    until = run.kernel.clock() + 10.0
    while held := list(still_held(run)):
        assert run.kernel.clock() < until, held
        run.kernel.run(run.kernel.clock() + 0.1)


def still_held(run: Run) -> Iterator[str]:
    """Seats, places in lines, and the engines' memory."""
    now = run.kernel.clock()
    for pool in run.gate.pools(now):
        if pool.queued or pool.queued_bytes or pool.in_flight:
            yield f"pool: {pool}"
    for seat in run.gate.replicas(now):
        if seat.in_flight or seat.pinned:
            yield f"replica: {seat}"
    for engine in run.cloud.engines.values():
        batcher, memory = engine.batcher, engine.batcher.memory
        if not engine.dead and (batcher.running or batcher.waiting or memory.available < memory.total_blocks):
            yield f"engine: {engine.replica.id}: {batcher.running}, {batcher.waiting}, {memory.used_blocks}"


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_lost_and_nothing_made_up(seed: int) -> None:
    """Each request ends once, tokens out are tokens asked for, and at the end all seats and blocks are free."""
    check(Story(seed))


@pytest.mark.slow
@settings(max_examples=500)
@given(st.integers(0, 1 << 32))
def test_nothing_is_lost_in_many_more(seed: int) -> None:
    """The same, in hundreds of stories."""
    check(Story(seed))


@pytest.mark.slow
def test_the_stories_are_worth_telling() -> None:
    """Answers, every way to fail, second attempts of both kinds, and engines that run out of memory."""
    seen: Counter[str] = Counter()
    for seed in range(100, 430):
        books = check(Story(seed))
        seen.update(row.outcome for row in books.rows.values())
        seen.update(f"hedge {row.hedge}" for row in books.rows.values())
        seen["retried"] += sum(row.attempts > 1 and not row.hedge for row in books.rows.values())
        seen["preempted"] += sum(batcher.counters.preemptions for batcher in books.batchers)
        seen["exact"] += not books.given_up and len(books.rows) > 10
    wanted = (
        "ok", "died_mid_answer", "first_byte_timeout", "idle_timeout", "connect_refused", "queue_timeout", "queue_full",
        "tenant_queue_full", "no_replica", "saturated", "hedge won", "hedge lost", "hedge neither", "retried",
        "preempted", "exact",
    )  # fmt: skip
    assert {name: seen[name] for name in wanted if seen[name] < 5} == {}
