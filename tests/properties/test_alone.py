"""`away: local`: limits of several processes are never passed, whenever their store goes and comes back."""

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

PROMPT, ANSWER = 7, 20
LIMIT = 120
MINUTE_S = 60.0


def world_of(processes: int = 3, share: float = 0.0, wills: bool = False, **allowance: Any) -> World:
    """Processes whose shares add up to one."""
    shared = SharedSpec(away="local", share=share or 1 / processes)
    limits = LimitsSpec(
        tenants={"t": AllowanceSpec(**allowance)},
        prices={"m": PriceSpec(prompt=100.0, completion=300.0)},
        shared=shared,
    )
    spec = GateSpec(pools=(pool(retries=RetrySpec(attempts=1)),), limits=limits)
    world = World(spec, processes, wills=wills)
    world.pass_s(6.0)  # who has just started waits for so long
    return world


def calls(world: World, at: int, count: int, over_s: float = 0.0, quick: bool = True) -> None:
    """So many come to a process, in this time; quick ones are over at once."""
    first = len(world.calls)
    for number in range(count):
        world.arrive(at, f"c{first + number:06}", prompt=PROMPT, most=ANSWER)
        world.pass_s(over_s / count)
        if quick:
            finish(world)


def finish(world: World) -> None:
    """All that run are over."""
    for id in world.running():
        world.end(id, PROMPT, ANSWER)


def passed(world: World) -> int:
    """The most calls that were let in within a minute."""
    return int(world.most_in("t", MINUTE_S, lambda _: 1))


# ===== each way in which a limit could be passed =====


def test_what_others_used_just_before_is_not_used_again() -> None:
    """Two processes have used up the limit when the store goes; the third had nothing to do and knows nothing of it."""
    world = world_of(requests_per_minute=LIMIT)
    calls(world, 2, 3, 1.0)
    world.pass_s(70.0)
    for at in (0, 1):
        calls(world, at, LIMIT, 10.0)
    world.away = True
    calls(world, 2, LIMIT, 20.0)
    assert passed(world) <= LIMIT


def test_what_was_granted_after_it_was_heard_is_not_used_again() -> None:
    """All have heard that much is left; one is granted most of it, and then the store is gone."""
    world = world_of(requests_per_minute=LIMIT)
    for at in range(3):
        calls(world, at, 2, 0.1)
    world.pass_s(0.4)
    calls(world, 0, LIMIT, 0.5)
    world.away = True
    for at in (1, 2):
        calls(world, at, LIMIT, 10.0)
    assert passed(world) <= LIMIT


def test_a_process_that_is_new_knows_nothing() -> None:
    """It is started while the store is away, after others have used up the limit."""
    world = world_of(requests_per_minute=LIMIT)
    calls(world, 0, LIMIT, 10.0)
    world.away = True
    world.kill(2)
    calls(world, 2, LIMIT, 20.0)
    assert passed(world) <= LIMIT


def test_who_comes_back_first_leaves_the_others_what_they_used() -> None:
    """All have served their shares for minutes. The store is back, one hears it first and wants all that seems to be
    left; the others have not told what they used."""
    world = world_of(requests_per_minute=LIMIT)
    for at in range(3):
        calls(world, at, 2, 0.1)
    world.away = True
    for _ in range(10):
        for at in range(3):
            calls(world, at, 60, 5.0)
    world.away = False
    for _ in range(20):
        for at in range(3):
            calls(world, at, 60, 0.1)
    assert passed(world) <= LIMIT


def test_a_store_that_is_there_for_a_moment_confuses_nobody() -> None:
    """It comes back for half a second, one hears it and is granted something, and it is gone again before the others
    notice."""
    for moment_s in (0.2, 0.6, 1.2):
        for at_s in (50.0, 60.0, 64.0):
            world = world_of(requests_per_minute=LIMIT)
            for at in range(3):
                calls(world, at, 2, 0.1)
            world.away = True
            for at in range(3):
                calls(world, at, 60, at_s / 3)
            world.away = False
            calls(world, 0, 2 * LIMIT, moment_s)
            world.away = True
            for _ in range(4):
                for at in range(3):
                    calls(world, at, 60, 5.0)
            assert passed(world) <= LIMIT


def test_shares_of_small_limits_add_up_to_no_more() -> None:
    """A limit of two a minute cannot be served by three processes that do not know of each other."""
    world = world_of(requests_per_minute=2)
    world.away = True
    for _ in range(10):
        for at in range(3):
            calls(world, at, 2, 10.0)
    assert passed(world) <= 2


# ===== what is usable =====


def test_most_of_a_limit_is_usable_in_later_windows() -> None:
    """In each window from the second on nine tenths at least, by all together; and again when the store is back."""
    world = world_of(4, requests_per_minute=LIMIT)
    for at in range(4):
        calls(world, at, 2, 0.1)
    world.away = True
    world.pass_s(1.0)
    for at in range(4):
        calls(world, at, 1)
    world.pass_s(66.0)
    for _ in range(3):
        before = len(world.admitted)
        for _ in range(2):
            for at in range(4):
                calls(world, at, LIMIT, 61.0 / 8)
        assert len(world.admitted) - before >= 0.9 * LIMIT
    world.away = False
    world.pass_s(130.0)
    before = len(world.admitted)
    for _ in range(20):
        calls(world, 0, 10, 0.5)
    world.pass_s(10.0)
    assert len(world.admitted) - before >= 0.9 * LIMIT
    assert passed(world) <= LIMIT


def test_what_is_set_aside_is_served_at_once() -> None:
    """Of a limit of a day each serves its part of the twentieth that is kept for that, and nothing is used twice when
    the store is back."""
    world = world_of(requests_per_day=1200)
    for at in range(3):
        calls(world, at, 2, 0.1)
    world.pass_s(5.0)
    world.away = True
    for at in range(3):
        before = len(world.admitted)
        calls(world, at, 100, 5.0)
        assert len(world.admitted) - before == 1200 // 20 // 3
    world.away = False
    for _ in range(10):
        for at in range(3):
            calls(world, at, 100, 2.0)
    assert 0.9 * 1200 <= len(world.admitted) <= 1200


# ===== whatever happens =====


def storm(world: World, rng: Random, steps: int) -> None:
    """More calls than the limit lets in, while the store goes for moments and for minutes, and messages get lost."""
    count = len(world.processes)
    for number in range(steps):
        for at in range(rng.randrange(12)):
            world.arrive(rng.randrange(count), f"s{number}-{at}", prompt=PROMPT, most=ANSWER)
        for id in world.running():
            if rng.random() < 0.7:
                world.end(id, PROMPT, rng.randrange(ANSWER + 1))
            elif rng.random() < 0.1:
                world.leave(id)
        if rng.random() < 0.12:
            world.away = not world.away
        if world.wills and rng.random() < 0.03:
            world.kill(rng.randrange(count))
        lossy = rng.choice([0.0, 0.0, 0.2])
        world.lose = lambda lossy=lossy: rng.choice(["asked", "answer"]) if rng.random() < lossy else ""  # type: ignore[misc]
        slow = rng.choice([0.001, 0.05, 0.3])
        world.delay_s = lambda slow=slow: rng.random() * slow  # type: ignore[misc]
        world.pass_s(rng.choice([0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 12.0]))
    world.away, world.lose, world.delay_s = False, lambda: "", lambda: 0.001


def tokens(world: World, id: str) -> float:
    """What a call that was let in used at least: what its engine said, or nothing was said of it."""
    row = world.over.get(id)
    return 0 if row is None or row.usage is None else row.usage.prompt_tokens + row.usage.completion_tokens


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 32), limit=st.sampled_from([2, 9, 40, 150]), count=st.sampled_from([2, 3, 5]))
def test_no_storm_passes_a_limit(seed: int, limit: int, count: int) -> None:
    """Of requests never more than the limit in a minute, of tokens never more in an hour, by all of them together; and
    nothing stays held."""
    world = world_of(count, wills=seed % 2 == 1, requests_per_minute=limit, tokens_per_hour=limit * 400)
    storm(world, Rand(seed).stream("storm"), 150)
    assert passed(world) <= limit
    assert world.most_in("t", 3600.0, lambda call: tokens(world, call)) <= limit * 400
    world.pass_s(15.0)
    while world.running():
        finish(world)
        world.pass_s(1.0)
    world.pass_s(15.0)
    for process in world.processes:
        assert nothing_held(process.gate)
