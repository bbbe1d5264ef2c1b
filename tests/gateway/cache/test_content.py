"""The digest of a body: equal for equal questions, different wherever the answer may be."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.wire.malformed import Malformed
from penstock.base.contents import Content
from penstock.core.cache.spec import CacheRule, CacheSpec
from penstock.gateway.cache.content import COMPUTED, DRAWN, MOST_BYTES, content_of
from penstock.gateway.client.fields import Fields
from penstock.gateway.client.paths import ROUTES
from penstock.gateway.client.peek import peek
from penstock.gateway.client.wishes import CACHE, TAGS, Wishes

CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
RAW = json.dumps(BODY).encode()


def seen(raw: bytes) -> Fields:
    """What is seen of a body; of one that is refused, what would make it worth a digest."""
    try:
        return peek(raw)
    except Malformed:
        return Fields(temperature=msgspec.Raw(b"0"))


def content(body: Any = None, path: str = CHAT, spec: CacheSpec | None = None, wish: bytes = b"") -> Content | None:
    """Of a body, as JSON or as it stands."""
    wishes = Wishes()
    if wish:
        wishes.read(CACHE, wish)
    raw = body if isinstance(body, bytes) else json.dumps(BODY if body is None else body).encode()
    return content_of(path, raw, seen(raw), wishes, spec or CacheSpec())


def digest(body: Any, **how: Any) -> str:
    """Its digest."""
    found = content(body, **how)
    assert found is not None
    return found.digest


def test_the_form_of_a_body_does_not_matter() -> None:
    """Neither the order of its keys, nor white space, nor how a character is escaped."""
    turned = json.dumps(dict(reversed(BODY.items())), indent=2).replace("Hello", "\\u0048ello").encode()
    assert digest(turned) == digest(BODY)


def test_of_a_long_body_the_keys_at_its_top_are_put_in_order() -> None:
    """What it ignores it ignores as well; with white space it is read whole, up to a bound."""
    long = {**BODY, "messages": [{"role": "user", "content": "Hello " * 3000}]}
    plain = digest(json.dumps(long, separators=(",", ":")).encode())
    turned = {**dict(reversed(long.items())), "user": "me", "metadata": {}}
    assert digest(json.dumps(turned, separators=(",", ":")).encode()) == plain != ""
    other = json.dumps({**long, "messages": [{"content": "Hello " * 3000, "role": "user"}]}, separators=(",", ":"))
    assert digest(other.encode()) not in ("", plain)
    assert digest(json.dumps(long).encode()) == digest(json.dumps(turned, indent=1).encode()) != ""


@pytest.mark.parametrize("name", ["model", "stream", "user", "metadata", "safety_identifier", "request_id", "priority"])
def test_what_changes_no_answer_does_not_matter(name: str) -> None:
    """Who asks, and what stands in the key in another form."""
    assert digest({**BODY, name: "other"}) == digest(BODY)


CHANGES: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "hello"}]}, {"temperature": 0.0}, {"max_tokens": 5}, {"seed": 1},
    {"stop": ["x"]}, {"n": 2}, {"tools": []}, {"response_format": {"type": "json_object"}}, {"logprobs": True},
    {"logprobs": 1}, {"cache_salt": "x"}, {"stream_options": {"include_usage": True}}, {"lora": None},
    {"never": "heard"},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_everything_else_does(change: dict[str, Any]) -> None:
    """Also fields that nobody here has heard of."""
    assert digest({**BODY, **change}) != digest(BODY)


def test_all_changes_differ_from_each_other() -> None:
    """None is taken for another one."""
    assert len({digest({**BODY, **change}) for change in CHANGES}) == len(CHANGES)


@pytest.mark.parametrize(
    "body",
    [
        b'{"temperature":0,"messages":[],"messages":[1]}',
        b'{"temperature":0,"messages":[{"content":"a","content":"b"}]}',
        b'{"temperature":0,"x":' + b"1" * 5000 + b"}",
        b'{"temperature":0,"x":"' + b"x" * MOST_BYTES + b'"}',
        b'{"temperature":0,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"temperature":0,"x":1,"x":"' + b"x" * 10_000 + b'"}',
        b'{"temperature":0,"x":1, "x":"' + b"x" * 10_000 + b'"}',
        b'{"temperature":0,"y":1, "x":"' + b"x" * 70_000 + b'"}',
    ],
    ids=[
        "twice", "twice within", "a huge number", "too long", "too deep", "twice, and long", "the same, spaced",
        "who knows, and long",
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_or_costs_too_much_has_none(body: bytes) -> None:
    """Then nothing is cached."""
    assert digest(body) == ""


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)  # fmt: skip


@settings(max_examples=40)
@given(VALUES)
def test_any_value_matters_and_its_form_does_not(value: Any) -> None:
    """A body reads the same after a round trip through JSON, and another value gives another digest."""
    body = {**BODY, "extra": value}
    assert digest(json.loads(json.dumps(body))) == digest(body)
    assert digest({**BODY, "extra": [value]}) != digest(body)


@pytest.mark.parametrize(
    "fields,fixed",
    [
        ({"temperature": 0}, True), ({"temperature": 0.0}, True), ({"seed": 7}, True), ({}, False),
        ({"temperature": 1}, False), ({"temperature": None}, False), ({"temperature": "0"}, False),
        ({"temperature": 0.7, "seed": 7}, True), ({"text": '"temperature": 0'}, False), ({"seed": None}, False),
        ({"seed": True}, False), ({"seed": 1.5}, False), ({"temperature": False}, False), ({"temperature": []}, False),
    ],
)  # fmt: skip
def test_a_request_determines_its_answer_where_nothing_is_drawn(fields: dict[str, Any], fixed: bool) -> None:
    """Temperature 0, or a seed; else its body is not even read."""
    body = {name: value for name, value in BODY.items() if name != "temperature"} | fields
    found = content(body)
    assert found is not None
    assert found.fixed is fixed
    assert bool(found.digest) is fixed


@pytest.mark.parametrize(
    "spec",
    [CacheSpec(mode="all"), CacheSpec(rules=(CacheRule(mode="all"),)), CacheSpec()],
    ids=["all", "rule", "asked"],
)
def test_a_drawn_answer_has_a_digest_where_it_may_be_kept(spec: CacheSpec) -> None:
    """By the file's mode, by a rule, or by the client's wish."""
    found = content({"messages": []}, spec=spec, wish=b"" if spec.mode == "all" or spec.rules else b"use")
    assert found is not None
    assert found.digest
    assert not found.fixed


def test_what_is_computed_is_determined() -> None:
    """Embeddings and the like."""
    found = content({"input": "x"}, path="/v1/embeddings")
    assert found is not None
    assert found.fixed


def test_paths_are_known_and_the_others_are_none() -> None:
    """Every path that is cached exists; recordings and responses, which an engine keeps under an id, are not."""
    assert {path.encode() for path in DRAWN | COMPUTED} <= set(ROUTES)
    for path in ("/v1/responses", "/v1/audio/speech", "/v1/audio/transcriptions"):
        assert content(path=path) is None


def test_wishes_and_tags_travel_along() -> None:
    """They are the client's."""
    wishes = Wishes()
    wishes.read(CACHE, b"Refresh")
    wishes.read(TAGS, b"a, b:1,a")
    found = content_of(CHAT, RAW, seen(RAW), wishes, CacheSpec())
    assert found is not None
    assert (found.wish, found.tags) == ("refresh", ("a", "b:1"))
    wishes.read(CACHE, b"bypass")
    assert content_of(CHAT, RAW, seen(RAW), wishes, CacheSpec()) == Content("")
