"""Calls that go together in virtual time: one request for all, each its part, and each alone where that fails."""

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.base.nouns import Usage
from penstock.config.clients import Clients, Patience
from penstock.config.scenarios import Die, Group, Policy, Scenario
from penstock.core.effects import Cancel, Carry, Effect, Record, Send
from penstock.core.events import Arrived, Ended, Event, Failed
from penstock.core.limits.spec import AllowanceSpec
from penstock.core.route.presets import RoundRobin
from penstock.core.spec import BatchingSpec
from penstock.sim.oracle import least_work
from penstock.sim.run import Run
from penstock.sim.tally import Result
from penstock.workload.request import Request
from tests.sim.support import request, scenario

GROUPS = Policy(strategy=RoundRobin(), batching=BatchingSpec(size=4))


def embed(at_s: float, prompt_tokens: int = 50, **fields: Any) -> Request:
    """A request for an embedding."""
    return request(at_s, prompt_tokens, **{"output_tokens": 0, "alike": "k", **fields})


class Watched:
    """A run, what was told and ordered in it, and that nothing is held at its end."""

    def __init__(self, requests: list[Request], **fields: Any) -> None:
        made: Scenario = scenario(**{"policy": GROUPS, "fleet": (Group(cost="fast", seats=4),), **fields})
        run = Run(made, made.policy, requests, 1)
        self.turns: list[tuple[float, Event, list[Effect]]] = []
        run.watch = lambda now, event, effects: self.turns.append((now, event, effects))
        self.result: Result = run.go().result
        assert run.carriages is not None
        assert len(run.carriages) == 0
        assert not any(run.gate.counts().values())
        run.watch = None

    def orders(self, *kinds: type) -> list[Any]:
        """Of these kinds, in their order."""
        return [order for _, _, orders in self.turns for order in orders if isinstance(order, kinds)]

    def events(self, *kinds: type) -> list[Any]:
        """Facts about calls of these kinds."""
        return [event for _, event, _ in self.turns if isinstance(event, kinds)]

    def groups(self) -> list[tuple[str, ...]]:
        """Who went with whom."""
        return [tuple(one.id for one in order.aboard) for order in self.orders(Carry) if order.aboard]


FIVE = [embed(0.0), *(embed(0.0001, 50 + number) for number in range(4))]
"""One that goes at once, and four that gather meanwhile."""
FIVE_LATER = [replace(each, at_ns=each.at_ns + 1_000_000) for each in FIVE]
TWO = Group(cost="demo", seats=8, count=2)
"""Engines whose steps take twenty milliseconds."""


def test_a_group_is_one_request_and_each_call_has_its_part() -> None:
    """Five calls are two requests to the engine; each is told what its own input used, then the group's end is."""
    seen = Watched(FIVE)
    assert seen.groups() == [("c1", "c2", "c3", "c4")]
    assert [order.id for order in seen.orders(Send)] == ["c0", "group/c1"]
    ends = {event.id: event.usage for event in seen.events(Ended)}
    assert list(ends) == ["c0", "c1", "c2", "c3", "c4", "group/c1"]
    assert ends["group/c1"] == Usage(50 + 51 + 52 + 53)
    assert [ends[f"c{number}"] for number in range(1, 5)] == [Usage(50 + number) for number in range(4)]
    assert (seen.result.ok, seen.result.calls_per_group, seen.result.grouped) == (5, 4.0, 0.8)


def test_an_embedding_is_read_and_nothing_more() -> None:
    """It has a path of its own, is not streamed, sets no bound, begins with its end, and no token comes out."""
    seen = Watched([embed(0.0)])
    (arrived,) = seen.events(Arrived)
    call = arrived.call
    assert (call.path, call.stream, call.max_tokens, arrived.alike) == ("/v1/embeddings", False, None, "k")
    (ended,) = seen.events(Ended)
    assert ended == Ended("c0", 1, 200, Usage(50), 0)
    assert seen.result.ttft_p50_s == seen.result.e2e_p50_s > 0


def test_without_batching_alike_calls_go_alone() -> None:
    """What is alike is told all the same; nobody waits."""
    made = scenario(fleet=(Group(cost="fast", seats=8),))
    result = Run(made, made.policy, FIVE, 1).go().result
    assert (result.ok, result.attempts, result.calls_per_group, result.grouped) == (5, 1.0, 0.0, 0.0)


def test_completions_go_together_where_that_is_asked_for() -> None:
    """The quick ones wait for the slowest, and nobody hears of a first token before the end."""
    spec = replace(GROUPS, batching=BatchingSpec(size=2, completions=True))
    calls = [embed(0.0, output_tokens=5), embed(0.0001, output_tokens=5), embed(0.0001, output_tokens=200)]
    seen = Watched(calls, policy=spec)
    assert seen.groups() == [("c1", "c2")]
    rows = {order.row.id: order.row for order in seen.orders(Record)}
    assert (rows["c1"].usage, rows["c2"].usage) == (Usage(50, 5), Usage(50, 200))
    assert rows["c1"].latency_s == rows["c2"].latency_s > 10 * rows["c0"].latency_s


@pytest.mark.parametrize("at_s", [0.0008, 0.02])
def test_each_is_tried_alone_where_the_engine_dies(at_s: float) -> None:
    """At its first step or its second: nothing of the answer was out, and another engine answers each call alone."""
    seen = Watched(FIVE, fleet=(TWO,), faults=(Die(at_s=at_s, for_s=60.0, replicas=(1,)),))
    assert [(event.id, event.label) for event in seen.events(Failed)] == [("group/c1", "closed_early")]
    sent = [(order.id, order.replica) for order in seen.orders(Send)]
    assert sent == [("c0", "r0"), ("group/c1", "r1"), *((f"c{number}", "r0") for number in range(1, 5))]
    assert seen.result.ok == 5


def test_one_bad_input_costs_its_neighbours_nothing_but_time() -> None:
    """The list is refused as a whole; alone three are answered, and the fourth has the engine's own answer."""
    calls = [embed(0.0), *(embed(0.0001, tokens) for tokens in (50, 900, 50, 50))]
    seen = Watched(calls, fleet=(Group(cost="fast", seats=4, max_model_len=600),))
    assert [(event.id, event.label, event.status) for event in seen.events(Failed)] == [
        ("group/c1", "bad_request", 400)
    ]
    assert seen.result.outcomes == {"ok": 4, "status_400": 1}


def test_a_part_of_who_has_left_is_nobodys() -> None:
    """One of two loses patience while the group is at the engine: it is told of no more, and the other is answered."""
    impatient = Clients(patience=Patience(answer_s=0.05))
    seen = Watched([embed(0.0), embed(0.0001), embed(0.02)], fleet=(TWO,), clients=impatient)
    assert seen.groups() == [("c1", "c2")]
    assert [event.id for event in seen.events(Ended)] == ["c0", "c2", "group/c1"]
    assert seen.result.outcomes == {"client_gone": 1, "ok": 2}


def test_when_all_have_left_the_engine_stops() -> None:
    """The attempt is cancelled, and its sequences are gone from the engine."""
    impatient = Clients(patience=Patience(answer_s=0.02))
    seen = Watched(FIVE, fleet=(Group(cost="demo", seats=8, speed=0.1),), clients=impatient)
    assert seen.result.gave_up == 5
    assert {order.id for order in seen.orders(Cancel)} == {"c0", "group/c1"}
    assert seen.events(Ended) == []


def test_a_group_that_no_engine_has_seen_is_tried_again_as_one() -> None:
    """A dead engine refuses the connection: the same calls go together again, and each counts both attempts."""
    seen = Watched(FIVE_LATER, fleet=(TWO,), faults=(Die(at_s=0.0, for_s=60.0, replicas=(1,)),))
    assert [(event.id, event.label) for event in seen.events(Failed)] == [("group/c1", "connect_refused")]
    assert seen.groups() == [("c1", "c2", "c3", "c4")] * 2
    assert [order.row.attempts for order in seen.orders(Record)] == [1, 2, 2, 2, 2]
    assert (seen.result.ok, seen.result.calls_per_group) == (5, 4.0)


def test_limits_are_each_calls_own() -> None:
    """A tenant may have three calls at once: two of five are refused before they could go with others."""
    limited = replace(GROUPS, limits=AllowanceSpec(concurrency=3))
    seen = Watched(FIVE, policy=limited)
    assert seen.result.outcomes == {"concurrency_limit": 2, "ok": 3}
    assert seen.groups() == [("c1", "c2")]


def test_who_knows_everything_can_be_asked_about_groups() -> None:
    """The yardstick scores a group by its size."""
    made = scenario(policy=GROUPS, fleet=(Group(cost="fast", seats=4, count=2),))
    assert least_work(made, FIVE, 1).calls_per_group == 4.0
