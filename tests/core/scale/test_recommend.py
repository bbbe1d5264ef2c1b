"""The formula of the HorizontalPodAutoscaler on a table, and what several metrics want together.

The expected numbers were worked out by hand from the published rules. Stabilisation and policies are in `test_guards`.
"""

from math import inf, nan
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from penstock.core.scale.recommend import (
    MOST,
    Band,
    Recommendation,
    band_of,
    recommend,
    up_to,
    want_each,
    want_ratio,
    want_total,
)
from penstock.core.scale.record import Reading
from penstock.core.scale.spec import (
    GpuTarget,
    InFlightTarget,
    KvTarget,
    P95Target,
    QueueTarget,
    RpsTarget,
    ScaleSpec,
    Target,
    Targets,
    TtftTarget,
    UtilisationTarget,
)
from tests.core.scale.pools import seen, window

TENTH = Band(0.9, 1.1)
"""The usual tolerance."""


PAGE = "https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details"
RULES = {
    "formula": "desiredReplicas = ceil[currentReplicas * ( currentMetricValue / desiredMetricValue )]",
    "tolerance": "skips any scaling action if the ratio is sufficiently close to 1.0 (within 0.1 by default)",
    "missing, up": "assuming those Pods were consuming 0% in case of a scale up",
    "missing, down": "assuming those Pods were consuming 100% of the desired value in case of a scale down",
    "not ready": "assuming the not-yet-ready Pods are consuming 0% of the desired metric, dampening the scale up",
    "missing and not ready": "if the new ratio reverses the scale direction, or is within the tolerance, no scaling",
    "no metric": "if a metric value cannot be fetched, it is skipped",
    "ours": "the one deviation (decision 20): fewer told than there should be never turn the direction round",
}
"""What each case is of, in the words of that page."""


class Case(NamedTuple):
    """A rule of RULES; values that ready replicas told, how many did not, how many are not ready; target; how many
    there are; wanted."""

    rule: str
    values: list[float]
    missing: int
    unready: int
    target: float
    current: int
    wanted: int | None


EACH = [
    # the bare formula: ceil(current x value / target)
    Case("formula", [200], 0, 0, 100, 1, 2),
    Case("formula", [50, 50], 0, 0, 100, 2, 1),
    Case("formula", [90, 90, 90], 0, 0, 60, 3, 5),
    Case("formula", [30, 40, 50], 0, 0, 100, 3, 2),
    Case("formula", [100, 200, 300], 0, 0, 100, 3, 6),
    Case("formula", [0, 0, 0], 0, 0, 100, 3, 0),
    Case("formula", [10], 0, 0, 100, 1, 1),
    Case("formula", [1], 0, 0, 1000, 1, 1),
    Case("formula", [150] * 4, 0, 0, 100, 4, 6),
    Case("formula", [0.9] * 10, 0, 0, 0.7, 10, 13),
    Case("formula", [0.35] * 10, 0, 0, 0.7, 10, 5),
    Case("formula", [1.4] * 10, 0, 0, 0.7, 10, 20),
    Case("formula", [1000], 0, 0, 1, 1, 1000),
    Case("formula", [400, 0], 0, 0, 100, 2, 4),
    Case("formula", [60, 60, 60, 60, 60], 0, 0, 50, 5, 6),
    # within the tolerance nothing is done; its ends are within
    Case("tolerance", [100] * 3, 0, 0, 100, 3, 3),
    Case("tolerance", [105] * 3, 0, 0, 100, 3, 3),
    Case("tolerance", [110] * 3, 0, 0, 100, 3, 3),
    Case("tolerance", [111] * 3, 0, 0, 100, 3, 4),
    Case("tolerance", [95] * 3, 0, 0, 100, 3, 3),
    Case("tolerance", [90] * 3, 0, 0, 100, 3, 3),
    Case("tolerance", [89] * 3, 0, 0, 100, 3, 3),  # ceil(2.67) is three, tolerance or not
    Case("tolerance", [89] * 20, 0, 0, 100, 20, 18),
    Case("tolerance", [90] * 20, 0, 0, 100, 20, 20),
    Case("tolerance", [110] * 20, 0, 0, 100, 20, 20),
    Case("tolerance", [111] * 20, 0, 0, 100, 20, 23),
    Case("tolerance", [0.77] * 10, 0, 0, 0.7, 10, 10),
    Case("tolerance", [0.63] * 10, 0, 0, 0.7, 10, 10),
    # missing ones are idle when it would grow
    Case("missing, up", [200], 1, 0, 100, 2, 2),  # (200 + 0) / 2 = 100: on target
    Case("missing, up", [300], 1, 0, 100, 2, 3),
    Case("missing, up", [400, 400], 2, 0, 100, 4, 8),
    Case("missing, up", [150, 150], 1, 0, 100, 3, 3),  # 300 / 3 = 100
    Case("missing, up", [150, 150], 2, 0, 100, 4, 4),  # 300 / 4 = 75: would turn round
    Case("missing, up", [120], 3, 0, 100, 4, 4),
    Case("missing, up", [1000], 9, 0, 100, 10, 10),
    Case("missing, up", [2000], 9, 0, 100, 10, 20),
    # missing ones are on target when it would shrink
    Case("missing, down", [0], 1, 0, 100, 2, 1),
    Case("missing, down", [50, 50], 1, 0, 100, 3, 2),
    Case("missing, down", [0, 0, 0], 1, 0, 100, 4, 1),
    Case("missing, down", [50], 9, 0, 100, 10, 10),  # 950 / 10 = 95: within the tolerance
    Case("missing, down", [0], 9, 0, 100, 10, 10),  # 90: just within
    Case("missing, down", [0, 0], 8, 0, 100, 10, 8),
    Case("missing, down", [80], 1, 0, 100, 2, 2),
    Case("missing, down", [20, 20], 2, 0, 100, 4, 3),
    # who is not ready yet is idle when it would grow, and not looked at when it would shrink
    Case("not ready", [200], 0, 1, 100, 2, 2),
    Case("not ready", [200, 200], 0, 1, 100, 3, 4),
    Case("not ready", [300], 0, 2, 100, 3, 3),
    Case("not ready", [300], 0, 1, 100, 2, 3),
    Case("not ready", [150] * 4, 0, 2, 100, 6, 6),
    Case("not ready", [150] * 4, 0, 1, 100, 5, 6),
    Case("not ready", [120] * 4, 0, 1, 100, 5, 5),  # 480 / 5 = 96
    Case("not ready", [500], 0, 4, 100, 5, 5),
    Case("not ready", [600], 0, 4, 100, 5, 6),
    Case("not ready", [50, 50], 0, 2, 100, 4, 1),
    Case("not ready", [100, 100], 0, 2, 100, 4, 4),
    Case("not ready", [0], 0, 5, 100, 6, 0),
    # both
    Case("missing and not ready", [400], 1, 1, 100, 3, 4),
    Case("missing and not ready", [300], 1, 1, 100, 3, 3),
    Case("missing and not ready", [50], 1, 3, 100, 5, 2),
    Case("missing and not ready", [1000, 1000], 1, 2, 100, 5, 20),
    # with fewer told of than there are, growing never shrinks and shrinking never grows
    Case("ours", [120, 120], 1, 1, 100, 10, 10),
    Case("ours", [115], 0, 0, 100, 5, 5),
    Case("ours", [85] * 10, 0, 0, 100, 5, 5),
    Case("ours", [250], 1, 0, 100, 10, 10),
    Case("ours", [20, 20, 20, 20], 1, 0, 100, 2, 2),
    # nobody tells
    Case("no metric", [], 0, 0, 100, 3, None),
    Case("no metric", [], 3, 0, 100, 3, None),
    Case("no metric", [], 0, 3, 100, 3, None),
]


@pytest.mark.parametrize("case", EACH)
def test_a_metric_of_each(case: Case) -> None:
    """The published rules, line by line."""
    got = want_each(case.values, case.missing, case.unready, case.target, TENTH, case.current)
    assert got == case.wanted


def test_the_table_is_long_enough() -> None:
    """At least sixty cases stand in it, none twice."""
    assert len({str(case) for case in EACH}) == len(EACH) >= 60
    assert {case.rule for case in EACH} == set(RULES)


@pytest.mark.parametrize(
    ("total", "target", "current", "wanted"),
    [
        (100, 10, 10, 10), (105, 10, 10, 10), (110, 10, 10, 10), (111, 10, 10, 12), (95, 10, 10, 10), (90, 10, 10, 10),
        (89, 10, 10, 9), (0, 10, 10, 0), (1, 10, 10, 1), (200, 10, 10, 20), (1000, 10, 1, 100), (0, 10, 0, 0),
        (1, 10, 0, 1), (25, 10, 0, 3),
    ],
)  # fmt: skip
def test_a_metric_of_the_pool(total: float, target: float, current: int, wanted: int) -> None:
    """A total that each should have so much of: the AverageValue of object and external metrics; from none as well."""
    assert want_total(total, target, TENTH, current) == wanted


@pytest.mark.parametrize(
    ("ratio", "ready", "current", "wanted"),
    [
        (1.0, 4, 4, 4), (1.1, 4, 4, 4), (0.9, 4, 4, 4), (2.0, 4, 4, 8), (1.5, 3, 3, 5), (0.5, 4, 4, 2), (0.3, 4, 4, 2),
        (0.0, 4, 4, 0), (3.0, 2, 10, 10), (6.0, 2, 10, 12), (0.5, 12, 4, 4), (9.0, 0, 3, 3), (0.5, 0, 3, 0),
    ],
)  # fmt: skip
def test_a_value_of_the_pool(ratio: float, ready: int, current: int, wanted: int) -> None:
    """One value over its target: the Value target of object and external metrics, which goes by who is ready; where
    fewer are ready than there should be, what is too high never makes the number fall."""
    assert want_ratio(ratio, ready, TENTH, current) == wanted


def test_a_band_of_ones_own() -> None:
    """With `up` and `down` nothing is done between them, whatever the tolerance; without, the tolerance holds."""
    band = band_of(UtilisationTarget(), 0.1)
    assert want_each([0.79] * 10, 0, 0, 0.7, band, 10) == 10
    assert want_each([0.51] * 10, 0, 0, 0.7, band, 10) == 10
    assert want_each([0.81] * 10, 0, 0, 0.7, band, 10) == 12
    assert want_each([0.49] * 10, 0, 0, 0.7, band, 10) == 7
    assert band_of(Target(target=5.0), 0.2) == Band(0.8, 1.2)


def test_numbers_that_are_none() -> None:
    """What is infinite or no number is the largest number that there is, which nobody will obey; never a crash."""
    assert up_to(inf) == up_to(nan) == up_to(1e300) == MOST
    assert up_to(3.0000000001) == 3
    assert up_to(3.001) == 4


# ===== several metrics =====


def want(spec: ScaleSpec, *replicas: Any, queued: int = 0, unready: int = 0, current: int = 2) -> Recommendation:
    """What they want together."""
    return recommend(spec, window(*replicas, queued=queued), unready, current)


def targets(**fields: Any) -> ScaleSpec:
    """Only these metrics."""
    return ScaleSpec(targets=Targets(**{"utilisation": None, "queue": None, **fields}))


def test_the_largest_wins() -> None:
    """Each metric wants a number, and the largest is recommended, with its value as the reason."""
    spec = targets(utilisation=UtilisationTarget(), gpu=GpuTarget(), in_flight=InFlightTarget())
    found = want(spec, seen("a", 8, gpu=1.0), seen("b", 8, gpu=0.9))
    assert [(one.metric, one.wants) for one in found.readings] == [("utilisation", 2), ("in_flight", 1), ("gpu", 3)]
    assert (found.count, found.reason) == (3, "gpu is 0.95 (target 0.7): wants 3")


def test_who_waits_counts_as_used() -> None:
    """Utilisation counts the calls that wait here: full seats and a long queue are more than full."""
    spec = targets(utilisation=UtilisationTarget())
    assert want(spec, seen("a", 10), seen("b", 10)).count == 3
    assert want(spec, seen("a", 10), seen("b", 10), queued=50).count == 10
    assert want(spec, seen("a", 10), seen("b", 10), queued=50, unready=6, current=8).count == 10


def test_one_that_cannot_be_read_stops_only_shrinking() -> None:
    """While a metric is silent the pool does not shrink, but it may grow by the others."""
    spec = targets(utilisation=UtilisationTarget(), kv_usage=KvTarget())
    silent = want(spec, seen("a", 1), seen("b", 1))
    assert (silent.count, silent.reason) == (None, "kv_usage cannot be read: not shrunk")
    assert want(spec, seen("a", 10), seen("b", 10)).count == 3
    assert want(spec, seen("a", 1, kv_usage=0.1), seen("b", 1, kv_usage=0.1)).count == 1


def test_nothing_can_be_read() -> None:
    """Where no metric can be read nothing is recommended."""
    found = want(targets(ttft=TtftTarget()), seen("a"))
    assert (found.count, found.reason) == (None, "no metric can be read")


def test_some_that_cannot_be_read_hold_it_back() -> None:
    """A replica that tells nothing counts as on target when it would shrink, and is told of."""
    spec = targets(gpu=GpuTarget(up=None, down=None))
    found = want(spec, seen("a", gpu=0.35), seen("b"), seen("c", gpu=0.35), current=3)
    assert (found.count, found.readings[0].missing) == (2, 1)


def test_the_ill_are_not_asked() -> None:
    """Replicas that are not well have no say; those on their way count as idle ones when it would grow."""
    spec = targets(utilisation=UtilisationTarget(up=None))
    assert want(spec, seen("a", 10), seen("b", 0, well=False), current=2).count == 2
    assert want(spec, seen("a", 10), seen("b", 0, well=False), unready=1, current=2).count == 2


def test_calls_a_second() -> None:
    """Each replica should get so many; what is not known makes nothing smaller."""
    spec = targets(rps=RpsTarget(target=10.0))
    for rps, wanted in ((20.0, 2), (35.0, 4), (9.0, 1), (0.0, 0)):
        found = recommend(spec, replace(window(seen("a"), seen("b")), rps=rps), 0, 2)
        assert (found.count, found.readings[0].value) == (wanted, rps / 2)
    assert want(spec, seen("a"), seen("b")).reason == "no metric can be read"


def test_time_to_the_whole_answer() -> None:
    """Above the band as many more as it is too slow, below as many fewer; a few calls make no pool grow; with no call
    there is nothing to wait for, and one that hangs tells nothing."""
    spec = targets(p95=P95Target())
    fleet = window(seen("a"), seen("b"))
    for p95_s, answers, wanted in (
        (2.9, 500, 2),
        (5.0, 500, 5),
        (0.9, 500, 1),
        (30.0, 19, 2),
        (0.9, 3, 1),
        (None, 0, 0),
    ):
        assert recommend(spec, replace(fleet, p95_s=p95_s, answers=answers), 0, 2).count == wanted
    assert recommend(spec, replace(fleet, queued=1, answers=0), 0, 2).count is None
    assert recommend(spec, replace(window(seen("a", 1)), answers=0), 0, 2).count is None
    assert want(spec, seen("a")).count is None


def test_who_waits_without_a_replica_is_a_reason() -> None:
    """From none the first is started for who waits, whatever is looked at; a metric that says more goes first."""
    found = want(targets(gpu=GpuTarget()), queued=3, current=0)
    assert (found.count, found.reason) == (1, "calls wait and there is no replica: 3")
    assert want(targets(queue=QueueTarget(target=1.0)), queued=3, current=0).count == 3


def test_something_beside_the_metrics() -> None:
    """Another reading is one more that may win, with its own words; alone it makes nothing smaller while a metric is
    silent, and an urgent one is told apart."""
    spec = targets(gpu=GpuTarget())
    more = Reading(metric="forecast", value=30.0, target=10.0, wants=3, why="30 rps are expected at 12:00")
    fleet = window(seen("a", gpu=0.7), seen("b", gpu=0.7))
    found = recommend(spec, fleet, 0, 2, (more,))
    assert (found.count, found.reason, found.urgent) == (3, "30 rps are expected at 12:00", None)
    assert [one.metric for one in found.readings] == ["gpu", "forecast"]
    silent = window(seen("a"), seen("b"))
    assert recommend(spec, silent, 0, 2, (more,)).count == 3
    assert recommend(spec, silent, 0, 4, (more,)).count is None
    assert recommend(spec, fleet, 0, 2, (replace(more, urgent=True),)).urgent == 3


def test_a_queue_without_replicas() -> None:
    """From none, who waits is enough of a reason, by the queue's target."""
    spec = ScaleSpec(min=0, targets=Targets(queue=QueueTarget(target=10)))
    assert want(spec, queued=1, current=0).count == 1
    assert want(spec, queued=25, current=0).count == 3
    assert want(spec, current=0).count == 0


def test_nonsense_is_missing() -> None:
    """A value that is no number, or negative, counts as not told."""
    spec = targets(gpu=GpuTarget())
    assert want(spec, seen("a", gpu=nan), seen("b", gpu=-1.0)).count is None
