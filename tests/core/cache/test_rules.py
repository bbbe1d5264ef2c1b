"""Whether a call is cached, and that two calls have one key only where each may have the other's answer."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.contents import Content
from penstock.base.nouns import Call
from penstock.core.cache.rules import key_of, rule_of, use_of
from penstock.core.cache.spec import CacheRule, CacheSpec, Mode
from penstock.core.catalog import Target
from tests.core.playbook import call

FIXED, DRAWN, NONE = Content("d", fixed=True), Content("d"), Content("")
USES = [
    (FIXED, "fixed", "use"), (DRAWN, "fixed", "bypass"), (DRAWN, "all", "use"), (FIXED, "asked", "bypass"),
    (Content("d", wish="use"), "asked", "use"), (Content("d", wish="use"), "fixed", "use"),
    (Content("d", wish="refresh"), "asked", "refresh"), (Content("d", True, "bypass"), "all", "bypass"),
    (Content("d", wish="use"), "off", "bypass"), (NONE, "all", "bypass"), (Content("", wish="use"), "all", "bypass"),
]  # fmt: skip


@pytest.mark.parametrize("content,mode,use", USES)
def test_who_decides(content: Content, mode: Mode, use: str) -> None:
    """The mode, what the request determines, and the client within the mode."""
    assert use_of(call(content=content), mode) == use


def test_a_call_without_a_word_of_the_cache_has_nothing_to_do_with_it() -> None:
    """As all calls where there is none."""
    assert use_of(call(), "all") == "bypass"


RULES = (CacheRule(tenant="x", mode="off"), CacheRule(model="n"), CacheRule(path="/v1/emb", mode="all"))


@pytest.mark.parametrize(
    "fields,model,which",
    [({"tenant": "x"}, "n", 0), ({}, "n", 1), ({"path": "/v1/embeddings"}, "m", 2), ({}, "m", None)],
)
def test_the_first_rule_that_matches_holds(fields: dict[str, Any], model: str, which: int | None) -> None:
    """By tenant, model and path."""
    found = rule_of(CacheSpec(rules=RULES), call(**fields), model)
    assert found == (None if which is None else RULES[which])


NAMES = st.text("ab:1", max_size=3)
CALLS = st.builds(
    Call, id=NAMES, tenant=NAMES, path=NAMES, stream=st.booleans(), max_tokens=st.none() | st.integers(0, 2),
    content=st.builds(Content, NAMES),
)  # fmt: skip
TARGETS = st.builds(Target, NAMES, NAMES)


def identity(call: Call, target: Target) -> tuple[Any, ...]:
    """All that changes an answer."""
    assert call.content
    return call.path, target, call.stream, call.max_tokens, call.content.digest


@settings(max_examples=50)
@given(CALLS, TARGETS, CALLS, TARGETS, st.booleans())
def test_keys_are_equal_where_the_questions_are(
    one: Call, to: Target, other: Call, other_to: Target, alone: bool
) -> None:
    """And, unless the file says otherwise, the tenants: the id of a call and its tags matter to nobody."""
    spec = CacheSpec(isolate=alone)
    same = identity(one, to) == identity(other, other_to) and (not alone or one.tenant == other.tenant)
    assert (key_of(spec, one, to) == key_of(spec, other, other_to)) is same


def test_a_key_is_of_one_version_and_one_kind_of_isolation() -> None:
    """So that nothing kept under other settings is found."""
    asked = call(content=FIXED, tenant="")
    specs = (CacheSpec(), CacheSpec(version="1"), CacheSpec(isolate=False))
    assert len({key_of(spec, asked, Target("p", "m")) for spec in specs}) == 3
