"""Doors, as playbooks: who passes, who waits and for how long, who is sent away with what answer."""

from typing import Any

import pytest

from penstock.base.nouns import Usage
from penstock.core.effects import Refuse, Send
from penstock.core.events import Began, ClientGone, Ended, Failed, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, ShapingSpec
from penstock.core.spec import ExplainSpec, GateSpec
from tests.core.playbook import (
    arrived,
    fleet,
    gate,
    kinds,
    nothing_held,
    pool,
    refusals,
    row,
    sends,
    tell,
)

USED = Usage(prompt_tokens=10, completion_tokens=10)


def spec(**allowance: Any) -> LimitsSpec:
    """The tenant `t` may use so much."""
    return LimitsSpec(tenants={"t": AllowanceSpec(**allowance)})


def house(seats: int = 9, max_waiting: int = 100, **allowance: Any) -> Gate:
    """One replica, and the limits of `t`."""
    made = gate(pool(), limits=spec(**allowance), max_waiting=max_waiting)
    made.on(fleet("a", max_concurrent_requests=seats), 0.0)
    return made


def mine(id: str, **fields: Any) -> Any:
    """A call of `t` with a prompt of ten tokens (forty are held at first) and an answer of ten."""
    return arrived(id, **{"tenant": "t", "prompt_tokens": 10, "max_tokens": 10, **fields})


def refusal(orders: list[Any]) -> Refuse:
    """The one refusal."""
    (found,) = (order for order in orders if isinstance(order, Refuse))
    return found


def test_over_a_limit_on_requests_the_answer_is_429_and_says_when() -> None:
    """At once, with the right time, and the call gets its row; when that time has come it passes."""
    machine = house(requests_per_minute=1)
    assert sends(machine.on(mine("c1"), 0.0)) == [("c1", "a")]
    orders = machine.on(mine("c2"), 20.0)
    assert kinds(orders) == ["Refuse", "Record"]
    said = refusal(orders)
    assert (said.label, said.status, said.retry_after_s) == ("request_limit", 429, 41.0)
    assert said.rates is not None
    assert (said.rates.limit_requests, said.rates.remaining_requests) == (1, 0)
    assert row(orders).outcome == "request_limit"
    assert refusals(machine.on(mine("c3"), 60.9)) == [("c3", "request_limit", 429)]
    assert sends(machine.on(mine("c4"), 61.0)) == [("c4", "a")]


def test_answers_carry_what_is_left() -> None:
    """The order to send says what the client is told."""
    machine = house(requests_per_minute=5)
    (order,) = machine.on(mine("c1"), 0.0)
    assert isinstance(order, Send)
    assert order.rates is not None
    assert (order.rates.remaining_requests, order.rates.limit_tokens) == (4, None)
    assert machine.on(arrived("other"), 0.0)[0].rates is None  # type: ignore[union-attr]


def test_a_call_waits_for_what_others_may_give_back() -> None:
    """Of 65 tokens fifty are held and twenty will be used: the second waits, and passes when the first has ended."""
    machine = house(tokens_per_minute=65)
    tell(machine, mine("c1"), now=0.0)
    assert machine.on(mine("c2"), 0.0) == []
    assert machine.counts()["waiting"] == 1
    orders = machine.on(Ended("c1", 1, 200, USED, 10), 2.0)
    assert kinds(orders) == ["Record", "Send"]
    assert sends(orders) == [("c2", "a")]
    ended = machine.on(Ended("c2", 1, 200, USED, 10), 3.0)
    assert row(ended).queue_s == 2.0
    assert nothing_held(machine)


def test_it_waits_only_while_that_may_help() -> None:
    """When the first has used what it held, the second cannot pass within the window: it is told so at once."""
    machine = house(tokens_per_minute=60)
    tell(machine, mine("c1"), mine("c2"), now=0.0)
    orders = machine.on(Ended("c1", 1, 200, Usage(prompt_tokens=40, completion_tokens=10), 10), 2.0)
    assert refusals(orders) == [("c2", "token_limit", 429)]
    assert refusal(orders).retry_after_s == 59.0
    assert nothing_held(machine)


def test_it_waits_no_longer_than_it_may() -> None:
    """Then it is refused; a client that can wait less is told earlier."""
    machine = house(tokens_per_minute=60, wait_s=5.0)
    tell(machine, mine("c1"), mine("c2"), mine("c3", latency_s=1.0), now=0.0)
    assert machine.next_wake() == 1.0
    assert refusals(machine.on(Woke(), 1.0)) == [("c3", "token_limit", 429)]
    assert machine.next_wake() == 5.0
    assert refusals(machine.on(Woke(), 5.0)) == [("c2", "token_limit", 429)]
    machine.on(Ended("c1", 1, 200, USED, 10), 6.0)
    assert nothing_held(machine)


def test_with_queue_calls_wait_for_the_window() -> None:
    """A second's window lets them pass one after the other, in the order in which they came."""
    machine = house(requests_per_second=1, over_limit="queue")
    assert sends(tell(machine, mine("c1"), mine("c2"), mine("c3"), now=0.0)) == [("c1", "a")]
    assert machine.next_wake() == 1.0625
    assert sends(machine.on(Woke(), 1.0625)) == [("c2", "a")]
    assert machine.next_wake() == 2.125
    assert sends(machine.on(Woke(), 2.125)) == [("c3", "a")]


def test_with_queue_calls_at_once_are_a_queue() -> None:
    """Without it they are refused."""
    machine = house(concurrency=1, over_limit="queue")
    assert sends(tell(machine, mine("c1"), mine("c2"), now=0.0)) == [("c1", "a")]
    assert sends(machine.on(Ended("c1", 1, 200, USED, 10), 1.0)) == [("c2", "a")]
    strict = house(concurrency=1)
    assert refusals(tell(strict, mine("c1"), mine("c2"), now=0.0)) == [("c2", "concurrency_limit", 429)]


def test_nobody_overtakes_in_a_lane() -> None:
    """A small call behind a large one waits for it; with another key it stands elsewhere."""
    machine = house(tokens_per_minute=100)
    tell(machine, mine("c1"), now=0.0)
    assert machine.on(mine("large", max_tokens=60), 0.1) == []
    assert machine.on(mine("small", prompt_tokens=1, max_tokens=1), 0.2) == []
    assert sends(machine.on(mine("other", key="k", prompt_tokens=1, max_tokens=1), 0.3)) == [("other", "a")]
    orders = machine.on(Ended("c1", 1, 200, Usage(prompt_tokens=1, completion_tokens=1), 1), 1.0)
    assert [id for id, _ in sends(orders)] == ["large"]


def test_who_leaves_makes_room_for_those_behind() -> None:
    """The large one at the head gives up: the small one passes in the same turn."""
    machine = house(tokens_per_minute=100)
    tell(machine, mine("c1"), mine("large", max_tokens=60), mine("small", prompt_tokens=1, max_tokens=1), now=0.0)
    orders = machine.on(ClientGone("large"), 1.0)
    assert kinds(orders) == ["Record", "Send"]
    assert sends(orders) == [("small", "a")]
    assert row(orders).outcome == "client_gone"


def test_the_bound_over_all_pools_bounds_those_who_wait_here() -> None:
    """More are refused with the limit that bars them."""
    machine = house(max_waiting=1, tokens_per_minute=60)
    tell(machine, mine("c1"), mine("c2"), now=0.0)
    assert refusals(machine.on(mine("c3"), 0.0)) == [("c3", "token_limit", 429)]


def test_a_refused_call_gives_back_its_place() -> None:
    """The queue is full: the request does not count, and the next one passes."""
    machine = gate(pool(), limits=spec(requests_per_minute=1), max_waiting=0)
    machine.on(fleet("a", max_concurrent_requests=1), 0.0)
    machine.on(arrived("busy"), 0.0)
    assert refusals(machine.on(mine("c1"), 1.0)) == [("c1", "queue_full", 429)]
    machine.on(Ended("busy", 1, 200), 2.0)
    assert sends(machine.on(mine("c2"), 3.0)) == [("c2", "a")]


def test_many_who_are_let_in_and_refused_at_once_do_not_pile_up() -> None:
    """A thousand that wait for a place and find the queue full end one after the other, in one turn."""
    machine = gate(pool(), limits=spec(concurrency=1, over_limit="queue", wait_s=99.0), max_waiting=2000)
    machine.on(fleet("a", max_concurrent_requests=1), 0.0)
    tell(machine, mine("c0"), *(mine(f"c{number}") for number in range(1, 1001)), now=0.0)
    machine.on(arrived("busy"), 0.0)
    machine.on(Reconfigured(GateSpec(pools=(pool(),), limits=machine.spec.limits, max_waiting=0)), 1.0)
    orders = machine.on(Failed("c0", 1, "bad_request", 400), 2.0)
    assert len(refusals(orders)) == 1001
    assert machine.counts()["limit_holds"] == 0


def test_other_limits_let_pass_who_waits() -> None:
    """A reload that lifts the limit ends the wait; what was used counts on."""
    machine = house(tokens_per_minute=60)
    tell(machine, mine("c1"), mine("c2"), mine("c3"), now=0.0)
    wider = spec(tokens_per_minute=100)
    assert sends(machine.on(Reconfigured(GateSpec(pools=(pool(),), limits=wider, max_waiting=9)), 1.0)) == [("c2", "a")]
    orders = machine.on(Reconfigured(GateSpec(pools=(pool(),), max_waiting=9)), 2.0)
    assert sends(orders) == [("c3", "a")]
    assert tell(machine, *(Ended(id, 1, 200, USED, 10) for id in ("c1", "c2", "c3")), now=3.0)
    assert nothing_held(machine)


def test_a_model_that_goes_while_a_call_waits_is_not_found() -> None:
    """It is refused when its turn comes."""
    machine = house(tokens_per_minute=60)
    tell(machine, mine("c1"), mine("c2"), now=0.0)
    other = GateSpec(pools=(pool(models=("other",)),), limits=machine.spec.limits, max_waiting=9)
    assert refusals(machine.on(Reconfigured(other), 1.0)) == [("c2", "model_not_found", 404)]


def test_an_abandoned_stream_is_charged_what_was_generated() -> None:
    """Ten for the prompt, three for what was relayed; the rest comes back."""
    machine = house(tokens_per_minute=60)
    tell(machine, mine("c1", stream=True), Began("c1", 1), now=0.0)
    machine.on(ClientGone("c1", 3), 1.0)
    ((view,),) = ([gauge.used for gauge in account.limits] for account in machine.accounts(1.0))
    assert view == 13


def test_failed_attempts_and_losers_of_hedges_cost_nothing() -> None:
    """A call that fails once and is answered then is one request and one answer."""
    machine = gate(pool(), limits=spec(requests_per_minute=9, tokens_per_minute=1000))
    machine.on(fleet("a", "b"), 0.0)
    machine.on(mine("c1"), 0.0)
    assert sends(machine.on(Failed("c1", 1, "upstream_5xx", 500), 1.0)) == [("c1", "b")]
    machine.on(Ended("c1", 2, 200, USED, 10), 2.0)
    (account,) = machine.accounts(2.0)
    assert [(gauge.what, gauge.used) for gauge in account.limits] == [
        ("requests per minute", 1),
        ("tokens per minute", 20),
    ]


def test_an_unknown_model_uses_nothing() -> None:
    """It has no target, so no limit is asked."""
    machine = house(requests_per_minute=1)
    assert refusals(machine.on(mine("c1", model="nope"), 0.0)) == [("c1", "model_not_found", 404)]
    assert sends(machine.on(mine("c2"), 0.0)) == [("c2", "a")]


def test_the_way_of_a_call_tells_of_its_limits() -> None:
    """Why it waited, and that it was let in."""
    machine = gate(pool(), limits=spec(tokens_per_minute=65), explain=ExplainSpec(calls=9), max_waiting=9)
    machine.on(fleet("a", max_concurrent_requests=9), 0.0)
    tell(machine, mine("c1"), mine("c2"), now=0.0)
    machine.on(Ended("c1", 1, 200, USED, 10), 1.0)
    trail = machine.trail("c2", 1.0)
    assert trail is not None
    assert [type(step).__name__ for step in trail.steps()] == ["Barred", "LetIn", "Chosen"]


def test_shaping_smooths_a_burst_by_model_and_priority() -> None:
    """Two pass at once, the others one a second in the order in which they came, whosever they are; another priority
    has a stream of its own."""
    limits = LimitsSpec(shaping=ShapingSpec(burst=2, per_second=1.0, wait_s=9.0))
    machine = gate(pool(), limits=limits, max_waiting=99)
    machine.on(fleet("a", max_concurrent_requests=99), 0.0)
    ids = [f"c{number}" for number in range(6)]
    passed = []
    for number, id in enumerate(ids):
        passed += sends(machine.on(arrived(id, tenant="ttuttu"[number]), number / 100))
    assert passed == [("c0", "a"), ("c1", "a")]
    assert sends(machine.on(arrived("urgent", priority=0), 0.1)) == [("urgent", "a")]
    for second, id in enumerate(ids[2:], 1):
        wake = machine.next_wake()
        assert wake is not None
        assert wake == pytest.approx(second, abs=0.001)
        assert sends(machine.on(Woke(), wake)) == [(id, "a")]
    assert machine.on(Ended("c0", 1, 200), 6.0)
    assert [account.kind for account in machine.accounts(6.0)] == ["priority", "priority"]


def test_shaping_is_nobodys_limit() -> None:
    """A client is told of its own limits only; who waits too long is refused."""
    limits = LimitsSpec(shaping=ShapingSpec(burst=1, per_second=0.5, wait_s=3.0))
    machine = gate(pool(), limits=limits, max_waiting=99)
    machine.on(fleet("a", max_concurrent_requests=99), 0.0)
    (order,) = machine.on(arrived("c1"), 0.0)
    assert isinstance(order, Send)
    assert order.rates is None
    assert tell(machine, arrived("c2"), arrived("c3"), now=0.0) == []
    assert sends(machine.on(Woke(), 2.001)) == [("c2", "a")]
    orders = machine.on(Woke(), 3.0)
    assert refusals(orders) == [("c3", "request_limit", 429)]
    assert "priority normal and model m on requests in a burst" in refusal(orders).detail
