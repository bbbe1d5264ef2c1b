"""Playbooks of calls whose answer is not made for them: kept ones, and those of other calls at the same time."""

import pytest
from msgspec import UNSET

from penstock.base.contents import Content
from penstock.core.cache.spec import CacheSpec
from penstock.core.effects import Answer, Keep, LookUp, Record, Send
from penstock.core.events import (
    Began,
    ClientGone,
    Ended,
    Found,
    LookedUp,
)
from penstock.core.spec import ExplainSpec
from penstock.core.steps import Given
from tests.core.playbook import USED, fleet, gate, kinds, nothing_held, send, tell
from tests.core.sharing import asked, ended, house, key, lead, rows

# ===== kept answers =====


def test_an_answer_is_kept_and_given_again() -> None:
    """The first call is sent and its answer kept before its record; the next one has it, and holds no seat."""
    machine = house()
    assert machine.on(asked("c1"), 0.0) == [lead("c1")]
    orders = machine.on(ended("c1"), 1.0)
    assert orders[0] == Keep("c1", key(), 3600.0, "anonymous", "m")
    assert rows(orders) == [("c1", "ok", "miss")]
    assert machine.on(asked("c2"), 11.0) == [Answer("c2", key(), "hit", "", 10.0)]
    assert machine.counts()["seats_taken"] == 0
    (record,) = machine.on(Ended("c2", 0, 200, USED, 3), 11.5)
    assert isinstance(record, Record)
    assert (record.row.cache, record.row.attempts, record.row.replica, record.row.usage) == ("hit", 0, "", None)
    assert (record.row.ttft_s, record.row.latency_s, record.row.relayed_tokens) == (0.5, 0.5, 3)
    assert nothing_held(machine)


@pytest.mark.parametrize(
    "content",
    [Content("d1"), Content(""), Content("d1", fixed=True, wish="bypass")],
    ids=["drawn", "no digest", "not wished"],
)
def test_what_is_not_to_be_cached_is_sent_as_ever(content: Content) -> None:
    """It is told as such, leads nobody, and nothing of it is kept."""
    machine = house(seats=2)
    (order,) = machine.on(asked("c1", content), 0.0)
    assert isinstance(order, Send)
    assert order.cache == "bypass"
    assert kinds(machine.on(asked("c2", content), 0.0)) == ["Send"]
    assert rows(machine.on(ended("c1"), 1.0)) == [("c1", "ok", "bypass")]


def test_without_a_cache_nothing_is_told_of_one() -> None:
    """Neither orders nor rows have a word of it, so that their journals are what they were."""
    machine = gate()
    machine.on(fleet("a"), 0.0)
    assert machine.on(asked("c1"), 0.0) == [send("c1", 1, "a")]
    (record,) = machine.on(ended("c1"), 0.0)
    assert isinstance(record, Record)
    assert record.row.cache is UNSET
    assert machine.cached() is None


def test_a_refresh_is_sent_and_replaces_what_is_kept() -> None:
    """Nothing is given to it, also not by what runs; whose answer is not kept then: it is the older one."""
    machine = house(seats=3)
    tell(machine, asked("c1"), ended("c1"), now=0.0)
    fresh = Content("d1", fixed=True, wish="refresh")
    assert machine.on(asked("c2", fresh), 1.0) == [lead("c2")]
    assert machine.on(asked("c3", fresh), 1.0) == [lead("c3")]
    assert kinds(machine.on(ended("c3"), 2.0)) == ["Keep", "Record"]
    assert kinds(machine.on(ended("c2"), 3.0)) == ["Record"]


# ===== one answer for many =====


def test_identical_calls_have_one_answer() -> None:
    """Who comes while the first one runs gets its answer, and holds no seat; each has a row of its own."""
    machine = house()
    machine.on(asked("c1"), 0.0)
    assert machine.on(asked("c2"), 0.1) == [Answer("c2", key(), "coalesced", "c1")]
    machine.on(Began("c1", 1), 0.2)
    assert machine.on(asked("c3"), 0.3) == [Answer("c3", key(), "coalesced", "c1")]
    assert machine.counts()["seats_taken"] == 1
    orders = tell(
        machine, Began("c2", 0), ended("c1"), Ended("c3", 0, 200, USED, 2), Ended("c2", 0, 200, USED, 2), now=1.0
    )
    assert rows(orders) == [("c1", "ok", "miss"), ("c3", "ok", "coalesced"), ("c2", "ok", "coalesced")]
    assert nothing_held(machine)
    view = machine.cached()
    assert view is not None
    assert view.calls == {"hit": 0, "coalesced": 2, "miss": 1, "bypass": 0}


def test_whoever_is_more_urgent_does_not_wait_behind_a_leader_in_line() -> None:
    """A leader that waits with a lower priority is not joined; one that runs is."""
    machine = house()
    machine.on(asked("other", Content("d2", fixed=True)), 0.0)
    machine.on(asked("c1", priority=4), 0.0)
    assert machine.on(asked("c2", priority=0), 0.0) == []
    assert kinds(machine.on(asked("c3", priority=4), 0.0)) == ["Answer"]
    assert next(order for order in machine.on(ended("other"), 1.0) if isinstance(order, Send)).id == "c2"
    machine.on(ended("c2"), 2.0)
    assert kinds(machine.on(asked("c4", priority=0), 3.0)) == ["Answer"]


def test_coalescing_can_be_off() -> None:
    """Then each runs on its own, and the last to begin is kept."""
    machine = house(seats=2, cache=CacheSpec(coalesce=False))
    assert tell(machine, asked("c1"), asked("c2"), now=0.0) == [lead("c1"), lead("c2")]
    assert kinds(tell(machine, ended("c1"), ended("c2"), now=1.0)) == ["Record", "Keep", "Record"]


# ===== gateways that share =====


def test_gateways_are_asked_before_an_engine() -> None:
    """The first call asks, the others wait for it; what is found is kept here too, and given to all of them."""
    machine = house(shared=True)
    assert machine.on(asked("c1"), 0.0) == [LookUp("c1", key())]
    assert kinds(machine.on(asked("c2"), 0.0)) == ["Answer"]
    orders = machine.on(LookedUp("c1", Found(100, 30.0, 70.0, ("t",))), 0.01)
    assert orders == [
        Keep("c1", key(), 70.0, "anonymous", "m", ("t",), True),
        Answer("c1", key(), "hit", "", 30.0),
        Answer("c2", key(), "hit", "", 30.0),
    ]
    assert rows(tell(machine, Ended("c1", 0, 200), Ended("c2", 0, 200), now=0.02)) == [
        ("c1", "ok", "hit"),
        ("c2", "ok", "hit"),
    ]
    assert kinds(machine.on(asked("c3"), 70.0)) == ["Answer"]
    assert kinds(machine.on(asked("c4"), 70.1)) == ["Drop", "LookUp"]


def test_what_the_cache_did_is_counted_once_it_is_done() -> None:
    """Until its answer is there a call may turn out to be a hit after all, and counters never go back."""
    machine, seen = house(shared=True), [0]
    for fact in (
        asked("c1"), asked("c2"), LookedUp("c1", Found(100, 30.0, 70.0, ("t",))), Ended("c1", 0, 200),
        asked("c3", Content("d2", fixed=True)), LookedUp("c3"), Ended("c2", 0, 200), ended("c3"),
    ):  # fmt: skip
        machine.on(fact, 0.0)
        view = machine.cached()
        assert view is not None
        seen.append(sum(view.calls.values()))
        assert view.calls["miss"] == (seen[-1] == 3)
        assert view.calls["hit"] == min(2, seen[-1])
    assert seen == [0, 0, 0, 0, 1, 1, 1, 2, 3]


@pytest.mark.parametrize("found", [None, Found((1 << 20) + 1, 0.0, 60.0), Found(100, 60.0, 0.0)])
def test_where_they_have_nothing_it_is_sent(found: Found | None) -> None:
    """Nothing, something too large, or something too old."""
    machine = house(shared=True)
    tell(machine, asked("c1"), asked("c2"), now=0.0)
    assert machine.on(LookedUp("c1", found), 0.01) == [lead("c1")]
    assert kinds(tell(machine, ended("c1"), Ended("c2", 0, 200), now=1.0)) == ["Keep", "Record", "Record"]


def test_who_asked_may_leave() -> None:
    """The next one is sent without asking again; the answer to a question of somebody who left means nothing."""
    machine = house(shared=True)
    tell(machine, asked("c1"), asked("c2"), now=0.0)
    orders = machine.on(ClientGone("c1"), 0.01)
    assert kinds(orders) == ["Record", "Adopt", "Send"]
    assert machine.on(LookedUp("c1"), 0.02) == []
    assert machine.on(LookedUp("c2"), 0.02) == []


# ===== why =====


def test_the_way_of_a_call_tells_of_it() -> None:
    """Who asks why is told where the answer came from."""
    machine = house(explain=ExplainSpec(calls=10))
    tell(machine, asked("c1"), asked("c2"), asked("c3"), ClientGone("c1"), ended("c2"), Ended("c3", 0, 200), now=0.0)
    tell(machine, asked("c4"), Ended("c4", 0, 200), now=1.0)
    said = {}
    for trail in machine.trails():
        said[trail.row.id] = [(step.how, step.of) for step in trail.steps() if isinstance(step, Given)]
    assert said == {
        "c1": [], "c2": [("coalesced", "c1"), ("owner", "c1")], "c3": [("coalesced", "c1")], "c4": [("hit", "")],
    }  # fmt: skip
