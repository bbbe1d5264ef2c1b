"""Whatever happens to calls of several workers that may have one answer: each ends once, and nothing of it is left."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.contents import Content
from penstock.base.errors import Label
from penstock.core.cache.spec import CacheSpec
from penstock.core.events import Ended, Invalidated
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec
from penstock.core.spec import GateSpec
from tests.core.playbook import pool
from tests.properties.several import Worker
from tests.properties.worlds import World

FAILURES: tuple[Label, ...] = ("upstream_5xx", "closed_early", "upstream_busy", "connect_refused")
LIMITS = LimitsSpec(tenants={"x": AllowanceSpec(tokens_per_minute=60, requests_per_minute=40, concurrency=6)})


def world(seed: int, calm: bool) -> World:
    """Settings, drawn; in a calm one the cache keeps little, so that much is asked again."""
    rng = Random(seed)
    isolate = rng.random() < 0.7
    cache = CacheSpec(entries=rng.choice([1, 3]), ttl_s=rng.choice([2.0, 100.0]), isolate=isolate)
    limits = None if calm else rng.choice([None, LIMITS])
    spec = GateSpec(pools=(pool(),), cache=cache, beside=True, limits=limits, max_waiting=1000)
    return World(spec, rng.choice([2, 3, 4]), seed, isolate)


def step(world: World, number: int, calm: bool) -> None:
    """Something, drawn."""
    rng = world.rng
    world.now += rng.choice([0.0, 0.0, 0.01, 0.1])
    world.wakes()
    what, worker = rng.random(), rng.choice(list(world.workers.values()))
    if what < 0.2:
        wish = "" if calm else rng.choice(["", "", "", "refresh", "bypass"])
        content = Content(rng.choice(["d1", "d1", "d2", "d3"]), True, wish, rng.choice([(), ("t",)]))  # type: ignore[arg-type]
        priority = 2 if calm else rng.choice([0, 2, 4])
        world.arrives(worker, number, content, tenant=rng.choice("xy"), priority=priority)
    elif what < 0.6:
        world.deliver()
    elif what < 0.75 and worker.running:
        worker.goes_on(*rng.choice(list(worker.running)), rng.random(), rng.choice(FAILURES))
    elif what < 0.9:
        reads(worker, rng)
    elif not calm:
        harms(world, worker, rng)


def reads(worker: Worker, rng: Random) -> None:
    """A client has got all of its answer."""
    if ready := worker.reads():
        worker.tell(Ended(rng.choice(ready), 0, 200, None, 7))


def harms(world: World, worker: Worker, rng: Random) -> None:
    """A client leaves, a question is not answered in time, something is put out of use, or a worker dies."""
    what = rng.random()
    if what < 0.6 and worker.calls:
        world.leaves(worker, rng.choice(list(worker.calls)))
    elif what < 0.75 and worker.looks:
        look = rng.choice(list(worker.looks.values()))
        if look.line is not None:
            worker.hang_up(look.line)
        worker.give_up(look)
    elif what < 0.85:
        worker.tell(rng.choice([Invalidated(tag="t"), Invalidated()]))
    elif what < 0.92:
        world.die(worker.number)


def settle(world: World) -> None:
    """All words arrive, all attempts end, all clients read."""
    for _ in range(5000):
        world.now += 0.05
        world.wakes()
        busy = world.deliver()
        for worker in world.workers.values():
            for id, attempt in list(worker.running)[:1]:
                worker.goes_on(id, attempt, 0.7, "upstream_5xx")
                busy = True
            reads(worker, world.rng)
            busy = busy or bool(worker.calls)
        if not busy:
            return
    raise AssertionError(f"stuck: {[worker.calls for worker in world.workers.values()]}")


def at_rest(world: World) -> None:
    """Nothing is left of any call."""
    for worker in world.workers.values():
        assert not any(worker.gate.counts().values())
        held = (worker.calls, worker.running, worker.looks, worker.lent, worker.joined, worker.asked, worker.answers)
        assert not any(held)
        assert not worker.gate._calls._follows
        assert len(worker.register) == 0
        view = worker.gate.cached()
        assert view is not None
        assert (view.leading, view.following, view.entries) == (0, 0, len(worker.kept))
    ids = [id for id, _, _ in world.ended]
    assert len(ids) == len(set(ids))


def story(seed: int, steps: int, calm: bool) -> World:
    """One."""
    made = world(seed, calm)
    for number in range(steps):
        step(made, number, calm)
        if calm:
            alone(made)
    settle(made)
    at_rest(made)
    return made


def alone(world: World) -> None:
    """Of each question and tenant one request runs, at whichever worker."""
    running = [worker.whose(id) for worker in world.workers.values() for id, _ in worker.running]
    assert len(running) == len(set(running))


@settings(max_examples=40)
@given(st.integers(0, 1 << 30))
def test_while_nothing_goes_wrong_one_request_runs_for_all_workers(seed: int) -> None:
    """However long words take: never two at once for the same question, and every call is answered or told why not."""
    story(seed, 200, True)


@settings(max_examples=40)
@given(st.integers(0, 1 << 30))
def test_each_call_ends_once_whatever_goes_wrong(seed: int) -> None:
    """Clients leave, workers die and are slow, answers are put out of use, limits are reached: nobody is stuck, no
    tenant gets another's answer, and nothing is left."""
    story(seed, 200, False)


@pytest.mark.slow
@pytest.mark.parametrize("calm", [True, False])
def test_that_holds_in_many_long_stories(calm: bool) -> None:
    """Six hundred of them."""
    for seed in range(600):
        story(seed, 300, calm)


def test_the_stories_are_worth_telling() -> None:
    """There is every way to get an answer; and of answers at the same time most were made for somebody else."""
    worlds = [story(seed, 300, calm) for seed in range(10) for calm in (True, False)]
    states = [state for each in worlds for _, _, state in each.ended]
    assert {"hit", "coalesced", "miss", "bypass"} <= set(states)
    assert states.count("coalesced") > 200
    assert {"client_gone", "ok", "died_mid_answer"} <= {outcome for each in worlds for _, outcome, _ in each.ended}
