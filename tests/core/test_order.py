"""Who is next: classes, fairness, deadlines, scores, ageing; each against a plain sort where there is one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base.nouns import PRIORITIES
from penstock.core.flight import Flight
from penstock.core.order import TIERS, base_score, urgency
from penstock.core.pool import Pool
from penstock.core.shed import NOBODY
from penstock.core.spec import QueueSpec
from tests.core.playbook import call
from tests.core.test_pool import pool_of


def queue(**fields: Any) -> Pool:
    """A pool without seats whose line is filled by hand."""
    return pool_of(queue=QueueSpec(**fields))


def wait(pool: Pool, id: str, now: float = 0.0, deadline: float = 30.0, **fields: Any) -> Flight:
    """A call begins to wait."""
    flight = Flight(call(id, **fields), (), now)
    flight.deadline = deadline
    pool.push(flight, "m", now)
    return flight


def take(pool: Pool, now: float = 0.0, owing: bool = False) -> str | None:
    """The id of the next call, which gets a seat."""
    line = pool.lines.get("m")
    head = line.order.head(NOBODY, owing, now) if line is not None else None
    if line is None or head is None:
        return None
    line.order.served(head.flight, now)
    pool.drop(head.flight, "m")
    call = head.flight.call
    flow = pool.fair.takes(call.tenant, now, now)
    flow.returned()
    pool.fair.charge(call, flow)
    return head.flight.call.id


def drain(pool: Pool, now: float = 0.0) -> list[str]:
    """All ids, in order."""
    found = []
    while (name := take(pool, now)) is not None:
        found.append(name)
    return found


def test_classes_are_strict_and_first_come_first_served_inside() -> None:
    """Critical before high before normal before low before batch, whoever came first."""
    pool = queue()
    for at, priority in enumerate((4, 2, 0, 3, 1, 2, 0, 4)):
        wait(pool, f"{PRIORITIES[priority]}{at}", float(at), priority=priority)
    assert drain(pool) == ["critical2", "critical6", "high4", "normal1", "normal5", "low3", "batch0", "batch7"]


def test_inside_a_class_tenants_take_turns() -> None:
    """Five calls of one tenant that came first do not hold up the single calls of two others."""
    pool = queue()
    for number in range(5):
        wait(pool, f"flood{number}", tenant="flood")
    wait(pool, "b", tenant="b")
    wait(pool, "c", tenant="c")
    assert drain(pool) == ["flood0", "b", "c", "flood1", "flood2", "flood3", "flood4"]


def test_weights_and_costs_share_seats() -> None:
    """Weight 2 gets two calls for one; calls of twice the cost count as two."""
    pool = queue(weights={"a": 2.0})
    for number in range(60):
        for tenant, tokens in (("a", 99), ("b", 99), ("c", 199)):
            wait(pool, f"{tenant}{number}", tenant=tenant, prompt_tokens=tokens, max_tokens=0)
    first = [name[0] for name in drain(pool)[:70]]
    assert {tenant: first.count(tenant) for tenant in "abc"} == {"a": 40, "b": 20, "c": 10}


def test_what_a_tenant_had_counts_in_every_class() -> None:
    """Seats that a tenant got as critical are its own: in the class below the other one is first."""
    pool = queue()
    wait(pool, "a-critical", tenant="a", priority=0)
    wait(pool, "a-normal", tenant="a")
    wait(pool, "b-normal", tenant="b")
    assert drain(pool) == ["a-critical", "b-normal", "a-normal"]


def test_earliest_deadline_orders_one_tenants_calls() -> None:
    """With edf the most urgent of a tenant's calls of a class is first; with fifo the first; classes stay strict."""
    for within, order in (("edf", ["x", "c", "b", "a"]), ("fifo", ["x", "a", "b", "c"])):
        pool = queue(within=within)
        for name, deadline in (("a", 30.0), ("b", 20.0), ("c", 5.0)):
            wait(pool, name, deadline=deadline)
        wait(pool, "x", deadline=99.0, priority=1)
        assert drain(pool) == order


def test_a_class_that_was_passed_over_is_aged() -> None:
    """Once owed a seat, the class that waits longest for one gets it, if that is at least the ageing time; the class
    that has just been served begins to wait anew, and a strict queue owes nobody."""
    pool, strict = queue(ageing_s=5.0), queue(ageing_s=0.0)
    for each in (pool, strict):
        for number in range(9):
            wait(each, f"n{number}", 0.0)
        wait(each, "l0", 0.0, priority=3)
        wait(each, "l1", 0.0, priority=3)
        wait(each, "b0", 1.0, priority=4)
    assert take(pool, 4.9, owing=True) == "n0"
    assert take(pool, 6.0, owing=True) == "l0"
    assert take(pool, 6.0, owing=True) == "b0"
    assert take(pool, 6.0, owing=True) == "n1"
    assert take(pool, 11.0, owing=True) == "l1"
    assert take(strict, 1e6, owing=True) == "n0"


@pytest.mark.parametrize(
    ("tier", "priority", "base"),
    [
        ("enterprise", "critical", 150.0), ("enterprise", "normal", 100.0), ("premium", "high", 110.0),
        ("standard", "normal", 60.0), ("standard", "low", 40.0), ("free", "critical", 90.0), ("free", "low", 20.0),
        ("free", "batch", 0.0), ("enterprise", "batch", 60.0), ("of old", "normal", 60.0),
    ],
)  # fmt: skip
def test_scores_are_those_of_the_table(tier: str, priority: str, base: float) -> None:
    """Tier plus priority, as published; batch is 40 below normal, an unknown tier is standard."""
    assert base_score(Flight(call(tier=tier, priority=PRIORITIES.index(priority)), (), 0.0)) == base


@pytest.mark.parametrize(
    ("left_s", "points"), [(60, 0.0), (30, 0.0), (20, 10.0), (15, 15.0), (3, 27.0), (0, 30.0), (-5, 30.0)]
)
def test_urgency_rises_to_thirty(left_s: float, points: float) -> None:
    """Nothing until 30 s before the deadline, then a point a second."""
    assert urgency(100.0 + left_s, 100.0) == pytest.approx(points)


CALLS = st.lists(
    st.tuples(st.sampled_from(sorted(TIERS)), st.integers(0, 4), st.integers(0, 60), st.booleans()), max_size=40
)


@given(CALLS, st.integers(0, 60))
def test_score_order_is_a_sort_by_score_as_of_now(calls: list[tuple[str, int, int, bool]], now: int) -> None:
    """Whatever waits, and whoever has left, the next is the highest score of all that wait, at any time."""
    pool = queue(order="score")
    flights = [
        wait(pool, f"c{at}", 0.0, float(deadline), tier=tier, priority=priority)
        for at, (tier, priority, deadline, _) in enumerate(calls)
    ]
    for flight, (*_, gone) in zip(flights, calls, strict=True):
        if gone:
            pool.drop(flight, "m")
    here = [flight for flight, (*_, gone) in zip(flights, calls, strict=True) if not gone]
    scores = {flight.call.id: base_score(flight) + urgency(flight.deadline, float(now)) for flight in here}
    found = drain(pool, float(now))
    assert [scores[name] for name in found] == sorted(scores.values(), reverse=True)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.sampled_from(["come", "come", "leave", "take"])),
        max_size=120,
    ),
    st.sampled_from(["class", "score"]),
    st.sampled_from(["fifo", "edf"]),
)
def test_nobody_is_lost_and_the_best_class_is_next(story: list[tuple[str, int, str]], order: str, within: str) -> None:
    """Whatever comes, leaves and is taken: each call comes out once or has left, always from the best class there is,
    and nothing is left behind."""
    pool = queue(order=order, within=within)
    here: dict[str, Flight] = {}
    for at, (tenant, priority, what) in enumerate(story):
        if what == "come":
            here[f"c{at}"] = wait(pool, f"c{at}", float(at), at + 30.0 - at % 7, tenant=tenant, priority=priority)
        elif what == "leave" and here:
            pool.drop(here.pop(sorted(here)[at % len(here)]), "m")
        elif here:
            name = take(pool, float(at))
            assert name is not None
            best = min(flight.call.priority for flight in here.values())
            assert order == "score" or here[name].call.priority == best
            del here[name]
    assert sorted(drain(pool, 200.0)) == sorted(here)
    assert not pool.lines
    assert not pool.counts.by_tenant


def test_calls_that_left_do_not_pile_up() -> None:
    """Ten thousand that came and left while one waits leave no more than a handful of entries behind."""
    for order in ("class", "score"):
        pool = queue(order=order)
        wait(pool, "first")
        for number in range(10_000):
            pool.drop(wait(pool, f"c{number}", tenant=f"t{number % 7}", deadline=50.0), "m")
        made: Any = pool.lines["m"].order
        bands = made._bands if order == "class" else made._bands.values()
        heaps = [band._heap if order == "class" else band._calls for band in bands]
        heaps += [lane._calls for band in bands for lane in getattr(band, "lanes", {}).values()]
        assert sum(map(len, heaps)) < 100
        assert drain(pool) == ["first"]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["stay", "stay", "leave"])), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_the_next_few_of_a_tenant_are_its_calls_in_order(calls: list[tuple[int, str]], most: int) -> None:
    """Whoever came late or has left: as a sort of those that wait would have it, and nothing is taken out."""
    pool = queue()
    flights = [(wait(pool, f"c{at}", float(arrived)), what) for at, (arrived, what) in enumerate(calls)]
    first = wait(pool, "last", 99.0)
    for flight, what in flights:
        if what == "leave":
            pool.drop(flight, "m")
    here = sorted((flight for flight, what in flights if what == "stay"), key=lambda flight: flight.arrived)
    made: Any = pool.lines["m"].order
    for _ in range(2):
        assert made.lane(first).upcoming(most) == [*here, first][:most]
