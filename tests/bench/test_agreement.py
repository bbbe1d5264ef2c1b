"""The benchmark of agreement compares what it says: an engine's own model, medians, and a bound that can be missed."""

from typing import Any

import pytest

from bench.agreement import FLEET, NUMBERS, alone, beside, capacity_per_s, later, percentiles, requests_of, table
from bench.house import Ends
from penstock.config.scenarios import Group, Network, Policy, Scenario
from penstock.sim.run import simulate
from penstock.workload.arrivals import Poisson
from penstock.workload.synthetic import Synthetic
from tests.sim.support import request


def row(value: float) -> dict[str, Any]:
    """A run of which all four numbers are alike."""
    return dict.fromkeys(NUMBERS, value)


def test_a_lone_request_takes_what_the_model_says() -> None:
    """A step for the prompt, and one for each further token, at the engine's speed."""
    (end,) = alone([request(5.0, 1000, 11)], FLEET[0])
    read_s, step_s = 0.018 + 1000 * 60e-6, 0.018 + 150e-6
    assert end.ttft_s == pytest.approx(read_s / 0.8)
    assert end.e2e_s == pytest.approx((read_s + 10 * step_s) / 0.8, rel=1e-3)


def test_an_engine_by_itself_is_a_fleet_of_one() -> None:
    """What is taken for the emulator's schedule is what the simulator says of one replica without a queue or a way."""
    requests = requests_of(6.0, 20.0, 3)
    group = Group(cost="demo", speed=0.8, seats=1000, max_model_len=32_768)
    nothing = Synthetic(arrivals=Poisson(rate=1.0), requests=1)
    made = Scenario(workload=nothing, fleet=(group,), network=Network(round_trip_s=0.0))
    result, numbers = simulate(made, Policy(), requests, 1), percentiles(alone(requests, group))
    for name in NUMBERS:
        assert getattr(result, name) == pytest.approx(numbers[name], rel=0.03)


@pytest.mark.slow
def test_capacity_is_where_the_queue_begins_to_grow() -> None:
    """At nine tenths of it all is done soon after the last arrival, at six fifths it takes a fifth longer."""
    capacity = capacity_per_s(Policy())
    nothing = Synthetic(arrivals=Poisson(rate=1.0), requests=1)
    made = Scenario(workload=nothing, fleet=FLEET)
    took = [
        simulate(made, Policy(), requests_of(load * capacity, 200.0, 1), 1).duration_s / 200.0 for load in (0.9, 1.2)
    ]
    assert took[0] < 1.08 < 1.15 < took[1]


def test_later_is_what_the_live_side_took_more() -> None:
    """Two milliseconds more for the first token and one less for the whole."""
    found = later([Ends(0.102, 0.999)], [Ends(0.100, 1.0)])
    assert found["ttft_later_p50_ms"] == 2.0
    assert found["e2e_later_p50_ms"] == -1.0


def test_medians_are_compared_and_a_miss_is_told() -> None:
    """Of three runs and three seeds the middle ones count; 8 % hold at a load of 0.6, 12 % do not, but do at 0.9."""
    live = [row(1.0), row(5.0), row(0.9)]
    near, far = [row(1.08), row(0.2), row(9.0)], [row(1.12), row(1.12), row(1.12)]
    assert all(one["holds"] for one in beside(0.6, live, near))
    missed = beside(0.6, live, far)
    assert not any(one["holds"] for one in missed)
    assert [one["apart"] for one in missed] == pytest.approx([0.12] * 4)
    assert all(one["holds"] for one in beside(0.9, live, far))
    assert table(missed).count("**missed**") == 4
