"""The cloud: engines that answer, die, freeze and lag, as a gateway would see them."""

from typing import Any

import pytest

from penstock.config.costs import Cost
from penstock.config.scenarios import Group, MetricsOutage, Network
from penstock.core.effects import BENCHMARK, Bench, Cancel, Probe, Send
from penstock.core.events import Began, Benched, Ended, Event, Failed, Observed, Probed
from penstock.drive.kernel import Kernel
from penstock.sim.cloud import Cloud, Engine
from tests.sim.support import request


class House:
    """One engine, and what it tells."""

    def __init__(self, network: Network | None = None, **fields: Any) -> None:
        self.kernel = Kernel()
        self.heard: list[tuple[float, Event]] = []
        group = Group(**{"cost": "fast", **fields})
        self.cloud = Cloud(
            (group,), network or Network(), self.kernel, lambda event: self.heard.append((self.kernel.clock(), event))
        )

    @property
    def engine(self) -> Engine:
        """The only one."""
        return self.cloud.engines["r0"]

    def send(self, id: str = "c", output_tokens: int = 10) -> None:
        """An attempt with ten seconds to its first byte, and two minutes for each further one."""
        order = Send(id, 1, "r0", "model", 5.0, 10.0, 120.0, 0.0)
        self.engine.submit(order, request(0.0, 100, output_tokens), 0)

    def facts(self) -> list[Event]:
        """What was told."""
        return [event for _, event in self.heard]


def test_an_attempt_begins_and_ends() -> None:
    """Its first token and its end are told, with what it used."""
    house = House()
    house.send()
    house.kernel.run(1.0)
    began, ended = house.facts()
    assert began == Began("c", 1)
    assert isinstance(ended, Ended)
    assert ended.usage is not None
    assert (ended.usage.prompt_tokens, ended.usage.completion_tokens) == (100, 10)


def test_a_dead_engine_refuses_and_fails_its_probe() -> None:
    """Connections are refused after the way there and back."""
    house = House()
    house.engine.die()
    house.send()
    house.engine.probe()
    house.engine.readings.scrape()
    house.kernel.run(1.0)
    assert house.heard[-1] == (0.001, Failed("c", 1, "connect_refused"))
    assert {Probed("r0", ok=False), Observed("r0", None)} <= {*house.facts()}


def test_a_death_tells_apart_what_had_begun() -> None:
    """What has tokens out dies in the middle, the rest is closed early; nothing comes twice."""
    house = House(max_num_seqs=1)
    house.send("begun", 1000)
    house.kernel.run(0.05)
    house.send("waits", 10)
    house.kernel.run(0.06)
    house.engine.die()
    house.kernel.run(5.0)
    assert house.facts() == [
        Began("begun", 1), Failed("begun", 1, "died_mid_answer"), Failed("waits", 1, "closed_early"),
    ]  # fmt: skip


def test_who_is_cancelled_is_heard_of_no_more() -> None:
    """A cancelled attempt says nothing, and its seat at the engine is free."""
    house = House()
    house.send("c", 1000)
    house.kernel.run(0.05)
    house.engine.abort(Cancel("c", 1))
    house.kernel.run(5.0)
    assert house.facts() == [Began("c", 1)]
    assert house.engine.batcher.running == 0


def test_a_frozen_engine_answers_probes_and_nothing_else() -> None:
    """What it takes in fails by its first-byte time-out."""
    house = House()
    house.engine.freeze()
    house.send()
    house.engine.probe()
    house.kernel.run(20.0)
    assert house.facts() == [Probed("r0", ok=True), Failed("c", 1, "first_byte_timeout")]


def test_metrics_lag_by_what_the_network_says() -> None:
    """Numbers are as old as the lag: a second look finds what was true then."""
    house = House(Network(round_trip_s=0.0, metrics_lag_s=1.0))
    house.engine.readings.scrape()
    house.send("c", 5000)
    house.kernel.run(0.5)
    house.engine.readings.scrape()
    house.kernel.run(0.6)
    seen = [event.stats.running for event in house.facts() if isinstance(event, Observed) and event.stats]
    assert house.engine.batcher.running == 1
    assert seen == [0, 0]


def test_an_outage_of_metrics_ends_when_it_says() -> None:
    """Within it nothing can be read, before and after it can."""
    house = House()
    house.cloud.plan((MetricsOutage(at_s=1.0, for_s=1.0),))
    seen = []
    for second in (0.5, 1.5, 2.5):
        house.kernel.run(second)
        house.engine.readings.scrape()
        house.kernel.run(second + 0.1)
        event = house.facts()[-1]
        seen.append(isinstance(event, Observed) and event.stats is not None)
    assert seen == [True, False, True]


def test_what_left_the_engine_before_its_death_arrives() -> None:
    """An answer that is complete and on its way is an answer, not a failure, and is told once."""
    house = House(Network(round_trip_s=0.1))
    house.send("c", 2)
    while house.engine.batcher.running or house.kernel.clock() < 0.05:
        house.kernel.run(house.kernel.clock() + 0.001)
    house.engine.die()
    house.kernel.run(5.0)
    assert [type(event) for event in house.facts()] == [Began, Ended]


def test_two_deaths_in_a_row_lose_nobody() -> None:
    """What failed by the first one is told although the engine came back and died again meanwhile."""
    house = House(Network(round_trip_s=0.1))
    house.send("c", 1000)
    house.kernel.run(0.06)
    house.engine.die()
    house.engine.revive()
    house.engine.die()
    house.kernel.run(5.0)
    assert house.facts()[-1] == Failed("c", 1, "died_mid_answer")


def test_who_is_cancelled_on_the_way_never_runs() -> None:
    """The engine learns of the attempt and of its end, and nothing is told."""
    house = House()
    house.send("c", 1000)
    house.engine.abort(Cancel("c", 1))
    house.kernel.run(0.01)
    assert house.engine.batcher.running == 0
    house.kernel.run(5.0)
    assert house.facts() == []


def test_an_engine_that_does_not_begin_in_time_is_left() -> None:
    """The first-byte time-out holds for one that is merely busy, too, and the attempt is taken off it."""
    house = House(max_num_seqs=1)
    house.send("first", 100_000)
    house.send("second", 10)
    house.kernel.run(10.1)
    assert house.facts() == [Began("first", 1), Failed("second", 1, "first_byte_timeout")]
    assert house.engine.batcher.waiting == 0


def test_what_had_begun_at_a_frozen_engine_times_out_too() -> None:
    """Two minutes of silence in the middle of an answer end it."""
    house = House()
    house.send("c", 10_000)
    house.kernel.run(0.1)
    house.engine.freeze()
    house.kernel.run(200.0)
    assert house.facts() == [Began("c", 1), Failed("c", 1, "idle_timeout")]
    assert house.heard[-1][0] == 120.1


def test_a_thaw_closes_what_was_held() -> None:
    """Begun or not, each is told its own way of failing."""
    house = House()
    house.send("begun", 10_000)
    house.kernel.run(0.1)
    house.engine.freeze()
    house.send("held")
    house.kernel.run(1.0)
    house.engine.thaw()
    house.kernel.run(2.0)
    assert house.facts()[1:] == [Failed("begun", 1, "died_mid_answer"), Failed("held", 1, "closed_early")]


def bench(timeout_s: float = 30.0) -> Probe:
    """The order for a benchmark of two requests."""
    return Probe("r0", "bench", timeout_s, Bench(7, "model", 512, 32, 2))


def test_a_benchmark_tells_the_engines_speed() -> None:
    """An idle engine's time to first token, with the way there and back, and its tokens per second."""
    house = House()
    house.engine.bench(bench())
    house.kernel.run(1.0)
    (result,) = house.facts()
    assert isinstance(result, Benched)
    assert result.ok
    assert result.ttft_s == pytest.approx(0.001 + 0.0002 + 512 * 0.2e-6)
    assert result.tokens_per_s == pytest.approx(1 / 0.000202)


def test_a_benchmark_ends_in_time_or_with_its_engine() -> None:
    """A frozen engine's is given up at its limit, a dead one's fails at once."""
    house = House()
    house.engine.freeze()
    house.engine.bench(bench(3.0))
    house.kernel.run(5.0)
    assert house.heard == [(3.0, Benched("r0", 7, detail="timeout"))]
    house.engine.die()
    house.engine.bench(bench())
    house.kernel.run(6.0)
    assert house.facts()[-1] == Benched("r0", 7, detail="connect_refused")


def test_a_benchmark_that_is_stopped_says_nothing() -> None:
    """The Gate took its seat back: the engine is free, and nothing is told, not even at its limit."""
    house = House()
    house.engine.bench(bench())
    house.kernel.run(0.002)
    house.engine.abort(Cancel(f"{BENCHMARK}r0", 7))
    house.kernel.run(60.0)
    assert house.facts() == []
    assert house.engine.batcher.running == 0


def test_of_what_has_ended_nothing_is_left() -> None:
    """Its connection is forgotten with its end: when the region goes dark afterwards, nobody hears of it again."""
    house = House()
    house.send()
    house.kernel.run(1.0)
    told = len(house.heard)
    assert not house.engine._open
    house.engine.darken()
    house.kernel.run(30.0)
    assert len(house.heard) == told


def test_time_outside_of_the_engine_is_passed_on_the_way_in() -> None:
    """HTTP and tokenising stand before the engine's queue: of a request, and of a client that leaves."""
    house = House(Network(round_trip_s=0.0), cost=Cost(model="llama-3.1-8b", gpu="h100", dtype="fp8"))
    outside_s = house.engine.group.modelled().outside_s
    assert outside_s > 0.01
    house.send("c", 5000)
    house.kernel.run(0.9 * outside_s)
    assert house.engine.batcher.running + house.engine.batcher.waiting == 0
    house.kernel.run(2.0)
    house.engine.abort(Cancel("c", 1))
    house.kernel.run(2.0 + 0.9 * outside_s)
    assert house.engine.batcher.running == 1
    house.kernel.run(2.0 + 1.1 * outside_s)
    assert house.engine.batcher.running == 0
