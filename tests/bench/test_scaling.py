"""The comparison of scaling: a policy is what it is called, and a full run plays it as the quick one does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.scaling import FORECASTS, KNOBS, TARGETS, full, full_numbers, learn, numbers_of, ours, quick, scale_of
from bench.scaling_quick import calls_of
from bench.scaling_worlds import World
from penstock.config.scenarios import Group, Slo
from penstock.core.scale.spec import ScaleSpec
from penstock.workload.combine import Trace
from penstock.workload.request import Request
from tests.sim.support import steady


class Small(World):
    """A few minutes of more than two replicas can do."""

    def requests(self, seed: int) -> Iterator[Request]:
        """Five a second."""
        return iter(steady(2000, 0.2, output_tokens=60))


GROUP = Group(count=2, cost="demo", seats=2, startup_s=20.0, hourly_cost=1.0)
WORLD = Small(Trace(file="azure"), GROUP, Slo(ttft_s=1.0), Path(), 0.0, 1.0)


def test_the_default_policy_is_the_default() -> None:
    """At the usual target ours is the spec's own defaults, but for the bounds and how often it looks."""
    default, made = ScaleSpec(), ours(0.7, None, 5.0)
    assert made.targets.utilisation is not None
    assert default.targets.utilisation is not None
    assert made.targets.utilisation.up == pytest.approx(default.targets.utilisation.up)
    assert made.targets.utilisation.down == pytest.approx(default.targets.utilisation.down)
    assert (made.up, made.down, made.targets.queue, made.interval_s) == (
        default.up, default.down, default.targets.queue, default.interval_s,
    )  # fmt: skip
    assert 0.7 in TARGETS


def test_everybody_can_be_played() -> None:
    """Who scales has a policy, the plan and a fixed fleet have none; only ours forecast."""
    assert {who for who in KNOBS if scale_of(who, 1.0, 5.0) is None} == {"clairvoyant", "fixed"}
    assert [
        who for who in KNOBS if (made := scale_of(who, 1.0, 5.0)) is not None and made.forecast is not None
    ] == list(FORECASTS)
    assert learn("azure", Path(), 1, 2.0) is None


@pytest.mark.slow
@pytest.mark.parametrize(("who", "knob"), [("penstock", 0.7), ("hpa_cpu", 0.2), ("fixed", 4)])
def test_quick_and_full_agree(who: str, knob: float) -> None:
    """Within a tenth of the hours (15 % for a policy that meets bursts at once) and 15 points of attainment, on a few
    minutes whose beginning is too much for all."""
    whole = full_numbers(full(WORLD, who, knob, 1, None))
    short = numbers_of(quick(WORLD, calls_of(WORLD.requests(1), GROUP), who, knob, None))
    assert whole["requests"] == short["requests"] == 2000
    assert short["cost"] == pytest.approx(whole["cost"], rel=0.15 if who == "penstock" else 0.1)
    assert short["goodput"] == pytest.approx(whole["goodput"], abs=0.15)
