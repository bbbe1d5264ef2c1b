"""What is counted of a run: percentiles within a hundredth, memory that does not grow."""

import pytest

from penstock.base.nouns import CallRow, Usage
from penstock.config.scenarios import Slo
from penstock.drive.kernel import Kernel
from penstock.sim.tally import WINDOWS, Tally


def row(outcome: str = "ok", status: int = 200, **fields: object) -> CallRow:
    """The row of a call that took two seconds."""
    plain: dict[str, object] = {
        "id": "c", "client_id": "", "at": 0.0, "tenant": "t", "key": "", "model": "m", "path": "", "pool": "p",
        "replica": "r0", "stream": True, "priority": 2, "attempts": 1, "latency_s": 2.0, "ttft_s": 0.5, "queue_s": 0.0,
        "usage": Usage(10, 16, 5), "relayed_tokens": 16,
    }  # fmt: skip
    return CallRow(outcome=outcome, status=status, **{**plain, **fields})  # type: ignore[arg-type]


def test_refusals_count_against_goodput() -> None:
    """Of a good answer, a slow one and a refused one a third is good, and two are not failed."""
    tally = Tally(Slo(ttft_s=1.0, per_token_s=0.2), ["r0", "r1"], Kernel())
    for each in (row(), row(ttft_s=1.5), row("queue_full", 429, attempts=0, replica="", usage=None)):
        tally.arrived()
        tally.over(each)
    result = tally.result(0.0)
    assert result.goodput == pytest.approx(1 / 3)
    assert (result.ok, result.failed, result.outcomes) == (2, 1, {"ok": 2, "queue_full": 1})
    assert (result.prefix_hits, result.replicas, result.load_max_mean) == (0.5, {"r0": 2, "r1": 0}, 2.0)


def test_an_answer_that_is_the_clients_mistake_is_no_success() -> None:
    """The engine's 400 is an outcome of its own."""
    tally = Tally(Slo(), ["r0"], Kernel())
    tally.arrived()
    tally.over(row(status=400))
    assert tally.result(0.0).outcomes == {"status_400": 1}


def test_a_long_run_has_no_more_windows_than_a_short_one() -> None:
    """When time runs out of windows, two become one, and nothing is lost."""
    kernel = Kernel()
    tally = Tally(Slo(), ["r0"], kernel)
    for second in range(10 * WINDOWS):
        kernel.run(float(second))
        tally.arrived()
        tally.over(row())
    points = tally.result(0.0).points
    assert len(points) <= WINDOWS
    width = points[1].at_s - points[0].at_s
    assert sum(point.arrived_per_s * width for point in points) == pytest.approx(10 * WINDOWS)


def test_a_run_lasts_from_its_first_arrival() -> None:
    """What was before is no part of it."""
    kernel = Kernel()
    tally = Tally(Slo(), ["r0"], kernel)
    kernel.run(1.0)
    tally.arrived()
    kernel.run(3.0)
    tally.over(row())
    assert tally.result(0.0).duration_s == 2.0


def test_cost_is_the_fleets_for_the_time_it_ran() -> None:
    """Two hours of ten an hour are twenty."""
    kernel = Kernel()
    tally = Tally(Slo(), ["r0"], kernel)
    tally.arrived()
    kernel.run(7200.0)
    tally.over(row())
    assert tally.result(10.0).cost == pytest.approx(20.0)


def test_each_moment_has_its_own_numbers() -> None:
    """Hits, tokens and prices of what ended then; fairness of all so far, once there are two tenants."""
    kernel = Kernel()
    tally = Tally(Slo(), ["r0"], kernel)
    for at, each in ((0.5, row()), (2.5, row(tenant="u", usage=Usage(30, 26, 0)))):
        kernel.run(at)
        tally.arrived()
        tally.over(each)
    first, idle, last = tally.result(3600.0).points
    assert (first.prefix_hits, idle.prefix_hits, last.prefix_hits) == (0.5, None, 0.0)
    assert (first.output_tokens_per_s, last.output_tokens_per_s) == (16.0, 26.0)
    assert first.fairness is None
    assert last.fairness == pytest.approx((26 + 56) ** 2 / (2 * (26**2 + 56**2)))
    assert idle.cost_per_million_tokens is None
    assert last.cost_per_million_tokens == pytest.approx(1e6 / 26)
    assert first.e2e_p95_s == pytest.approx(2.0, rel=0.011)


def test_moments_that_become_one_lose_nothing() -> None:
    """A run so long that windows are joined has all tokens of all tenants in them."""
    kernel = Kernel()
    tally = Tally(Slo(), ["r0"], kernel)
    for second in range(3 * WINDOWS):
        kernel.run(float(second))
        tally.arrived()
        tally.over(row(tenant=f"t{second % 2}"))
    points = tally.result(0.0).points
    width = points[1].at_s - points[0].at_s
    assert sum(point.output_tokens_per_s * width for point in points) == pytest.approx(16 * 3 * WINDOWS)
    assert points[-1].fairness == pytest.approx(1.0)
