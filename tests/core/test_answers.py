"""Playbooks of answers that are kept: which are, for how long, and what is put out of use."""

import pytest
from msgspec import UNSET

from penstock.base.contents import Content
from penstock.base.rand import Rand
from penstock.core.cache.spec import CacheSpec, SemanticSpec
from penstock.core.effects import Drop, Keep, Send
from penstock.core.events import (
    Compared,
    Ended,
    Event,
    Failed,
    FleetSeen,
    Invalidated,
    LookedUp,
    Reconfigured,
)
from penstock.core.gate import Gate
from penstock.core.spec import GateSpec
from tests.core.playbook import arrived, fleet, gate, kinds, nothing_held, pool, replica, tell
from tests.core.sharing import FIXED, asked, ended, house, key, lead


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


def test_the_answer_of_a_fallback_is_not_kept() -> None:
    """It is another model's."""
    pools = (pool(), pool("other", models=("n",)))
    machine = gate(*pools, fallback={"m": ("n",)}, cache=CacheSpec())
    machine.on(fleet("a", pool="other"), 0.0)
    (order,) = machine.on(asked("c1"), 0.0)
    assert isinstance(order, Send)
    assert kinds(machine.on(ended("c1"), 1.0)) == ["Record"]


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


# ===== other settings meanwhile =====


@pytest.mark.parametrize("semantic", [False, True], ids=["looked up", "compared"])
def test_a_call_that_asks_first_goes_where_it_may_go_then(semantic: bool) -> None:
    """While others were asked for its answer the pool that it was for has gone: it goes to the one that has its model
    now."""
    spec = CacheSpec(semantic=SemanticSpec(mode="all")) if semantic else CacheSpec()
    machine = house(shared=not semantic, cache=spec)
    content = Content("d1", fixed=True, frame="f") if semantic else FIXED
    assert kinds(machine.on(asked("c1", content), 0.0)) == ["Compare" if semantic else "LookUp"]
    machine.on(Reconfigured(GateSpec(pools=(pool("other"),), cache=spec, shared_cache=not semantic)), 0.1)
    machine.on(FleetSeen((replica("b", pool="other"),)), 0.2)
    assert machine.on(Compared("c1") if semantic else LookedUp("c1"), 0.3) == [lead("c1", to="b")]
    assert kinds(machine.on(ended("c1"), 1.0)) == ["Keep", "Record"]
    assert nothing_held(machine)


@pytest.mark.parametrize("gone", [False, True], ids=["still served", "gone"])
def test_an_alias_that_moves_gives_nobody_another_models_answer(gone: bool) -> None:
    """The call waits, and others may have asked for the same answer by the model's own name: it is made by that model
    while it is served; and what another one has made is not kept as its answer."""

    def spec(alias: str, *models: str) -> GateSpec:
        return GateSpec(pools=(pool(models=models),), cache=CacheSpec(), aliases={"chat": alias})

    machine = Gate(spec("m", "m", "n"), Rand(1))
    machine.on(fleet("a"), 0.0)
    tell(machine, arrived("busy"), asked("c1", model="chat"), now=0.0)
    machine.on(Reconfigured(spec("n", *(["n"] if gone else ["m", "n"]))), 0.1)
    sent = machine.on(Ended("busy", 1, 200), 0.2)[-1]
    assert isinstance(sent, Send)
    assert sent.model == ("n" if gone else "m")
    assert kinds(machine.on(ended("c1"), 0.3)) == (["Record"] if gone else ["Keep", "Record"])
    assert nothing_held(machine)
