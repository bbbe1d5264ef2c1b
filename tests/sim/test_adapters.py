"""Adapters of an engine: slots, loading, who makes room; and that routing by affinity saves loads."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.config.scenarios import Loras, Scenario, read_scenario
from penstock.config.workloads import reader
from penstock.core.route.presets import Adaptive
from penstock.drive.kernel import Kernel
from penstock.sim.adapters import Shelf
from penstock.sim.run import Run
from penstock.sim.tally import Result
from penstock.workload.combine import Workload
from tests.sim.support import request, scenario, steady


class Desk:
    """A shelf of so many slots whose loads take a second, and who went on when."""

    def __init__(self, slots: int = 2) -> None:
        self.kernel = Kernel()
        self.shelf = Shelf(Loras(max_loras=slots, load_s=1.0), self.kernel)
        self.went: list[tuple[float, str]] = []

    def take(self, name: str, adapter: str) -> None:
        """A request that notes when it goes on."""
        self.shelf.take(name, adapter, lambda: self.went.append((self.kernel.now, name)))


def test_an_adapter_is_loaded_once_for_all_who_wait() -> None:
    """Two wait for a load of a second and go on together; a third one finds it there."""
    desk = Desk()
    desk.take("x", "a")
    desk.take("y", "a")
    assert (desk.shelf.waiting, desk.shelf.waiting_names(), desk.shelf.running_names()) == (2, ("a",), ())
    desk.kernel.run()
    desk.take("z", "a")
    assert desk.went == [(1.0, "x"), (1.0, "y"), (1.0, "z")]
    assert (desk.shelf.loads, desk.shelf.running_names()) == (1, ("a",))


def test_the_least_recently_used_makes_room() -> None:
    """Of two idle ones the one that was used last stays."""
    desk = Desk()
    for name, adapter in (("x", "a"), ("y", "b")):
        desk.take(name, adapter)
    desk.kernel.run()
    desk.shelf.over("y")
    desk.shelf.over("x")
    desk.take("z", "c")
    desk.kernel.run()
    desk.take("again", "a")
    assert desk.went[-1] == (2.0, "again")
    assert desk.shelf.loads == 3


def test_an_adapter_in_use_stays_and_others_wait() -> None:
    """With one slot the second adapter is loaded when the first one's last request is over; a request for the first
    goes past it meanwhile."""
    desk = Desk(slots=1)
    desk.take("x", "a")
    desk.kernel.run()
    desk.take("y", "b")
    desk.take("z", "a")
    assert desk.went == [(1.0, "x"), (1.0, "z")]
    desk.shelf.over("x")
    assert desk.shelf.loads == 1
    desk.shelf.over("z")
    desk.kernel.run()
    assert desk.went[-1] == (2.0, "y")


def test_who_leaves_while_he_waits_is_not_called() -> None:
    """He is forgotten; the adapter comes all the same, and is idle."""
    desk = Desk()
    desk.take("x", "a")
    desk.shelf.over("x")
    desk.kernel.run()
    assert (desk.went, desk.shelf.waiting, desk.shelf.running_names()) == ([], 0, ())


def test_one_that_is_over_at_once_makes_no_room_before_its_neighbours_went_on() -> None:
    """Three wait for one slot, two of them for the same adapter; the first is over as it goes on."""
    desk = Desk(slots=1)
    desk.shelf.take("x", "a", lambda: desk.shelf.over("x"))
    desk.take("y", "a")
    desk.take("z", "b")
    desk.kernel.run(1.5)
    assert desk.went == [(1.0, "y")]
    desk.shelf.over("y")
    desk.kernel.run()
    assert desk.went[-1] == (2.5, "z")


def test_a_new_engine_has_nothing_loaded() -> None:
    """After a restart a load that was under way is void, and slots are free."""
    desk = Desk(slots=1)
    desk.take("x", "a")
    desk.kernel.run(0.5)
    desk.shelf.restart()
    desk.take("y", "b")
    desk.kernel.run()
    assert desk.went == [(1.5, "y")]


LORAS = """
workload:
  kind: synthetic
  arrivals: {kind: poisson, rate: 20}
  sizes:
    kind: independent
    prompt: {kind: lognormal, median: 400, high: 2000}
    output: {kind: lognormal, median: 60, high: 300}
  adapter: {kind: zipf, count: 12, exponent: 0.8, prefix: a}
  requests: 600
fleet: [{count: 4, cost: h200-8b-fp8, seats: 16, loras: {max_loras: 4, load: 500ms}}]
"""


def played(made: Scenario, affinity: float) -> Result:
    """One run with this weight."""
    policy = replace(made.policy, strategy=Adaptive(affinity=affinity))
    return Run(made, policy, Workload(made.workload, 1, reader(Path())), 1).go().result


@pytest.mark.slow
def test_affinity_saves_loads_and_waiting() -> None:
    """Twelve adapters over four engines of four slots: routing by what engines say that they run loads a quarter fewer
    adapters at least, and the median first token does not wait for a load any more."""
    made = read_scenario(LORAS, "loras.yaml")
    without, with_it = played(made, 0.0), played(made, 0.2)
    assert without.ok == with_it.ok == 600
    assert with_it.adapter_loads < 0.75 * without.adapter_loads
    assert with_it.ttft_p50_s < 0.5 < without.ttft_p50_s


def test_adapters_share_no_cache_with_each_other() -> None:
    """The same beginning is found under the same adapter and under no other one, as vLLM has it."""
    group = replace(scenario().fleet[0], count=1, loras=Loras(max_loras=2, load_s=0.0))
    made = scenario(fleet=(group,), adapters=("a", "b"))
    asked = [
        request(float(at), 600, 5, adapter=adapter, blocks=(9,), block_tokens=512)
        for at, adapter in enumerate("abab")
    ]  # fmt: skip
    result = Run(made, made.policy, asked, 1).go().result
    assert result.ok == 4
    assert result.prefix_hits == pytest.approx(2 * 512 / (4 * 600))


def test_a_death_and_a_freeze_leave_no_adapter_in_use() -> None:
    """Whatever ran or waited is answered elsewhere or fails; in the end nobody holds an adapter."""
    text = (
        LORAS.replace("rate: 20", "rate: 6").replace("requests: 600", "requests: 120")
        + """
faults:
  - {kind: die, at: 5s, for: 1s, replicas: [0]}
  - {kind: freeze, at: 8s, for: 3s, replicas: [1]}
policy: {timeouts: {first_byte: 2s, idle: 1s}}
"""
    )
    made = read_scenario(text, "loras.yaml")
    run = Run(made, made.policy, Workload(made.workload, 1, reader(Path())), 1)
    result = run.go().result
    assert result.ok > 100
    assert set(result.outcomes) <= {"ok", "died_mid_answer", "idle_timeout"}
    assert result.attempts > 1.0
    assert all(one.shelf is not None and not one.shelf.running_names() for one in run.cloud.engines.values())


def test_without_slots_adapters_are_passed_over() -> None:
    """A workload's adapters ask for nothing where no group holds any: the model answers, and nothing is loaded."""
    made = scenario()
    result = Run(made, made.policy, steady(10, adapter="a"), 1).go().result
    assert (result.ok, result.adapter_loads) == (10, 0)


def test_an_adapter_that_nobody_knows_is_no_model() -> None:
    """A recorded one must be named in the scenario."""
    group = replace(scenario().fleet[0], loras=Loras(max_loras=2, load_s=0.0))
    made = scenario(fleet=(group,), adapters=("a",))
    asked = [request(0.0, adapter="a"), request(0.1, adapter="b")]
    assert Run(made, made.policy, asked, 1).go().result.outcomes == {"model_not_found": 1, "ok": 1}
