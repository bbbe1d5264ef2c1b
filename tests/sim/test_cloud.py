"""The cloud: engines that answer, die, freeze and lag, as a gateway would see them."""

from penstock.config.scenarios import Group, MetricsOutage, Network
from penstock.core.effects import Cancel, Send
from penstock.core.events import Began, Ended, Event, Failed, Observed, Probed
from penstock.drive.kernel import Kernel
from penstock.sim.cloud import Cloud, Engine
from tests.sim.support import request


class House:
    """One engine, and what it tells."""

    def __init__(self, network: Network | None = None, **fields: int) -> None:
        self.kernel = Kernel()
        self.heard: list[tuple[float, Event]] = []
        group = Group(cost="fast", **fields)  # type: ignore[arg-type]
        self.cloud = Cloud(
            (group,), network or Network(), self.kernel, lambda event: self.heard.append((self.kernel.clock(), event))
        )

    @property
    def engine(self) -> Engine:
        """The only one."""
        return self.cloud.engines["r0"]

    def send(self, id: str = "c", output_tokens: int = 10) -> None:
        """An attempt with ten seconds to its first byte."""
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
    house.engine.scrape()
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
    house.engine.frozen = True
    house.send()
    house.engine.probe()
    house.kernel.run(20.0)
    assert house.facts() == [Probed("r0", ok=True), Failed("c", 1, "first_byte_timeout")]


def test_metrics_lag_by_what_the_network_says() -> None:
    """Numbers are as old as the lag: a second look finds what was true then."""
    house = House(Network(round_trip_s=0.0, metrics_lag_s=1.0))
    house.engine.scrape()
    house.send("c", 5000)
    house.kernel.run(0.5)
    house.engine.scrape()
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
        house.engine.scrape()
        house.kernel.run(second + 0.1)
        event = house.facts()[-1]
        seen.append(isinstance(event, Observed) and event.stats is not None)
    assert seen == [True, False, True]
