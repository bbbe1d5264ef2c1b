"""Limits that several processes share, under random histories: never passed, and usable again whatever has happened."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.rand import Rand
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec, SharedSpec
from penstock.core.spec import GateSpec, RetrySpec
from tests.core.playbook import nothing_held, pool
from tests.helpers.lessees import World

pytestmark = pytest.mark.slow

PRICES = {"m": PriceSpec(prompt=100.0, completion=300.0)}
MICRO = 1e-6
PROMPT, ANSWER = 7, 20
MONEY = (PROMPT * 100.0 + ANSWER * 300.0) * MICRO


def spec(away: Any = "refuse", share: float = 0.25, max_waiting: int = 1000, **allowance: Any) -> GateSpec:
    """Two tenants, each with this allowance, shared with other processes."""
    tenants = {name: AllowanceSpec(**allowance) for name in ("t", "u")}
    limits = LimitsSpec(tenants=tenants, prices=PRICES, shared=SharedSpec(away=away, share=share))
    return GateSpec(pools=(pool(retries=RetrySpec(attempts=1)),), max_waiting=max_waiting, limits=limits)


def tokens(world: World, id: str) -> float:
    """What a call that was let in used at least: what its engine said, or nothing was said of it."""
    row = world.over.get(id)
    return 0 if row is None or row.usage is None else row.usage.prompt_tokens + row.usage.completion_tokens


STEP = st.one_of(
    st.tuples(st.just("arrive"), st.integers(0, 2), st.sampled_from("tu"), st.integers(1, 8)),
    st.tuples(st.just("arrive"), st.integers(0, 2), st.sampled_from("tu"), st.integers(1, 8)),
    st.tuples(st.just("end"), st.integers(0, 9), st.floats(0, 1), st.none()),
    st.tuples(st.just("end"), st.integers(0, 9), st.floats(0, 1), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 9), st.none(), st.none()),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 0.001, 0.05, 0.3, 1.0, 2.0, 7.0, 30.0]), st.none(), st.none()),
    st.tuples(st.just("pass"), st.floats(0, 2), st.none(), st.none()),
    st.tuples(st.just("kill"), st.integers(0, 2), st.none(), st.none()),
    st.tuples(st.just("away"), st.booleans(), st.none(), st.none()),
    st.tuples(st.just("slow"), st.floats(0, 1.5), st.none(), st.none()),
    st.tuples(st.just("lose"), st.sampled_from(["", "asked", "answer"]), st.none(), st.none()),
)


def play(world: World, steps: list[Any]) -> None:
    """Whatever the steps say, then let everything end, with the store at hand."""
    for number, (what, one, two, three) in enumerate(steps):
        running = world.running()
        if what == "arrive":
            for at in range(three):
                world.arrive(one, f"c{number}-{at}", two, prompt=PROMPT * 3, most=40)
        elif what == "pass":
            world.pass_s(one)
        elif what == "kill":
            world.kill(one)
        elif what == "away":
            world.away = one
        elif what == "slow":
            world.delay_s = lambda one=one: one  # type: ignore[misc]
        elif what == "lose":
            world.lose = lambda one=one: one  # type: ignore[misc]
        elif running:
            id = running[one % len(running)]
            if what == "end":
                world.end(id, PROMPT, int(ANSWER * two))
            else:
                world.leave(id)
    world.away, world.lose, world.delay_s = False, lambda: "", lambda: 0.001
    world.pass_s(15.0)
    while running := world.running():
        for id in running:
            world.end(id, PROMPT, ANSWER)
        world.pass_s(1.0)
    world.pass_s(15.0)


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(STEP, max_size=60), skew=st.floats(-3000, 3000), wills=st.booleans())
def test_no_history_passes_a_limit(steps: list[Any], skew: float, wills: bool) -> None:
    """Three processes, messages that take their time or get lost, a store that goes away and comes back, processes that
    die: in no minute are more requests or tokens let in than the limit, by all of them together. When all is over
    nothing is held, and the clock of the store does not matter."""
    world = World(spec(requests_per_minute=12, tokens_per_minute=300, budget_per_day=0.05), 3, wills=wills)
    world.skew_s = skew
    play(world, steps)
    for tenant in "tu":
        assert world.most_in(tenant, 60.0, lambda _: 1) <= 12
        assert world.most_in(tenant, 60.0, lambda call: tokens(world, call)) <= 300
    for process in world.processes:
        assert nothing_held(process.gate)


def storm(world: World, rng: Random, steps: int) -> None:
    """More calls than any limit lets in, while everything goes wrong that can."""
    for number in range(steps):
        for at in range(rng.randrange(6)):
            world.arrive(rng.randrange(3), f"s{number}-{at}", prompt=PROMPT * 3, most=40)
        for id in world.running():
            if rng.random() < 0.3:
                what = rng.random()
                if what < 0.8:
                    world.end(id, PROMPT, ANSWER)
                elif what < 0.9:
                    world.leave(id)
                else:
                    world.fail(id)
        world.pass_s(rng.choice([0.0, 0.001, 0.01, 0.1, 0.3, 1.0, 3.0]))
        if rng.random() < 0.04:
            world.kill(rng.randrange(3))
        if rng.random() < 0.04:
            world.away = not world.away
        if rng.random() < 0.1:
            slow = rng.choice([0.001, 0.05, 0.4, 0.9, 3.5])
            world.delay_s = lambda slow=slow: rng.random() * slow  # type: ignore[misc]
        if rng.random() < 0.1:
            lossy = rng.choice([0.0, 0.3, 0.9])
            world.lose = lambda lossy=lossy: rng.choice(["asked", "answer"]) if rng.random() < lossy else ""  # type: ignore[misc]
    world.away, world.lose, world.delay_s = False, lambda: "", lambda: 0.001


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), limit=st.sampled_from([3, 25, 90, 300]), wills=st.booleans())
def test_no_storm_passes_a_limit(seed: int, limit: int, wills: bool) -> None:
    """A hundred and fifty steps of overload, deaths, lost and late messages: of requests never more than the limit in a
    minute, of tokens never more on a day, by their own count."""
    world = World(spec(requests_per_minute=limit, tokens_per_hour=limit * 50), 3, wills=wills)
    storm(world, Rand(seed).stream("storm"), 150)
    assert world.most_in("t", 60.0, lambda call: call not in world.unserved) <= limit
    assert world.most_in("t", 3600.0, lambda call: tokens(world, call)) <= limit * 50


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), seats=st.integers(1, 9))
def test_what_the_dead_had_not_spent_is_usable(seed: int, seats: int) -> None:
    """Processes are killed with calls in flight and calls that wait for a seat, while messages get lost or the store is
    away. By their sheets the last word is said for them: of a day's limit as many calls have been sent to engines in
    the end as the limit is, and never one more."""
    limit = 120
    world = World(spec(requests_per_day=limit), 3, seats, wills=True)
    rng = Rand(seed).stream("deaths")
    for number in range(40):
        for at in range(rng.randrange(9)):
            world.arrive(rng.randrange(3), f"s{number}-{at}")
        for id in world.running():
            if rng.random() < 0.2:
                world.end(id, PROMPT, ANSWER)
        world.pass_s(rng.choice([0.0, 0.001, 0.01, 0.1, 0.3]))
        if rng.random() < 0.2:
            world.kill(rng.randrange(3))
        world.away = rng.random() < 0.1
        world.lose = lambda: rng.choice(["", "", "asked", "answer"])
    world.away, world.lose = False, lambda: ""
    world.pass_s(15.0)
    for number in range(limit):
        world.arrive(number % 3, f"more{number}")
        world.pass_s(0.3)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    assert len(world.admitted) == limit


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_all_of_a_limit_is_usable_again(steps: list[Any]) -> None:
    """Once a window has passed after whatever happened, and leases of the dead have ended, one process can use all of
    the limit but one call."""
    world = World(spec(requests_per_minute=12, concurrency=6), 3)
    play(world, steps)
    world.pass_s(70.0)
    before = set(world.admitted)
    for number in range(20):
        world.arrive(0, f"again{number}")
        world.pass_s(0.3)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    assert len(set(world.admitted) - before) >= 11
    assert world.most_in("t", 60.0, lambda _: 1) <= 12


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_calls_at_once_are_bounded_by_all_together(steps: list[Any]) -> None:
    """No more calls are in flight at once than the limit, over all processes, while the store can be reached."""
    world = World(spec(concurrency=5), 3)
    play(world, [step for step in steps if step[0] not in ("away", "slow", "lose", "kill")])
    for number in range(30):
        world.arrive(number % 3, f"more{number}", "t")
        world.pass_s(0.01)
        assert len([id for id in world.running() if world.calls[id][1].tenant == "t"]) <= 5


@pytest.mark.parametrize(
    "allowance, what, limit",
    [
        ({"requests_per_minute": 1000}, 0, 1000),
        ({"requests_per_minute": 100}, 0, 100),
        ({"requests_per_minute": 7}, 0, 7),
        ({"requests_per_day": 500}, 0, 500),
        ({"tokens_per_minute": 2000}, 1, 2000),
        ({"tokens_per_hour": 540}, 1, 540),
        ({"budget_per_day": 0.3}, 2, 0.3),
        ({"budget_per_month": 2.0}, 2, 2.0),
    ],
)
@pytest.mark.parametrize("processes", [1, 2, 5])
def test_almost_all_of_a_limit_is_usable(allowance: dict[str, Any], what: int, limit: float, processes: int) -> None:
    """Bursts of sixty at every process, again and again: at least nine tenths of the limit are used, of small ones all
    but one call, and never more than all."""
    world, rng = World(spec(**allowance), processes), Rand(7).stream("ends")
    count = 0
    for _ in range(20):
        for at in range(processes):
            for _ in range(60):
                count += 1
                world.arrive(at, f"c{count:05}", prompt=PROMPT * 3, most=40)
        for _ in range(5):
            world.pass_s(0.02)
            running = world.running()
            rng.shuffle(running)
            for id in running[: len(running) // 2 + 1]:
                world.end(id, PROMPT, ANSWER)
    world.pass_s(12.0)
    while running := world.running():
        for id in running:
            world.end(id, PROMPT, ANSWER)
        world.pass_s(0.5)
    each = (1, PROMPT + ANSWER, MONEY)[what]
    used = world.most_in("t", 30.0, lambda _: each)
    assert used <= limit + 1e-9
    assert used >= (0.9 * limit if limit >= 100 or limit < 5 else limit - each)


def test_far_from_a_limit_calls_wait_for_no_message() -> None:
    """A thousand calls a second of a limit of sixty thousand a minute: a few messages a second, and after the first
    moments no call waits."""
    world = World(spec(requests_per_minute=600_000), 2)
    for number in range(4000):
        at = number % 2
        world.arrive(at, f"c{number}")
        world.pass_s(0.001)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    late = [row for id, row in world.over.items() if row.queue_s > 0]
    assert len(late) < 60
    assert world.messages() < 4 * 12 * 2


@pytest.mark.parametrize("away, most", [("refuse", 0), ("local", 12)])
def test_without_a_store_what_is_configured_happens(away: str, most: int) -> None:
    """Refuse: 503 with a time to come back; local: a quarter of what was set aside. When the store is back, it hears of
    what was used meanwhile, and all of the rest can be used."""
    world = World(spec(away=away, requests_per_hour=1000), 2)
    world.pass_s(6.0)
    world.arrive(0, "first")
    world.pass_s(3.0)
    world.end("first", PROMPT, ANSWER)
    world.pass_s(3.0)
    world.away = True
    for number in range(50):
        world.arrive(0, f"away{number}")
        world.pass_s(0.1)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    assert len(world.admitted) == most + 1
    labels = {order.label for _, order in world.refused}
    assert labels == {"limits_away"}
    assert all(order.retry_after_s for _, order in world.refused)
    world.away = False
    world.pass_s(9.0)
    for number in range(1200):
        world.arrive(1, f"back{number}")
        world.pass_s(0.01)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    assert len(world.admitted) == (1000 if away == "refuse" else 950)


def test_a_dead_process_keeps_nothing_for_long() -> None:
    """What a process had when it died counts as used when its lease ends, and is there again a window later."""
    world = World(spec(requests_per_minute=10, concurrency=4), 2)
    for number in range(4):
        world.arrive(0, f"lost{number}")
    world.pass_s(0.1)
    assert len(world.running()) == 4
    world.kill(0)
    world.arrive(1, "early")
    world.pass_s(1.0)
    assert "early" not in world.admitted
    world.pass_s(3.0)
    for number in range(12):
        world.arrive(1, f"later{number}")
        world.pass_s(0.2)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    assert 4 <= len([id for id in world.admitted if id.startswith("later")]) <= 6
    world.pass_s(64.0)
    for number in range(12):
        world.arrive(1, f"last{number}")
        world.pass_s(0.2)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    assert len([id for id in world.admitted if id.startswith("last")]) >= 9


def test_a_store_that_forgets_is_told_again() -> None:
    """Its memory is gone: what still counts is told once more, and the limit holds."""
    world = World(spec(requests_per_hour=20), 1)
    for number in range(10):
        world.arrive(0, f"c{number}")
        world.pass_s(0.3)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    world.pass_s(1.0)
    world.book = type(world.book)()
    for number in range(30):
        world.arrive(0, f"d{number}")
        world.pass_s(0.5)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    assert 19 <= len(world.admitted) <= 20


@pytest.mark.parametrize("skew_s", [-3000.0, 3000.0])
def test_another_clock_hides_nothing(skew_s: float) -> None:
    """The store's clock is fifty minutes off: what is used in the first second counts in its minute."""
    world = World(spec(requests_per_minute=12), 2)
    world.skew_s = skew_s
    for number in range(60):
        world.arrive(number % 2, f"c{number}")
        world.pass_s(0.9)
        for id in world.running():
            world.end(id, PROMPT, ANSWER)
    assert len(world.admitted) == 12


@pytest.mark.parametrize(
    "allowance, each, limit",
    [({"requests_per_minute": 600}, 1, 600), ({"tokens_per_minute": 6000}, PROMPT + ANSWER, 6000)],
)
@pytest.mark.parametrize("lasts_s", [0.1, 5.0])
def test_minute_after_minute_all_of_a_limit_is_used(
    allowance: dict[str, Any], each: int, limit: int, lasts_s: float
) -> None:
    """Three processes with four times as many calls as may pass, calls that are over soon or later: in each of three
    minutes nine tenths are used, and never more than the limit."""
    world = World(spec(**allowance), 3)
    begun, count = world.now, 0
    while world.now < begun + 180.0:
        for at in range(3):
            count += 1
            world.arrive(at, f"c{count}", prompt=PROMPT * 3, most=40)
        world.pass_s(0.075)
        for id in world.running():
            if world.now >= world.admitted[id] + lasts_s:
                world.end(id, PROMPT, ANSWER)
    minutes = [int((at - begun) // 60) for at in world.admitted.values()]
    assert all(0.9 * limit <= minutes.count(minute) * each <= limit for minute in range(3))
    assert world.most_in("t", 60.0, lambda _: each) <= limit


def test_an_idle_lease_locks_out_nobody() -> None:
    """One process has got much ahead and falls silent: another has all of it but a call within two seconds."""
    world = World(spec(requests_per_hour=100), 2)
    for number in range(30):
        world.arrive(0, f"a{number}")
        world.pass_s(0.01)
    for id in world.running():
        world.end(id, PROMPT, ANSWER)
    for number in range(80):
        world.arrive(1, f"b{number}")
    world.pass_s(2.0)
    assert len(world.admitted) >= 99
    assert world.most_in("t", 3600.0, lambda _: 1) <= 100
