"""Playbooks of questions in other words: who is compared, and who gets another question's answer."""

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from penstock.base.contents import Content
from penstock.core.cache.rules import frame_of
from penstock.core.cache.spec import CacheRule, CacheSpec, SemanticSpec
from penstock.core.catalog import Target
from penstock.core.effects import Answer, Compare, Drop, Keep, LookUp, Record
from penstock.core.events import ClientGone, Compared, Ended, Event, Found, Invalidated, LookedUp, Reconfigured
from penstock.core.gate import Gate
from penstock.core.spec import ExplainSpec, GateSpec
from penstock.core.steps import Given
from tests.core.playbook import USED, call, kinds, nothing_held, pool, tell
from tests.core.sharing import asked, ended, house, key, lead, rows

SPEC = CacheSpec(ttl_s=60.0, semantic=SemanticSpec(mode="all", threshold=0.9))
ONE = Content("d1", fixed=True, frame="f")
OTHER = Content("d2", fixed=True, frame="f")


def frame(content: Content = ONE, spec: CacheSpec = SPEC, **fields: Any) -> str:
    """Of such a call."""
    return frame_of(spec, call(content=content, **fields), Target("main", "m"))


def kept(spec: CacheSpec = SPEC, **more: Any) -> Gate:
    """A Gate that has the answer to the first question, since 0."""
    machine = house(cache=spec, seats=4, **more)
    assert machine.on(asked("c1", ONE), 0.0) == [Compare("c1", frame())]
    assert machine.on(Compared("c1"), 0.0) == [lead("c1")]
    (keep, _) = machine.on(ended("c1"), 0.0)
    assert keep == Keep("c1", key(ONE, spec), 60.0, "anonymous", "m", (), False, (), frame())
    return machine


def test_a_similar_question_gets_the_answer() -> None:
    """It is told as what it is: in the order, in the row, among the numbers."""
    machine = kept()
    assert machine.on(asked("c2", OTHER), 5.0) == [Compare("c2", frame())]
    assert machine.on(Compared("c2", key(ONE, SPEC), 0.9), 6.0) == [
        Answer("c2", key(ONE, SPEC), "hit", "", 6.0, None, 0.9)
    ]
    (record,) = machine.on(Ended("c2", 0, 200, USED, 3), 6.5)
    assert isinstance(record, Record)
    assert (record.row.cache, record.row.attempts, record.row.usage) == ("similar", 0, None)
    view = machine.cached()
    assert view is not None
    assert view.calls == {"hit": 0, "similar": 1, "coalesced": 0, "miss": 1, "bypass": 0}
    assert nothing_held(machine)


@pytest.mark.parametrize(
    "fact",
    [
        Compared("c2"),
        Compared("c2", key(ONE, SPEC), 0.8999),
        Compared("c2", key(ONE, SPEC), float("nan")),
        Compared("c2", "nobody's", 1.0),
    ],
    ids=["nothing", "not similar enough", "no number", "not kept"],
)
def test_without_a_similar_one_it_is_sent(fact: Event) -> None:
    """And its own answer is kept."""
    machine = kept()
    machine.on(asked("c2", OTHER), 5.0)
    assert machine.on(fact, 5.0) == [lead("c2")]
    assert kinds(machine.on(ended("c2"), 6.0)) == ["Keep", "Record"]


def test_the_same_question_is_not_compared() -> None:
    """Its answer is there, or on its way."""
    machine = kept()
    assert machine.on(asked("c2", ONE), 1.0) == [Answer("c2", key(ONE, SPEC), "hit", "", 1.0)]
    machine.on(asked("c3", OTHER), 1.0)
    assert machine.on(asked("c4", OTHER), 1.0) == [Answer("c4", key(OTHER, SPEC), "coalesced", "c3")]
    orders = machine.on(Compared("c3", key(ONE, SPEC), 0.95), 2.0)
    assert orders == [Answer(name, key(ONE, SPEC), "hit", "", 2.0, None, 0.95) for name in ("c3", "c4")]


def test_an_old_answer_is_not_given() -> None:
    """Its time is the same for all questions."""
    machine = kept()
    machine.on(asked("c2", OTHER), 59.0)
    assert machine.on(Compared("c2", key(ONE, SPEC), 1.0), 60.0) == [Drop((key(ONE, SPEC),)), lead("c2")]


def test_what_is_put_out_of_use_is_given_to_nobody() -> None:
    """Neither the kept answer, nor, where that happens meanwhile, any other."""
    machine = kept()
    machine.on(asked("c2", OTHER), 1.0)
    assert kinds(machine.on(Invalidated(), 1.5)) == ["Drop"]
    assert kinds(machine.on(Compared("c2", key(ONE, SPEC), 1.0), 2.0)) == ["Send"]
    assert kinds(machine.on(ended("c2"), 3.0)) == ["Record"]


@pytest.mark.parametrize(
    "fields", [{"tenant": "b"}, {"stream": True}, {"max_tokens": 5}], ids=["tenant", "stream", "max_tokens"]
)
def test_only_questions_of_one_frame_are_compared(fields: dict[str, Any]) -> None:
    """All but the question must be equal; and an index that would mistake one for another is not believed."""
    assert frame(**fields) != frame()
    machine = kept()
    machine.on(asked("c2", OTHER, **fields), 1.0)
    if "tenant" in fields:
        assert kinds(machine.on(Compared("c2", key(ONE, SPEC), 1.0), 1.0)) == ["Send"]


def test_tenants_have_questions_in_common_only_where_that_is_said() -> None:
    """By the same word as for the same question."""
    spec = replace(SPEC, isolate=False)
    assert frame(spec=spec, tenant="b") == frame(spec=spec) != frame()
    assert frame(spec=replace(SPEC, version="2")) != frame()


def test_only_who_asks_is_compared_unless_the_file_says_all() -> None:
    """Or a rule for some; without a frame nobody is."""
    some = replace(SPEC, semantic=SemanticSpec(), rules=(CacheRule(tenant="b", semantic="all"),))
    assert frame(spec=some) == ""
    assert frame(spec=some, tenant="b") != ""
    assert frame(replace(ONE, wish="similar"), some) != ""
    assert frame(replace(ONE, frame=UNSET)) == ""
    off = replace(SPEC, rules=(CacheRule(model="m", semantic="off"),))
    assert frame(replace(ONE, wish="similar"), off) == ""
    assert frame(spec=CacheSpec()) == ""


def test_who_did_not_ask_does_not_join_one_that_is_compared() -> None:
    """It might get another question's answer: it is sent at once, on its own."""
    spec = CacheSpec(semantic=SemanticSpec())
    machine = house(cache=spec, seats=2)
    assert kinds(machine.on(asked("c1", replace(ONE, wish="similar")), 0.0)) == ["Compare"]
    (sent,) = machine.on(asked("c2", ONE), 0.0)
    assert kinds([sent]) == ["Send"]
    assert rows(machine.on(Ended("c2", 1, 200, USED, 3), 1.0)) == [("c2", "ok", "miss")]


def test_a_drawn_answer_is_compared_only_for_who_asks() -> None:
    """The word `similar` is also a wish to be cached at all."""
    machine = house(cache=SPEC)
    assert kinds(machine.on(asked("c1", Content("d1", frame="f")), 0.0)) == ["Send"]
    machine = house(cache=SPEC)
    assert kinds(machine.on(asked("c1", Content("d1", frame="f", wish="similar")), 0.0)) == ["Compare"]


def test_a_refresh_is_not_compared_and_its_answer_is() -> None:
    """It wants a new one; others may have that."""
    machine = house(cache=SPEC)
    assert machine.on(asked("c1", replace(ONE, wish="refresh")), 0.0) == [lead("c1")]
    keep = machine.on(ended("c1"), 1.0)[0]
    assert isinstance(keep, Keep)
    assert keep.frame == frame()


def test_gateways_that_share_are_asked_first() -> None:
    """The same question's answer is better; what is found there is compared with others from then on."""
    machine = house(cache=SPEC, shared=True)
    assert machine.on(asked("c1", ONE), 0.0) == [LookUp("c1", key(ONE, SPEC))]
    assert machine.on(LookedUp("c1"), 0.1) == [Compare("c1", frame())]
    assert machine.on(LookedUp("c1"), 0.1) == [Compare("c1", frame())]  # told twice: nothing breaks
    assert machine.on(Compared("c1"), 0.2) == [lead("c1")]
    assert machine.on(Compared("c1"), 0.2) == []
    machine = house(cache=SPEC, shared=True)
    machine.on(asked("c1", ONE), 0.0)
    keep, _ = machine.on(LookedUp("c1", Found(100, 1.0, 50.0)), 0.1)
    assert isinstance(keep, Keep)
    assert keep.frame == frame()


def test_a_client_that_leaves_while_it_is_compared_is_over() -> None:
    """And so is a cache that is switched off meanwhile."""
    machine = kept()
    machine.on(asked("c2", OTHER), 1.0)
    assert rows(machine.on(ClientGone("c2"), 1.1)) == [("c2", "client_gone", "miss")]
    assert machine.on(Compared("c2", key(ONE, SPEC), 1.0), 1.2) == []
    assert nothing_held(machine)
    machine.on(asked("c3", OTHER), 2.0)
    machine.on(Reconfigured(GateSpec(pools=(pool(),))), 2.0)
    assert kinds(machine.on(Compared("c3", key(ONE, SPEC), 1.0), 2.1)) == ["Send"]


def test_why_is_remembered() -> None:
    """With how similar the question was."""
    machine = kept(explain=ExplainSpec(calls=10))
    tell(machine, asked("c2", OTHER), Compared("c2", key(ONE, SPEC), 0.93456), Ended("c2", 0, 200, USED, 3), now=1.0)
    trail = machine.trail("c2", 2.0)
    assert trail is not None
    step = trail.last
    while step is not None and not isinstance(step, Given):
        step = step.before
    assert step is not None
    assert (step.how, step.of) == ("similar", "0.9346")
