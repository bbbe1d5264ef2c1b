"""Playbooks of calls whose answer is not made for them: kept ones, and those of other calls at the same time."""

import pytest
from msgspec import UNSET

from penstock.base.contents import Content
from penstock.core.cache.spec import CacheSpec
from penstock.core.effects import Answer, Drop, Keep, LookUp, Record, Send
from penstock.core.events import (
    Began,
    ClientGone,
    Ended,
    Event,
    Failed,
    Found,
    Invalidated,
    LookedUp,
    Reconfigured,
)
from penstock.core.spec import ExplainSpec, GateSpec
from penstock.core.steps import Given
from tests.core.playbook import USED, fleet, gate, kinds, nothing_held, pool, send, tell
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


@pytest.mark.parametrize(
    "end",
    [
        ended("c1", size=UNSET),
        ended("c1", status=400),
        ended("c1", size=(1 << 20) + 1),
        Failed("c1", 1, "bad_response"),
    ],
    ids=["cannot be", "the client's mistake", "too large", "failed"],
)
def test_what_is_no_whole_good_answer_is_not_kept(end: Event) -> None:
    """The next call is sent."""
    machine = house()
    machine.on(asked("c1"), 0.0)
    orders = machine.on(end, 1.0)
    assert not [order for order in orders if isinstance(order, Keep)]
    if isinstance(end, Ended):
        assert machine.on(asked("c2"), 1.0) == [lead("c2")]


def test_an_answer_grows_old() -> None:
    """When its time is over it goes, and the call is sent."""
    machine = house(cache=CacheSpec(ttl_s=60.0))
    tell(machine, asked("c1"), ended("c1"), now=0.0)
    assert kinds(machine.on(asked("c2"), 59.9)) == ["Answer"]
    assert machine.on(asked("c3"), 60.0) == [Drop((key(),)), lead("c3")]
    view = machine.cached()
    assert view is not None
    assert (view.entries, view.bytes, view.expired) == (0, 0, 1)


def test_there_is_room_for_so_many() -> None:
    """The least recently used goes, by number and by bytes."""
    machine = house(cache=CacheSpec(entries=2, memory_bytes=250))
    contents = [Content(f"d{number}", fixed=True) for number in range(4)]
    for number in (0, 1):
        tell(machine, asked(f"c{number}", contents[number]), ended(f"c{number}"), now=0.0)
    machine.on(asked("again", contents[0]), 1.0)
    machine.on(asked("c2", contents[2]), 1.0)
    (keep, _) = machine.on(ended("c2"), 1.0)
    assert isinstance(keep, Keep)
    assert keep.evicted == (key(contents[1]),)
    machine.on(asked("c3", contents[3]), 2.0)
    (keep, _) = machine.on(ended("c3", size=200), 2.0)
    assert isinstance(keep, Keep)
    assert keep.evicted == (key(contents[0]), key(contents[2]))


def test_a_refresh_is_sent_and_replaces_what_is_kept() -> None:
    """Nothing is given to it, also not by what runs; whose answer is not kept then: it is the older one."""
    machine = house(seats=3)
    tell(machine, asked("c1"), ended("c1"), now=0.0)
    fresh = Content("d1", fixed=True, wish="refresh")
    assert machine.on(asked("c2", fresh), 1.0) == [lead("c2")]
    assert machine.on(asked("c3", fresh), 1.0) == [lead("c3")]
    assert kinds(machine.on(ended("c3"), 2.0)) == ["Keep", "Record"]
    assert kinds(machine.on(ended("c2"), 3.0)) == ["Record"]


def test_the_answer_of_a_fallback_is_not_kept() -> None:
    """It is another model's."""
    pools = (pool(), pool("other", models=("n",)))
    machine = gate(*pools, fallback={"m": ("n",)}, cache=CacheSpec())
    machine.on(fleet("a", pool="other"), 0.0)
    (order,) = machine.on(asked("c1"), 0.0)
    assert isinstance(order, Send)
    assert kinds(machine.on(ended("c1"), 1.0)) == ["Record"]


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


# ===== invalidation =====


@pytest.mark.parametrize(
    "fact",
    [Invalidated(), Invalidated(tag="t"), Invalidated(model="m"), Invalidated(tenant="x", tag="t")],
    ids=["all", "tag", "model", "tenant and tag"],
)
def test_what_is_invalid_is_neither_given_nor_joined_nor_kept(fact: Invalidated) -> None:
    """That is so for what is kept, and for what is being made: it goes to those who have asked already."""
    machine = house(seats=3)
    tagged, other = Content("d1", fixed=True, tags=("t", "u")), Content("d2", fixed=True, tags=("t", "u"))
    tell(machine, asked("c1", tagged, tenant="x"), ended("c1"), now=0.0)
    tell(machine, asked("c2", other, tenant="x"), asked("c3", other, tenant="x"), now=0.0)
    assert machine.on(fact, 1.0) == [Drop((key(tagged, tenant="x"),))]
    assert kinds(machine.on(asked("c4", tagged, tenant="x"), 1.0)) == ["Send"]
    assert kinds(machine.on(asked("c5", other, tenant="x"), 1.0)) == ["Send"]
    assert kinds(tell(machine, ended("c2"), Ended("c3", 0, 200), now=2.0)) == ["Record", "Record"]


@pytest.mark.parametrize(
    "fact", [Invalidated(tag="v"), Invalidated(model="n"), Invalidated(tenant="y"), Invalidated(tenant="x", tag="v")]
)
def test_what_is_not_named_stays(fact: Invalidated) -> None:
    """All that is named must match."""
    machine = house()
    tagged = Content("d1", fixed=True, tags=("t",))
    tell(machine, asked("c1", tagged, tenant="x"), ended("c1"), now=0.0)
    assert machine.on(fact, 1.0) == []
    assert kinds(machine.on(asked("c2", tagged, tenant="x"), 1.0)) == ["Answer"]


def test_another_version_finds_nothing() -> None:
    """What was kept before goes; and with the cache off all of it does, while answers under way go on."""
    machine = house(seats=2)
    tell(machine, asked("c1"), ended("c1"), now=0.0)
    again = CacheSpec(version="2")
    assert machine.on(Reconfigured(GateSpec(pools=(pool(),), cache=again)), 1.0) == [Drop((key(),))]
    assert machine.on(asked("c2"), 1.0) == [lead("c2")]
    machine.on(asked("c3"), 1.0)
    assert machine.on(Reconfigured(GateSpec(pools=(pool(),))), 2.0) == []
    assert kinds(machine.on(asked("c4"), 2.0)) == ["Send"]
    assert kinds(tell(machine, ended("c2"), Ended("c3", 0, 200), ended("c4"), now=3.0)) == ["Record"] * 3
    assert nothing_held(machine)


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
