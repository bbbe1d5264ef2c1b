"""Playbooks of calls that have one answer when one of them fails or leaves, and of what each is charged."""

from typing import Any

import pytest

from penstock.base.contents import Content
from penstock.base.nouns import Usage
from penstock.core.cache.spec import CacheSpec
from penstock.core.effects import Adopt, Answer, Cancel, Keep, Record, Refuse, Send
from penstock.core.events import (
    Arrived,
    Began,
    ClientGone,
    Ended,
    Failed,
    Reconfigured,
    Woke,
)
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec
from penstock.core.spec import GateSpec
from tests.core.playbook import USED, kinds, nothing_held, pool, tell
from tests.core.sharing import asked, ended, house, key, lead, rows


def test_a_leader_that_fails_before_its_answer_is_tried_again() -> None:
    """The others wait for its next attempt."""
    machine = house("a", "b")
    tell(machine, asked("c1"), asked("c2"), now=0.0)
    assert machine.on(Failed("c1", 1, "closed_early"), 0.1) == [lead("c1", 2, "b")]
    assert rows(tell(machine, ended("c1", 2), Ended("c2", 0, 200, USED), now=1.0)) == [
        ("c1", "ok", "miss"),
        ("c2", "ok", "coalesced"),
    ]


@pytest.mark.parametrize("began", [False, True])
def test_when_the_replicas_fail_the_leader_all_are_told(began: bool) -> None:
    """Before the answer after all its attempts, and in the middle of it at once: nobody is left without a word, and
    nobody tries what has just failed so often."""
    machine = house("a", "b", "c")
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    if began:
        tell(machine, Began("c1", 1), Began("c2", 0), now=0.1)
        orders = machine.on(Failed("c1", 1, "died_mid_answer"), 0.2)
    else:
        tell(machine, Failed("c1", 1, "upstream_5xx"), Failed("c1", 2, "upstream_5xx"), now=0.1)
        orders = machine.on(Failed("c1", 3, "upstream_5xx"), 0.2)
    label = "died_mid_answer" if began else "upstream_5xx"
    assert [order.id for order in orders if isinstance(order, Refuse)] == ["c1", "c2", "c3"]
    assert rows(orders) == [("c1", label, "miss"), ("c2", label, "coalesced"), ("c3", label, "coalesced")]
    assert nothing_held(machine)


def test_a_follower_leaves() -> None:
    """That concerns nobody else."""
    machine = house()
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    assert rows(machine.on(ClientGone("c2", 1), 0.5)) == [("c2", "client_gone", "coalesced")]
    assert rows(tell(machine, ended("c1"), Ended("c3", 0, 200), now=1.0)) == [
        ("c1", "ok", "miss"),
        ("c3", "ok", "coalesced"),
    ]


@pytest.mark.parametrize("began", [False, True])
def test_when_the_leader_leaves_the_next_one_has_its_attempts(began: bool) -> None:
    """Nothing is cancelled: the attempt is the other's from now on, in the state in which it is, and he is charged what
    the engine counts; who left is charged nothing, and its row has no attempt, so that readers count none twice."""
    machine = house()
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    if began:
        machine.on(Began("c1", 1), 0.1)
    orders = machine.on(ClientGone("c1", 1), 0.5)
    assert orders[0] == Adopt("c1", "c2")
    assert rows(orders) == [("c1", "client_gone", "miss")]
    assert [order.row.attempts for order in orders if isinstance(order, Record)] == [0]
    assert not [order for order in orders if isinstance(order, Cancel)]
    assert machine.counts()["seats_taken"] == 1
    assert kinds(machine.on(asked("c4"), 0.6)) == ["Answer"]
    assert rows(machine.on(ended("c1"), 0.9)) == []
    orders = machine.on(ended("c2"), 1.0)
    assert orders[0] == Keep("c2", key(), 3600.0, "anonymous", "m")
    assert rows(orders) == [("c2", "ok", "miss")]
    (record,) = [order for order in orders if isinstance(order, Record)]
    assert (record.row.usage, record.row.replica, record.row.attempts) == (USED, "a", 1)
    assert rows(tell(machine, Ended("c3", 0, 200), Ended("c4", 0, 200), now=1.0)) == [
        ("c3", "ok", "coalesced"),
        ("c4", "ok", "coalesced"),
    ]
    assert nothing_held(machine)


def test_an_heir_is_tried_again_like_anybody() -> None:
    """The attempts that were made for the one before count."""
    machine = house("a", "b", "c")
    tell(machine, asked("c1"), asked("c2"), now=0.0)
    tell(machine, Failed("c1", 1, "upstream_5xx"), ClientGone("c1"), now=0.1)
    assert machine.on(Failed("c2", 2, "upstream_5xx"), 0.2) == [lead("c2", 3, "c")]
    orders = machine.on(Failed("c2", 3, "upstream_5xx"), 0.3)
    assert [order.id for order in orders if isinstance(order, Refuse)] == ["c2"]
    assert nothing_held(machine)


def test_when_a_leader_that_waits_leaves_the_next_one_waits_in_its_stead() -> None:
    """Nothing was sent for it: another joins the line, and the others follow that one."""
    machine = house()
    machine.on(asked("other", Content("d2", fixed=True)), 0.0)
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    orders = machine.on(ClientGone("c1"), 0.5)
    assert rows(orders) == [("c1", "client_gone", "miss")]
    assert orders[-1] == Adopt("c1", "c2")
    assert lead("c2").id in [order.id for order in machine.on(ended("other"), 1.0) if isinstance(order, Send)]
    orders = tell(machine, ended("c2"), Ended("c3", 0, 200), now=2.0)
    assert rows(orders) == [("c2", "ok", "miss"), ("c3", "ok", "coalesced")]


def test_what_is_the_leaders_own_fate_is_not_the_others() -> None:
    """It has waited as long as it said it can: the others go on, one of them in its stead."""
    machine = house()
    machine.on(asked("other", Content("d2", fixed=True)), 0.0)
    machine.on(asked("c1", latency_s=1.0), 0.0)
    tell(machine, asked("c2"), asked("c3"), now=0.0)
    orders = []
    while (wake := machine.next_wake()) is not None and wake <= 2.0:
        orders += machine.on(Woke(), wake)
    assert [order.id for order in orders if isinstance(order, Refuse)] == ["c1"]
    assert [order for order in orders if isinstance(order, Adopt)] == [Adopt("c1", "c2")]
    sent = [order for order in machine.on(ended("other"), 3.0) if isinstance(order, Send)]
    assert [(order.id, order.cache) for order in sent] == [("c2", "lead")]


def test_a_thousand_followers_whose_model_goes_all_hear_of_it() -> None:
    """One after the other would lead, and none can: each is refused, and no stack grows with them."""
    machine = house()
    machine.on(asked("other", Content("d2", fixed=True)), 0.0)
    for number in range(1001):
        machine.on(asked(f"c{number}"), 0.0)
    orders = machine.on(Reconfigured(GateSpec(pools=(pool(models=("n",)),), cache=CacheSpec())), 1.0)
    assert [order.label for order in orders if isinstance(order, Refuse)] == ["model_not_found"] * 1001
    assert [row[2] for row in rows(orders)] == ["miss"] * 1001
    assert machine.counts()["flights"] == 1


def test_an_answer_that_is_not_to_be_had_is_made() -> None:
    """Told before anything of it has gone out: the call is sent itself; told later, it is refused."""
    machine = house(seats=2)
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    (order,) = machine.on(Failed("c2", 0, "stale_connection"), 0.1)
    assert isinstance(order, Send)
    assert (order.id, order.cache) == ("c2", "miss")
    machine.on(Began("c3", 0), 0.2)
    assert rows(machine.on(Failed("c3", 0, "idle_timeout"), 0.3)) == [("c3", "idle_timeout", "coalesced")]
    assert rows(tell(machine, ended("c1"), ended("c2"), now=1.0)) == [("c1", "ok", "miss"), ("c2", "ok", "miss")]
    assert nothing_held(machine)


# ===== limits =====

MONEY = LimitsSpec(
    tenants={"x": AllowanceSpec(tokens_per_minute=200, requests_per_minute=4, budget_per_day=1.0)},
    prices={"m": PriceSpec(prompt=1000.0, completion=2000.0)},
)


def limited(charge: Any = "none") -> Gate:
    """The tenant x may have four calls and 200 tokens a minute."""
    return house(limits=MONEY, cache=CacheSpec(charge=charge))


def used(machine: Gate, what: str) -> float:
    """What x has used of a limit."""
    (account,) = [one for one in machine.accounts(1.0) if one.name == "x"]
    return next(gauge.used for gauge in account.limits if gauge.what == what)


X: dict[str, Any] = {"tenant": "x", "prompt_tokens": 10, "max_tokens": 100}


def test_what_was_not_generated_costs_a_request() -> None:
    """No tokens, and no money: it is let in where only those are spent. The row says so."""
    machine = limited()
    tell(machine, asked("c1", **X), ended("c1", usage=Usage(100, 90)), now=0.0)
    assert used(machine, "tokens per minute") == 190
    (answer,) = machine.on(asked("c2", **X), 0.5)
    assert isinstance(answer, Answer)
    assert answer.rates is not None
    (record,) = machine.on(Ended("c2", 0, 200, Usage(100, 90), 3), 0.6)
    assert isinstance(record, Record)
    assert (record.row.cost, record.row.usage, record.row.billed) == (0.0, None, None)
    assert used(machine, "tokens per minute") == 190
    assert used(machine, "requests per minute") == 2
    tell(machine, asked("c3", **X), Ended("c3", 0, 200), asked("c4", **X), Ended("c4", 0, 200), now=0.7)
    (refuse, _) = machine.on(asked("c5", **X), 0.8)
    assert isinstance(refuse, Refuse)
    assert refuse.label == "request_limit"
    assert nothing_held(machine)


def test_it_may_cost_what_it_would_have() -> None:
    """`charge: tokens`."""
    machine = limited("tokens")
    tell(machine, asked("c1", **X), ended("c1", usage=Usage(20, 10)), now=0.0)
    (record,) = tell(machine, asked("c2", **X), Ended("c2", 0, 200, Usage(20, 10), 3), now=0.5)[1:]
    assert isinstance(record, Record)
    assert (record.row.cost, record.row.usage) == (0.04, Usage(20, 10))
    assert used(machine, "tokens per minute") == 60
    assert nothing_held(machine)


def test_an_heir_is_charged_what_was_generated() -> None:
    """To the token, and once: who left pays nothing, who follows neither."""
    machine = limited()
    tell(machine, asked("c1", **X), asked("c2", **X), asked("c3", **X), now=0.0)
    tell(machine, ClientGone("c1", 1), ended("c2", usage=Usage(20, 10)), Ended("c3", 0, 200), now=0.5)
    assert used(machine, "tokens per minute") == 30
    assert used(machine, "requests per minute") == 2
    assert nothing_held(machine)


def test_what_an_answer_may_need_stays_held_when_it_changes_hands() -> None:
    """The heir has the hold of the one before it: nobody else can take those tokens meanwhile."""
    machine = limited()
    tell(machine, asked("c1", **X), asked("c2", **X), now=0.0)
    held = used(machine, "tokens per minute")
    assert held >= 100
    machine.on(ClientGone("c1"), 0.1)
    assert used(machine, "tokens per minute") == held
    machine.on(ended("c2", usage=Usage(20, 10)), 0.5)
    assert used(machine, "tokens per minute") == 30


def test_an_heir_with_another_key_holds_what_its_answer_may_need() -> None:
    """Two keys of one tenant: what was held for the one that left is held for the other, so that a third call is not
    let in on tokens that are being used."""
    machine = limited()
    tell(machine, asked("c1", key="a", **X), asked("c2", key="b", **X), now=0.0)
    held = used(machine, "tokens per minute")
    assert held >= 100
    machine.on(ClientGone("c1"), 0.1)
    assert used(machine, "tokens per minute") == held
    assert used(machine, "requests per minute") == 1
    machine.on(ended("c2", usage=Usage(20, 10)), 0.5)
    assert used(machine, "tokens per minute") == 30
    assert used(machine, "requests per minute") == 1
    assert nothing_held(machine)


def test_who_must_lead_must_have_what_that_takes() -> None:
    """A follower that has held a request only is asked for its tokens when it is to be sent; it waits alone for what
    others hold, and the next one leads."""
    machine = limited()
    machine.on(asked("c0", Content("d0", fixed=True), **{**X, "max_tokens": 20}), 0.0)
    machine.on(asked("c1", **{**X, "max_tokens": 90}), 0.0)
    tell(machine, asked("c2", **{**X, "max_tokens": 90}), now=0.0)
    orders = machine.on(ClientGone("c1"), 0.1)
    assert [order for order in orders if isinstance(order, Adopt)] == [Adopt("c1", "c2")]
    orders = machine.on(ended("c0", usage=Usage(10, 5)), 1.0)
    assert [order.id for order in orders if isinstance(order, Send)] == ["c2"]
    machine.on(ended("c2"), 2.0)
    assert nothing_held(machine)


# ===== a plain rate of every client =====


def of_client(id: str, client: str) -> Arrived:
    """The same question, from this client without a key."""
    return Arrived(asked(id).call, client=client)


def test_a_kept_answer_counts_for_a_plain_rate() -> None:
    """A rate is of calls, whatever answers them: who asks for a kept answer too fast is refused like anybody."""
    machine = house(limits=LimitsSpec(per_client=2))
    tell(machine, of_client("c1", "@other"), ended("c1"), now=0.0)
    orders = [machine.on(of_client(f"h{number}", "@one"), 0.1) for number in range(3)]
    assert [kinds(some) for some in orders] == [["Answer"], ["Answer"], ["Refuse", "Record"]]


def test_a_call_counts_once_for_a_plain_rate_whoever_answers_it() -> None:
    """One whose leader's own fate it was to end is sent itself: that is no second call, nor anybody else's."""
    machine = house("a", limits=LimitsSpec(per_client=1), seats=2)
    tell(machine, of_client("c1", "@1"), of_client("c2", "@2"), of_client("c3", "@3"), now=0.0)
    tell(machine, Failed("c2", 0, "stale_connection"), now=0.1)
    assert kinds(machine.on(Failed("c3", 0, "stale_connection"), 0.1)) != ["Refuse", "Record"]
    assert machine.counts()["flights"] == 3
