"""Sums: what a batch adds, whatever the order and the number of its calls."""

from random import Random
from typing import Any

from penstock.adapters.stores.rows import call_values
from penstock.adapters.stores.sums import UNKNOWN, first_day, month_of, summed
from penstock.base.entries import Entry
from penstock.base.nouns import Usage
from tests.adapters.stores.ledgers import MIDNIGHT
from tests.telemetry.rows import row

TODAY = 20_000
QUARTER = TODAY * 96


def values(**changes: Any) -> tuple[Any, ...]:
    """A call's row; it came shortly after MIDNIGHT."""
    return call_values(Entry(row(**{"at": MIDNIGHT + 60.0, **changes})))


def test_a_line_for_each_of_those_who_called() -> None:
    """By quarter, day and month; refusals count as calls and not as requests; a client's mistake is a request."""
    late = MIDNIGHT + 1000.0
    found = summed([
        values(cost=0.5), values(at=late, cost=0.25), values(outcome="queue_full", status=429, usage=None, ttft_s=None),
        values(status=400, usage=None), values(outcome="client_gone", usage=None, billed=Usage(8, 3)),
        values(tenant="other", at=MIDNIGHT - 1.0, usage=Usage(1, 2)),
    ])  # fmt: skip
    who, latency = ("demo", "demo", "tiny", "p"), 2_100_000
    demo = (5, 2, 1, 28, 45, 8, 750_000_000, 5 * latency)
    other = (1, 1, 0, 1, 2, 0, 0, latency)
    assert found.days == [(TODAY - 1, "other", *who[1:], *other), (TODAY, *who, *demo)]
    month = month_of(TODAY)
    assert found.months == [(month, *who, *demo), (month, "other", *who[1:], *other)]
    assert found.quarters == [
        (QUARTER - 1, "other", "demo", "tiny", 1, 3), (QUARTER, "demo", "demo", "tiny", 3, 31 + 11),
        (QUARTER + 1, "demo", "demo", "tiny", 1, 31),
    ]  # fmt: skip
    assert found.spreads[("demo", TODAY, "tiny")] == ([latency] * 2, [100_000] * 2)
    assert {type(number) for line in found.days for number in line[5:]} == {int}, (
        "PostgreSQL takes no bool for a number"
    )


def test_invented_models_share_a_line() -> None:
    """Whoever asks for what nobody serves."""
    found = summed([values(model=f"m{n}", pool="", outcome="model_not_found", usage=None) for n in range(5)])
    assert [line[3] for line in found.days] == [UNKNOWN]


def test_the_order_of_calls_does_not_matter() -> None:
    """The same lines, sorted by their keys."""
    rng = Random(1)
    rows = [
        values(id=str(n), tenant=rng.choice("abc"), at=MIDNIGHT + rng.random() * 200_000, cost=rng.randrange(9) / 8)
        for n in range(200)
    ]  # fmt: skip
    one = summed(rows)
    rng.shuffle(rows)
    other = summed(rows)
    assert one[:3] == other[:3]
    assert one.days == sorted(one.days)
    assert sum(line[5] for line in one.months) == sum(line[5] for line in one.days) == 200


def test_months_begin_with_their_first_day() -> None:
    """Back and forth."""
    for day in (0, 59, TODAY, 20_423):
        first = first_day(month_of(day))
        assert first <= day
        assert month_of(first) == month_of(day) != month_of(first - 1)
