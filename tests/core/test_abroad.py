"""Playbooks of calls that have one answer over several workers: who leads here, and who stands in for calls here."""

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.base.contents import Content
from penstock.base.errors import Label
from penstock.core.abroad import MOST_ASKS
from penstock.core.cache.spec import CacheSpec
from penstock.core.effects import Answer, Cancel, Drop, Effect, Hand, Keep, LookUp, Refuse, Release
from penstock.core.events import (
    Began,
    ClientGone,
    Ended,
    Failed,
    Found,
    Invalidated,
    LookedUp,
    Reconfigured,
    Unwanted,
    Wanted,
)
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec
from penstock.core.spec import GateSpec
from tests.core.playbook import USED, kinds, nothing_held, pool, tell
from tests.core.sharing import asked, ended, house, key, lead, rows


def worker(*ids: str, **more: object) -> Gate:
    """A worker of several."""
    return house(*ids, beside=True, **more)  # type: ignore[arg-type]


def leading(*ids: str, **more: object) -> Gate:
    """The same, whose call c1 leads and is sent."""
    made = worker(*ids, **more)
    tell(made, asked("c1"), LookedUp("c1"), now=0.0)
    return made


def following(**more: object) -> Gate:
    """The same, whose call c1 stands in for a call of another worker, and c2 follows it."""
    made = worker(**more)
    tell(made, asked("c1"), asked("c2"), LookedUp("c1", None, "far"), now=0.0)
    return made


def hands(orders: list[Effect]) -> list[Hand]:
    """What other workers are given."""
    return [order for order in orders if isinstance(order, Hand)]


# ===== who leads =====


def test_others_are_asked_before_a_call_leads_and_told_when_it_is_over() -> None:
    """One question, while which others of this worker follow already; then it is sent; at its end one word."""
    machine = worker()
    assert machine.on(asked("c1"), 0.0) == [LookUp("c1", key(), 2)]
    assert machine.on(asked("c2"), 0.0) == [Answer("c2", key(), "coalesced", "c1")]
    assert machine.on(LookedUp("c1"), 0.1) == [lead("c1")]
    orders = machine.on(ended("c1"), 1.0)
    assert kinds(orders) == ["Keep", "Record", "Release"]
    assert orders[2] == Release(key(), "c1", True)
    assert rows(machine.on(Ended("c2", 0, 200, USED), 1.0)) == [("c2", "ok", "coalesced")]
    assert nothing_held(machine)


def test_nobody_is_asked_for_what_is_not_cached_or_kept_here() -> None:
    """Neither for a drawn answer, nor for one that is here, nor for one that is to be fresh; nor without others."""
    machine = worker(seats=3)
    assert kinds(machine.on(asked("c1", Content("d1")), 0.0)) == ["Send"]
    assert kinds(machine.on(asked("c2", Content("d1", fixed=True, wish="refresh")), 0.0)) == ["Send"]
    machine.on(ended("c2"), 0.0)
    assert kinds(machine.on(asked("c3"), 0.0)) == ["Answer"]
    assert kinds(house().on(asked("c1"), 0.0)) == ["Send"]


def test_what_another_worker_keeps_is_kept_here_too() -> None:
    """All that wait get it, and the next one has it at once."""
    machine = worker()
    tell(machine, asked("c1"), asked("c2"), now=9.0)
    orders = machine.on(LookedUp("c1", Found(100, 2.0, 60.0, ("t",), 0)), 10.0)
    assert orders[0] == Keep("c1", key(), 60.0, "anonymous", "m", ("t",), True)
    assert kinds(orders) == ["Keep", "Answer", "Answer", "Release"]
    assert machine.on(asked("c3"), 11.0) == [Answer("c3", key(), "hit", "", 3.0)]


def test_what_another_worker_has_not_heard_is_out_of_use_is_not_taken() -> None:
    """It had heard of fewer, and is told soon: the call is sent."""
    machine = worker()
    machine.on(Invalidated(tag="x", mark=5), 0.0)
    machine.on(asked("c1"), 1.0)
    assert machine.on(LookedUp("c1", Found(100, 2.0, 60.0, (), 4)), 1.0) == [lead("c1")]
    machine.on(ended("c1", size=0), 2.0)
    machine.on(asked("c2"), 2.0)
    assert kinds(machine.on(LookedUp("c2", Found(100, 2.0, 60.0, (), 5)), 2.0))[0] == "Keep"


def test_what_another_worker_makes_is_not_followed_where_it_may_be_out_of_use() -> None:
    """It began before something was put out of use of which that worker has not heard yet: the call is sent."""
    machine = worker()
    machine.on(Invalidated(tag="x", mark=5), 0.0)
    machine.on(asked("c1"), 1.0)
    assert machine.on(LookedUp("c1", None, "far", 4), 1.0) == [lead("c1")]
    machine.on(ended("c1", size=0), 2.0)
    machine.on(asked("c2"), 2.0)
    assert machine.on(LookedUp("c2", None, "far", 5), 2.0) == [Answer("c2", key(), "coalesced", "far")]


# ===== for others =====


@pytest.mark.parametrize("looking", [False, True])
def test_another_worker_follows_a_call(looking: bool) -> None:
    """From before it is sent on; when it ends, nothing more need be said."""
    machine = worker() if looking else leading()
    if looking:
        machine.on(asked("c1"), 0.0)
    assert machine.on(Wanted("2/1", key(), 2), 0.1) == [Hand("2/1", "coalesced", key(), "c1", mark=0)]
    if looking:
        machine.on(LookedUp("c1"), 0.2)
    assert kinds(machine.on(ended("c1"), 1.0)) == ["Keep", "Record", "Release"]
    assert machine.on(Unwanted("2/1"), 1.0) == []


def test_another_worker_gets_what_is_kept_or_hears_that_nothing_is() -> None:
    """With its age, its time, its tags, and how much of what is out of use this worker has heard."""
    machine = leading(cache=CacheSpec(ttl_s=60.0))
    machine.on(Invalidated(tag="x", mark=3), 0.0)
    machine.on(ended("c1"), 1.0)
    assert machine.on(Wanted("2/1", key(), 2), 11.0) == [Hand("2/1", "hit", key(), "", 10.0, 50.0, (), 3)]
    assert machine.on(Wanted("2/2", "other", 2), 11.0) == [Hand("2/2", "none")]
    machine.on(Invalidated(mark=4), 12.0)
    assert machine.on(Wanted("2/3", key(), 2), 12.0) == [Hand("2/3", "none")]


def test_nobody_urgent_waits_behind_a_line_of_another_worker() -> None:
    """A call that waits for a seat is followed by what is not more urgent."""
    machine = worker()
    tell(machine, asked("c0", Content("d0", fixed=True)), LookedUp("c0"), now=0.0)
    tell(machine, asked("c1"), LookedUp("c1"), now=0.0)
    assert hands(machine.on(Wanted("2/1", key(), 1), 0.1)) == [Hand("2/1", "none")]
    assert hands(machine.on(Wanted("2/2", key(), 2), 0.1)) == [Hand("2/2", "coalesced", key(), "c1")]


def test_nobody_follows_one_that_follows() -> None:
    """What another worker brings goes to the clients here, and no further."""
    assert following().on(Wanted("3/1", key(), 2), 0.1) == [Hand("3/1", "none")]


def test_who_has_joined_one_that_follows_in_the_end_asks_again() -> None:
    """It came while others were asked here; so nobody waits in a ring."""
    machine = worker()
    tell(machine, asked("c1"), Wanted("2/1", key(), 2), now=0.0)
    orders = machine.on(LookedUp("c1", None, "far"), 0.1)
    assert orders == [Answer("c1", key(), "coalesced", "far"), Hand("2/1", "none")]


def test_the_last_client_here_leaves_and_others_go_on() -> None:
    """The attempt is made to its end for other workers, is charged as it is, and is kept."""
    machine = leading()
    tell(machine, Wanted("2/1", key(), 2), Began("c1", 1), now=0.1)
    assert machine.on(ClientGone("c1", 3), 0.2) == []
    orders = machine.on(ended("c1"), 1.0)
    assert kinds(orders) == ["Keep", "Record", "Release"]
    assert rows(orders) == [("c1", "ok", "miss")]
    assert nothing_held(machine)


def test_when_they_leave_too_the_engine_is_told_to_stop() -> None:
    """With the last of them, once."""
    machine = leading()
    tell(machine, Wanted("2/1", key(), 2), Wanted("3/1", key(), 2), Began("c1", 1), ClientGone("c1", 3), now=0.1)
    assert machine.on(Unwanted("2/1"), 0.2) == []
    orders = machine.on(Unwanted("3/1"), 0.3)
    assert kinds(orders) == ["Cancel", "Record", "Release"]
    assert rows(orders) == [("c1", "client_gone", "miss")]
    assert nothing_held(machine)


def test_a_client_that_comes_meanwhile_takes_over() -> None:
    """The call whose client has left ends when the other workers do not want it any more; the answer is the other's."""
    machine = leading()
    tell(machine, Wanted("2/1", key(), 2), Began("c1", 1), ClientGone("c1", 3), asked("c2"), now=0.1)
    orders = machine.on(Unwanted("2/1"), 0.2)
    assert kinds(orders) == ["Adopt", "Record"]
    assert rows(machine.on(ended("c2"), 1.0)) == [("c2", "ok", "miss")]
    assert nothing_held(machine)


def test_a_gateway_that_ends_cuts_what_goes_on_for_others() -> None:
    """Told a second time that the client is gone, it stops."""
    machine = leading()
    tell(machine, Wanted("2/1", key(), 2), ClientGone("c1", 0), now=0.1)
    orders = machine.on(ClientGone("c1", 0), 0.2)
    assert [type(order) for order in orders if isinstance(order, Cancel)] == [Cancel]
    assert hands(orders) == [Hand("2/1", "none")]
    assert nothing_held(machine)


def test_what_replicas_did_is_told_to_other_workers() -> None:
    """After all attempts, with why."""
    machine = leading("a", "b", "c")
    machine.on(Wanted("2/1", key(), 2), 0.1)
    tell(machine, Failed("c1", 1, "upstream_5xx", 500), Failed("c1", 2, "upstream_5xx", 500), now=0.2)
    orders = machine.on(Failed("c1", 3, "upstream_5xx", 500), 0.3)
    assert hands(orders) == [Hand("2/1", "failed", label="upstream_5xx", status=500)]
    assert Release(key(), "c1", False) in orders


def test_what_befell_the_leader_alone_lets_other_workers_ask_again() -> None:
    """Its client leaves while it waits for a seat: they hear that there is nothing, after the register does."""
    machine = worker()
    tell(machine, asked("c0", Content("d0", fixed=True)), LookedUp("c0"), now=0.0)
    tell(machine, asked("c1"), LookedUp("c1"), Wanted("2/1", key(), 2), now=0.0)
    orders = machine.on(ClientGone("c1"), 0.1)
    assert kinds(orders) == ["Record", "Release", "Hand"]
    assert orders[2] == Hand("2/1", "none")


def test_who_follows_here_leads_next_and_keeps_the_other_workers() -> None:
    """Nothing is said to them: the answer is still made here."""
    machine = worker()
    tell(machine, asked("c0", Content("d0", fixed=True)), LookedUp("c0"), now=0.0)
    tell(machine, asked("c1"), LookedUp("c1"), asked("c2"), Wanted("2/1", key(), 2), now=0.0)
    assert kinds(machine.on(ClientGone("c1"), 0.1)) == ["Record", "Adopt"]
    assert machine.on(ended("c0"), 0.2)[-1] == lead_late("c2", 0.1)
    assert Release(key(), "c1", True) in machine.on(ended("c2"), 1.0)


def lead_late(id: str, queue_s: float) -> Effect:
    """It has waited for so long."""
    return replace(lead(id), queue_s=queue_s)


# ===== what others bring =====


def test_a_call_stands_in_for_one_of_another_worker() -> None:
    """It, and who follows it here, get that one's answer; each has its row, and nothing was generated for it here."""
    machine = worker()
    machine.on(asked("c1"), 0.0)
    assert machine.on(LookedUp("c1", None, "far"), 0.1) == [Answer("c1", key(), "coalesced", "far")]
    assert machine.on(asked("c2"), 0.2) == [Answer("c2", key(), "coalesced", "c1")]
    view = machine.cached()
    assert view is not None
    assert (view.leading, view.following) == (0, 2)
    orders = tell(
        machine, Began("c1", 0), Began("c2", 0), Ended("c1", 0, 200, USED, 3), Ended("c2", 0, 200, USED, 3), now=1.0
    )
    assert rows(orders) == [("c1", "ok", "coalesced"), ("c2", "ok", "coalesced")]
    assert {order.row.usage for order in orders if hasattr(order, "row")} == {None}
    assert nothing_held(machine)


def test_it_leaves_and_the_next_one_stands_in() -> None:
    """What comes is the next one's; when that leaves as well, nothing is wanted any more."""
    machine = following()
    assert kinds(machine.on(ClientGone("c1"), 0.1)) == ["Adopt", "Record"]
    assert rows(machine.on(ClientGone("c2"), 0.1)) == [("c2", "client_gone", "coalesced")]
    assert nothing_held(machine)
    assert machine.on(asked("c3"), 0.2) == [LookUp("c3", key(), 2)]


def test_the_other_worker_dies_before_anything_came() -> None:
    """Who leads is asked again, for all; and after a few times one of them is sent, and the others follow it."""
    machine = following()
    for _ in range(MOST_ASKS - 1):
        assert machine.on(Failed("c1", 0, "stale_connection"), 0.1) == [LookUp("c1", key(), 2)]
        assert kinds(machine.on(LookedUp("c1", None, "far"), 0.1)) == ["Answer"]
    assert machine.on(Failed("c1", 0, "stale_connection"), 0.1) == [lead("c1")]
    assert rows(tell(machine, ended("c1"), Ended("c2", 0, 200, USED), now=1.0)) == [
        ("c1", "ok", "miss"),
        ("c2", "ok", "coalesced"),
    ]
    assert nothing_held(machine)


@pytest.mark.parametrize(("began", "label"), [(True, "died_mid_answer"), (False, "upstream_5xx")])
def test_an_end_that_is_everybodys(began: bool, label: Label) -> None:
    """In the middle of the answer, or where replicas have failed the other worker: all here are told, nobody tries."""
    machine = following()
    if began:
        tell(machine, Began("c1", 0), Began("c2", 0), now=0.1)
    orders = machine.on(Failed("c1", 0, label, 502, None, 4), 0.2)
    assert [order.id for order in orders if isinstance(order, Refuse)] == ["c1", "c2"]
    assert rows(orders) == [("c1", label, "coalesced"), ("c2", label, "coalesced")]
    assert nothing_held(machine)


def test_who_asks_leaves_before_there_is_an_answer() -> None:
    """The question is asked again for the next one; what is told of the first means nothing."""
    machine = worker()
    tell(machine, asked("c1"), asked("c2"), now=0.0)
    orders = machine.on(ClientGone("c1"), 0.1)
    assert kinds(orders) == ["Record", "Adopt", "Release", "LookUp"]
    assert orders[2:] == [Release(key(), "c1", False), LookUp("c2", key(), 2)]
    assert machine.on(LookedUp("c1", None, "far"), 0.2) == []
    assert machine.on(LookedUp("c2", None, "far"), 0.2) == [Answer("c2", key(), "coalesced", "far")]


def test_what_was_put_out_of_use_meanwhile_is_not_waited_for() -> None:
    """What another worker makes began before: the call is sent, and its answer not kept."""
    machine = worker()
    machine.on(asked("c1"), 0.0)
    machine.on(Invalidated(mark=1), 0.1)
    assert machine.on(LookedUp("c1", None, "far"), 0.2) == [lead("c1")]
    assert kinds(machine.on(ended("c1"), 1.0)) == ["Record"]


def test_limits_hold_where_a_call_came() -> None:
    """A call that gets another worker's answer counts as a request and uses no tokens."""
    limits = LimitsSpec(tenants={"anonymous": AllowanceSpec(requests_per_minute=3, tokens_per_minute=100)})
    machine = worker(limits=limits)
    told: dict[str, Any] = {"prompt_tokens": 5, "max_tokens": 50}
    tell(machine, asked("c1", **told), LookedUp("c1", None, "far"), Ended("c1", 0, 200, USED), now=0.0)
    tell(machine, asked("c2", **told), LookedUp("c2", None, "far"), Ended("c2", 0, 200, USED), now=0.0)
    (account,) = [view for view in machine.accounts(0.0) if view.kind == "tenant"]
    used = {gauge.what: gauge.used for gauge in account.limits}
    assert (used["requests per minute"], used["tokens per minute"]) == (2, 0)


def test_a_cache_that_is_switched_off_forgets_nobody() -> None:
    """What other workers follow goes on, and what they ask for from then on is not to be had."""
    machine = leading()
    machine.on(Wanted("2/1", key(), 2), 0.1)
    assert [type(order) for order in machine.on(Reconfigured(GateSpec(pools=(pool(),))), 0.2)] in ([], [Drop])
    assert machine.on(Wanted("2/2", key(), 2), 0.3) == [Hand("2/2", "none")]
    assert kinds(machine.on(ended("c1"), 1.0)) == ["Record", "Release"]
