"""Asking: sums, times and costs are those of the calls that were made."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from penstock.adapters.stores import asking
from penstock.adapters.stores.asking import Span, day_of, until_now
from penstock.adapters.stores.database import Database
from penstock.base.entries import OVERHEAD, UPKEEP, Kept, Overhead, Upkeep
from penstock.base.nouns import Usage
from penstock.drive.segments import Record
from tests.adapters.stores.ledgers import MIDNIGHT, call, database, rows, write

DAY = 86_400.0
TODAY = 20_000
WEEK = Span(TODAY - 6, TODAY)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Database]:
    """Calls of two tenants on three days, one of them refused."""
    with database(tmp_path) as made:
        write(
            made,
            call("a", tenant="acme", key="web", usage=Usage(100, 10, 50), cost=0.5, latency_s=1.0, ttft_s=0.1),
            call("b", tenant="acme", key="jobs", model="big", usage=Usage(10, 1), cost=2.0, latency_s=3.0, ttft_s=0.2),
            call("c", tenant="lab", key="lab", usage=Usage(1000, 1), cost=0.25, at=MIDNIGHT - DAY, latency_s=2.0),
            call(
                "d", tenant="lab", key="lab", outcome="queue_full", status=429, usage=None, ttft_s=None, latency_s=0.0
            ),
            call("e", tenant="old", key="old", at=MIDNIGHT - 9 * DAY),
        )
        yield made


def spent(base: Database, *by: Any, span: Span = WEEK, **how: Any) -> list[tuple[Any, ...]]:
    """Names, calls, answered ones, tokens and cost."""
    with base.reading() as connection:
        found = asking.spent(connection, by, span, **how)
    return [
        (*one.names.values(), one.calls, one.ok, one.prompt_tokens + one.completion_tokens, one.cost) for one in found
    ]


def test_who_spent_most(base: Database) -> None:
    """By cost, by tokens, by calls; only those of the span; at most so many."""
    acme, lab = ("acme", 2, 2, 121, 2.5), ("lab", 2, 1, 1001, 0.25)
    assert spent(base, "tenant") == [acme, lab]
    assert spent(base, "tenant", order="tokens") == [lab, acme]
    assert spent(base, "tenant", order="calls") == [acme, lab]
    assert spent(base, "tenant", most=1) == [acme]
    assert [line[0] for line in spent(base, "tenant", span=Span(0, TODAY))] == ["acme", "lab", "old"]


def test_by_key_model_and_day(base: Database) -> None:
    """Also several at once; days are told in their order, the last first."""
    assert spent(base, "key")[0] == ("jobs", 1, 1, 11, 2.0)
    assert [line[:2] for line in spent(base, "tenant", "model")] == [("acme", "big"), ("acme", "tiny"), ("lab", "tiny")]
    assert [(line[0], line[1]) for line in spent(base, "day")] == [("2024-10-04", 3), ("2024-10-03", 1)]


@pytest.mark.parametrize(
    "filters, calls", [({"tenant": "lab"}, 2), ({"key": "web"}, 1), ({"model": "big"}, 1), ({"tenant": "nobody"}, 0)]
)
def test_only_whose(base: Database, filters: dict[str, str], calls: int) -> None:
    """One tenant's, one key's, one model's."""
    found = spent(base, "day", span=Span(TODAY - 6, TODAY, **filters))
    assert sum(line[1] for line in found) == calls


def test_how_long_calls_took(base: Database) -> None:
    """Of answered calls only, within the sketch's promise; who has most calls is first."""
    with base.reading() as connection:
        acme, lab = asking.quickness(connection, "tenant", WEEK)
        (big,) = asking.quickness(connection, "model", Span(WEEK.first, WEEK.last, model="big"))
    assert (acme.name, acme.calls) == ("acme", 2)
    assert (acme.p50_s, acme.p95_s, acme.p99_s) == pytest.approx((1.0, 3.0, 3.0), rel=0.03)
    assert (acme.ttft_p50_s, acme.ttft_p99_s) == pytest.approx((0.1, 0.2), rel=0.03)
    assert lab.p99_s == pytest.approx(2.0, rel=0.03)
    assert big.p50_s == pytest.approx(3.0, rel=0.03)


@pytest.mark.parametrize("filters", ["tenant = 'acme'", "model = 'big'"])
def test_times_are_found_by_an_index(base: Database, filters: str) -> None:
    """Of one tenant, and of one model, without looking at those of all others."""
    plan = rows(base, f"EXPLAIN QUERY PLAN SELECT latency FROM spreads WHERE day BETWEEN 1 AND 9 AND {filters}")
    assert [line[3].split()[0] for line in plan] == ["SEARCH"]


def test_what_the_fleet_costs(base: Database) -> None:
    """Replica hours by their price, over all tokens of the pool; what was lost stands beside it."""
    half_hour = Upkeep(
        "g-1", MIDNIGHT + 5.0, 1800.0, (Kept("r1", "p", "", "spot", 2.0), Kept("r2", "p", "", "spot", 4.0))
    )
    before = Upkeep("g-0", MIDNIGHT - 30 * DAY, 1800.0, (Kept("r1", "p", "", "spot", 2.0),))
    idle = Upkeep("g-2", MIDNIGHT + 5.0, 3600.0, (Kept("r3", "idle", "", "spot", 1.0),))
    lost = Overhead("a", 1, MIDNIGHT + 1.0, 36.0, "acme", "web", "tiny", "p", "r1", "", "hedge_lost")
    upkeep = [Record(UPKEEP, msgspec.json.encode(one)) for one in (half_hour, before, idle)]
    write(base, *upkeep, Record(OVERHEAD, msgspec.json.encode(lost)))
    with base.reading() as connection:
        other, used = asking.fleet(connection, WEEK)
    assert (used.pool, used.replica_hours, used.cost, used.billed, used.tokens) == ("p", 1.0, 3.0, 2.75, 1122)
    assert used.per_replica_hour == pytest.approx(3.0)
    assert used.per_million_tokens == pytest.approx(3.0 / 1122 * 1e6)
    assert used.lost_attempts == 1
    assert used.lost_hours == pytest.approx(0.01)
    assert (other.pool, other.cost, other.tokens, other.per_million_tokens) == ("idle", 1.0, 0, None)


def test_whole_months_are_read_from_their_own_sums(base: Database) -> None:
    """And of a month that is cut, whichever are fewer: its days, or those that are not in it. Days are always told
    apart by days."""

    def lines(first: int, last: int, *by: Any) -> tuple[bool, int]:
        """Whether months are read, and how many days."""
        parts = asking._parts(Span(first, last)) if by != ("day",) else []
        text = str(asking.spending(by, Span(first, last)))
        assert ("months" in text) == any(part[0].name == "months" for part in parts)
        return "months" in text, sum(part[2] - part[1] + 1 for part in parts if part[0].name == "days")

    october = (TODAY - 3, TODAY + 27)
    assert lines(*october, "tenant") == (True, 0)
    assert lines(TODAY - 3, TODAY + 26, "tenant") == (True, 1)
    assert lines(TODAY, TODAY + 4, "key") == (False, 5)
    assert lines(TODAY - 33, TODAY + 58, "tenant") == (True, 1)
    assert lines(TODAY - 10, TODAY + 30, "model") == (True, 7 + 3)
    assert lines(*october, "day") == (False, 0)


def test_every_time_is_the_sum_of_its_days(tmp_path: Path) -> None:
    """However it lies in its months: what it says is what its days say."""
    rng = Random(1)
    with database(tmp_path) as base:
        first = TODAY - 40
        calls = [(first + rng.randrange(120), rng.choice("ab"), rng.randrange(1, 9) / 8) for _ in range(300)]
        write(
            base, *(call(str(n), at=day * DAY + 5.0, tenant=who, cost=cost) for n, (day, who, cost) in enumerate(calls))
        )
        for _ in range(60):
            begin = first + rng.randrange(120)
            span = Span(begin, begin + rng.randrange(100), rng.choice((None, "a")))
            wanted: dict[str, list[float]] = {}
            for day, who, cost in calls:
                if span.first <= day <= span.last and span.tenant in (None, who):
                    sums = wanted.setdefault(who, [0, 0.0])
                    sums[0] += 1
                    sums[1] += cost
            found = {line[0]: [line[1], line[-1]] for line in spent(base, "tenant", span=span)}
            assert found == wanted


def test_until_now_is_until_the_end_of_the_month() -> None:
    """So that a month that is not over is one of the whole ones."""
    span = until_now(MIDNIGHT - 3 * DAY, MIDNIGHT + 5.0, "acme")
    assert (span.first, span.last, span.tenant, span.whole_months) == (TODAY - 3, TODAY + 27, "acme", True)
    assert not until_now(MIDNIGHT - 2 * DAY, MIDNIGHT + 5.0).whole_months


def test_days_begin_at_midnight() -> None:
    """Of UTC."""
    assert [day_of(MIDNIGHT - 0.001), day_of(MIDNIGHT)] == [TODAY - 1, TODAY]
