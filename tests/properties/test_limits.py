"""Limits under random histories: never passed, almost all of them usable, everything given back."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.nouns import Call, Replica, Usage
from penstock.base.rand import Rand
from penstock.core.effects import Effect, Record, Refuse, Send
from penstock.core.events import Arrived, Began, ClientGone, Ended, Event, Failed, FleetSeen, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec, RateSpec
from penstock.core.spec import GateSpec
from tests.core.playbook import nothing_held, pool

PRICES = {"m": PriceSpec(prompt=100.0, completion=300.0)}
MICRO = 1e-6


def spec(**allowance: Any) -> GateSpec:
    """Two tenants, each with this allowance; prices of a ten-thousandth for a token of a prompt."""
    tenants = {name: AllowanceSpec(**allowance) for name in ("t", "u")}
    return GateSpec(pools=(pool(),), max_waiting=100, limits=LimitsSpec(tenants=tenants, prices=PRICES))


class World:
    """A Gate, the calls in flight, and what those that are over were charged by our own books."""

    def __init__(self, limits: GateSpec, seats: int = 20) -> None:
        self.gate = Gate(limits, Rand(1))
        self.now = 86_000.0  # shortly before midnight
        self.admitted: dict[str, float] = {}
        self.calls: dict[str, Call] = {}
        self.running: dict[str, int] = {}
        self.charged: list[tuple[float, str, int, float]] = []
        """When it was admitted, by whom, tokens, money."""
        self.refused: list[Refuse] = []
        self.over: set[str] = set()
        self.tell(FleetSeen((Replica(id="a", url="http://a", pool="main", max_concurrent_requests=seats),)))

    def tell(self, event: Event) -> None:
        for order in self.gate.on(event, self.now):
            self.perform(order)

    def perform(self, order: Effect) -> None:
        if isinstance(order, Send):
            self.admitted.setdefault(order.id, self.now)
            self.running[order.id] = order.attempt
        elif isinstance(order, Refuse):
            self.refused.append(order)
        elif isinstance(order, Record):
            assert order.row.id not in self.over
            self.over.add(order.row.id)
            self.running.pop(order.row.id, None)

    def arrive(self, id: str, tenant: str = "t", prompt: int = 5, most: int = 10) -> None:
        self.calls[id] = Call(id, model="m", tenant=tenant, prompt_tokens=prompt, max_tokens=most)
        self.tell(Arrived(self.calls[id]))

    def end(self, id: str, prompt: int, completion: int) -> None:
        money = (prompt * 100.0 + completion * 300.0) * MICRO
        self.charged.append((self.admitted[id], self.calls[id].tenant, prompt + completion, money))
        self.tell(Ended(id, self.running[id], 200, Usage(prompt, completion), completion))

    def wake(self, until: float) -> None:
        """Time passes; alarms ring when they are due."""
        while (at := self.gate.next_wake()) is not None and at <= until:
            self.now = max(self.now, at)
            self.tell(Woke())
        self.now = until

    def most_in(self, tenant: str, length_s: float, what: int) -> float:
        """The most that the calls used which were admitted within any span of that length."""
        mine = [entry for entry in self.charged if entry[1] == tenant]
        spans = [[one for one in mine if at <= one[0] < at + length_s] for at, *_ in mine]
        amounts = [sum(1 if what == 0 else one[what] for one in span) for span in spans]  # type: ignore[misc]
        return max(amounts, default=0)


STEP = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from("tu"), st.integers(1, 8), st.integers(1, 30)),
    st.tuples(st.just("arrive"), st.sampled_from("tu"), st.integers(1, 8), st.integers(1, 30)),
    st.tuples(st.just("end"), st.integers(0, 9), st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.just("end"), st.integers(0, 9), st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.just("fail"), st.integers(0, 9), st.booleans(), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 9), st.integers(0, 3), st.none()),
    st.tuples(st.just("pass"), st.floats(0, 30), st.none(), st.none()),
    st.tuples(st.just("jump"), st.floats(-500, 5000), st.none(), st.none()),
    st.tuples(st.just("reload"), st.booleans(), st.none(), st.none()),
)


def play(world: World, steps: list[Any], other: GateSpec) -> None:
    """Whatever the steps say, then let everything end."""
    usual = world.gate.spec
    for number, (what, one, two, three) in enumerate(steps):
        running = sorted(world.running)
        if what == "arrive":
            world.arrive(f"c{number}", one, two, three)
        elif what == "pass":
            world.wake(world.now + one)
        elif what == "jump":
            world.now += one
        elif what == "reload":
            world.tell(Reconfigured(other if one else usual))
        elif running:
            id = running[one % len(running)]
            call = world.calls[id]
            if what == "end":
                world.end(id, 3 * call.prompt_tokens, int(three * (call.max_tokens or 0)))
            elif what == "fail":
                world.tell(Failed(id, world.running[id], "upstream_5xx" if two else "bad_request", 500))
            else:
                leave(world, id, two)
    for id in sorted(set(world.calls) - world.over):
        world.tell(ClientGone(id))


def leave(world: World, id: str, relayed: int) -> None:
    """A client leaves in the middle of its answer, or before it."""
    call = world.calls[id]
    relayed = min(relayed, call.max_tokens or 0)
    if relayed:
        world.tell(Began(id, world.running[id]))
    # the prompt is charged by what such prompts usually are, at most three times the guess here
    world.tell(ClientGone(id, relayed))


@settings(max_examples=120, deadline=None)
@given(steps=st.lists(STEP, max_size=120), queue=st.booleans())
def test_no_history_passes_a_limit(steps: list[Any], queue: bool) -> None:
    """In no minute are more requests or tokens admitted than the limit, on no day more money is spent than the budget;
    and when all is over nothing is held. Clocks jump, settings change and change back."""
    how = {"over_limit": "queue" if queue else "refuse"}
    limits = spec(requests_per_minute=12, tokens_per_minute=150, budget_per_day=0.05, concurrency=6, **how)
    world = World(limits)
    play(world, [step for step in steps if step[0] != "jump" or step[1] >= 0], limits)
    for tenant in "tu":
        assert world.most_in(tenant, 60.0, 0) <= 12
        assert world.most_in(tenant, 60.0, 2) <= 150
        for begin in (0.0, 86_400.0, 172_800.0, 259_200.0):
            day = [one for one in world.charged if one[1] == tenant and begin <= one[0] < begin + 86_400.0]
            assert sum(one[3] for one in day) <= 0.05 + 1e-9
    assert nothing_held(world.gate)
    for account in world.gate.accounts(world.now):
        assert all(gauge.held == 0 and gauge.used >= 0 for gauge in account.limits)


@settings(max_examples=120, deadline=None)
@given(steps=st.lists(STEP, max_size=120))
def test_everything_is_given_back_whatever_happens(steps: list[Any]) -> None:
    """Also with limits that come and go, and a clock that goes back."""
    world = World(spec(requests_per_minute=5, tokens_per_minute=60, concurrency=2))
    play(world, steps, GateSpec(pools=(pool(),), max_waiting=3, limits=None))
    assert nothing_held(world.gate)
    for account in world.gate.accounts(world.now):
        assert account.in_flight == account.waiting == 0
        assert all(gauge.held == 0 and gauge.used >= 0 for gauge in account.limits)


@pytest.mark.parametrize(
    "allowance, what, limit",
    [
        ({"requests_per_minute": 100}, 0, 100),
        ({"requests_per_minute": 7}, 0, 7),
        ({"tokens_per_minute": 2000}, 2, 2000),
        ({"budget_per_day": 0.3}, 3, 0.3),
        ({"models": {"m": RateSpec(tokens_per_hour=1000)}}, 2, 1000),
    ],
)
@pytest.mark.parametrize("order", ["first", "last", "random"])
def test_almost_all_of_a_limit_is_usable(allowance: dict[str, Any], what: int, limit: float, order: str) -> None:
    """Sixty at a time until the first refusal: at least nine tenths of it are used, and never more than all. Prompts
    have a third of the tokens that are guessed, and answers are half as long as they may be."""
    world, rng = World(spec(**allowance), seats=60), Rand(7).stream(order)
    count = 0
    while not world.refused:
        for _ in range(60 - len(set(world.calls) - world.over)):
            count += 1
            world.arrive(f"c{count:05}", prompt=21, most=40)
        running = sorted(world.running)
        at = {"first": 0, "last": len(running) - 1, "random": rng.randrange(max(1, len(running)))}[order]
        if running:
            world.end(running[at], 7, 20)
        world.now += 0.001
    while world.running:
        world.end(min(world.running), 7, 20)
    used = world.most_in("t", 60.0, what)
    assert used <= limit
    assert used >= (0.9 * limit if limit >= 100 or limit < 1 else limit - 1)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 8), st.integers(1, 30)), min_size=1, max_size=60),
    late=st.floats(0, 1),
)
def test_who_comes_back_when_told_passes(steps: list[tuple[float, int, int]], late: float) -> None:
    """A client alone that tries again after Retry-After seconds is let in, and not earlier by a second."""
    world = World(spec(requests_per_minute=5, tokens_per_minute=100, requests_per_hour=40))
    for number, (pause_s, prompt, most) in enumerate(steps):
        world.wake(world.now + pause_s)
        id = f"c{number}"
        world.arrive(id, prompt=prompt, most=most)
        if id in world.running:
            world.end(id, prompt, most)
        elif world.refused and world.refused[-1].retry_after_s is not None:
            again = world.refused[-1].retry_after_s
            if again > 1.01:
                world.wake(world.now + again - 1.01)
                world.arrive(f"{id}-early", prompt=prompt, most=most)
                assert f"{id}-early" not in world.running
                again = 1.01
            world.wake(world.now + again + late)
            world.arrive(f"{id}-again", prompt=prompt, most=most)
            assert f"{id}-again" in world.running
            world.end(f"{id}-again", prompt, most)
