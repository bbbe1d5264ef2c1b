"""Bytes of requests that go as one: what is alike, the common body, and the parts of an answer."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.adapters.wire.request import parse_request_head
from penstock.config.schema import ServerSpec
from penstock.core.events import Arrived
from penstock.gateway.call.grouping import Request, alike, item_in, joined, parts_of, prompts_in, shared
from penstock.gateway.client.head import Head, Peer, judge
from tests.helpers import plane, wire

TEXTS = st.text(max_size=30)


class Asked(Request):
    """A request, as far as it matters here."""

    def __init__(
        self, body: bytes, path: str = "/v1/embeddings", lines: str = "", most_tokens: int | None = None
    ) -> None:
        raw = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode()
        self.body = body
        self.head: Head = judge(parse_request_head(raw, 100), Peer(b"10.0.0.1", False), ServerSpec())
        self.most_tokens = most_tokens
        self.item_at = (0, 0, 0, 0)


def body(text: Any, **more: Any) -> bytes:
    """A request for an embedding."""
    return json.dumps({"model": "m", **more, "input": text}, ensure_ascii=False).encode()


# ===== requests =====


@given(TEXTS, st.booleans())
@example('\\" } ] , "model"', True)
def test_the_input_is_found_where_it_stands(text: str, listed: bool) -> None:
    """As a text or a list of one, whatever the text says; a body that might be spelled with escapes goes alone."""
    data = body([text] if listed else text, user="u")
    at = item_in(data, b"input")
    if b"\\u00" in data:
        assert at is None
        return
    assert at is not None
    assert json.loads(data[at[2] : at[3]]) == text
    assert json.loads(data[at[0] : at[1]]) == ([text] if listed else text)


@pytest.mark.parametrize(
    "data",
    [body(["a", "b"]), body([1, 2]), body([[1]]), body([]), body(None), b'{"model":"m"}', b'{"input":"a","input":"b"}',
     b'{"x":{"input":"a"},"input":"b"}', b'{"\\u0069nput":"a","input":"b"}'],
)  # fmt: skip
def test_whatever_is_not_one_text_goes_alone(data: bytes) -> None:
    """Lists, token numbers, nothing, and keys that stand there twice or might."""
    assert item_in(data, b"input") is None
    assert alike(Asked(data)) == ""


def test_only_the_input_may_differ() -> None:
    """Byte for byte: another parameter, another order, another header that an engine might answer by, another limit of
    tokens or another path make another kind; a client's address, its agent and its trace do not."""
    one = alike(Asked(body("a")))
    assert one == alike(Asked(body("b"))) == alike(Asked(body(["c"])))
    assert one == alike(Asked(body("b"), lines="user-agent: x\r\ntraceparent: 00-1\r\nx-stainless-os: y\r\n"))
    others = [
        Asked(body("a", dimensions=8)), Asked(b'{"input":"a","model":"m"}'), Asked(body("a"), lines="x-tenant: y\r\n"),
        Asked(body("a"), "/v1/embeddings?x=1"), Asked(body("a"), most_tokens=5),
    ]  # fmt: skip
    assert len({one, *map(alike, others)}) == 1 + len(others)


def test_a_completion_s_prompt_is_its_input() -> None:
    """And `input` is not."""
    assert alike(Asked(b'{"model":"m","prompt":"a"}', "/v1/completions"))
    assert not alike(Asked(b'{"model":"m","input":"a"}', "/v1/completions"))


@pytest.mark.slow
@given(st.lists(TEXTS, min_size=2, max_size=8))
def test_the_common_body_lists_all_inputs(texts: list[str]) -> None:
    """In their order, with everything else as it came."""
    requests = [(data, at) for data in (body(text, user="u") for text in texts) if (at := item_in(data, b"input"))]
    if len(requests) == len(texts):
        assert json.loads(joined(requests)) == {"model": "m", "user": "u", "input": texts}


# ===== lists of prompts =====


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        (b'"Hi"', 1), (b'["Hi"]', 1), (b'["a","b]","c"]', 3), (b' [ "a" , "b" ]', 2), (b"[]", 1), (b"[ 1, 2, 3]", 1),
        (b"[[1,2],[3]]", 2), (b"[-1]", 1), (b"null", 1), (b"7", 1), (b'[{"prompt":["x","y"]}]', 1),
    ],
)  # fmt: skip
def test_how_many_prompts_a_completion_has(prompt: bytes, count: int) -> None:
    """A list of texts or of lists of tokens has as many as it is long; a list of tokens is one prompt, and so is what
    no engine takes."""
    assert prompts_in(b'{"model":"m","prompt":%b}' % prompt) == count
    assert prompts_in(b'{"\\u0070rompt":%b,"x":{"prompt":[1,"a"]}}' % prompt) == count


def test_a_list_of_prompts_may_have_as_many_answers() -> None:
    """What is held for a call is held for all its answers: each prompt of a list has `n`. Of what generates nothing a
    list is no matter, and a chat has no such list."""
    for path, body, choices in (
        ("/v1/completions", b'{"model":"m","n":2,"prompt":["a","b","c"]}', 6),
        ("/v1/completions", b'{"model":"m","prompt":"a"}', 1),
        ("/v1/chat/completions", b'{"model":"m","n":2,"prompt":["a","b","c"]}', 2),
        ("/v1/embeddings", b'{"model":"m","input":["a","b","c"]}', 1),
    ):
        _, facts, _ = plane.call([wire.answer()], body=body, path=path)
        assert plane.only(facts, Arrived).call.choices == choices, body


# ===== answers =====


def answer(count: int, order: list[int] | None = None, **more: Any) -> bytes:
    """An engine's answer to so many inputs; each embedding tells its number."""
    data = [{"index": at, "object": "embedding", "embedding": [at, 0.5]} for at in order or range(count)]
    usage = {"prompt_tokens": 10 * count + 3, "total_tokens": 10 * count + 3}
    return json.dumps({"id": "embd-1", "object": "list", "model": "m", "data": data, "usage": usage, **more}).encode()


def test_each_part_has_the_form_of_an_answer_to_one() -> None:
    """Index 0, its own embedding, its share of the usage, an id of its own; all else as the engine told."""
    parts = parts_of(answer(3, [2, 0, 1], created=5), [10, 20, 30])
    assert parts is not None
    for number, part in enumerate(parts):
        told = json.loads(part.body)
        assert told["data"] == [{"index": 0, "object": "embedding", "embedding": [number, 0.5]}]
        assert (told["object"], told["model"], told["created"]) == ("list", "m", 5)
        assert told["id"] == f"embd-1-{number}"
        assert part.usage is not None
        assert told["usage"]["total_tokens"] == told["usage"]["prompt_tokens"] == part.usage.prompt_tokens
    assert sum(part.usage.prompt_tokens for part in parts if part.usage) == 33


@pytest.mark.parametrize(
    "data",
    [answer(2), answer(4), answer(3, [0, 0, 1]), answer(3, [0, 1, 3]), b"{}", b"[]", b"no", b'{"data":5}', b"\xff",
     b'{"data":[1,2,3]}', b'{"data":[{},{},{}]}'],
)  # fmt: skip
def test_an_answer_of_another_shape_is_not_taken_apart(data: bytes) -> None:
    """Too few, too many, an index twice or beyond, or no such answer at all."""
    assert parts_of(data, [1, 1, 1]) is None


def test_an_index_that_stands_elsewhere_as_well_is_not_mistaken() -> None:
    """Only the item's own is made 0."""
    items: list[dict[str, Any]] = [{"x": {"index": 7}, "index": at, "embedding": []} for at in (0, 1)]
    parts = parts_of(json.dumps({"data": items}).encode(), [1, 1])
    assert parts is not None
    assert [json.loads(part.body)["data"][0] for part in parts] == [
        {"x": {"index": 7}, "index": 0, "embedding": []}
    ] * 2
    assert [part.usage for part in parts] == [None, None]


def test_a_completion_is_shared_by_how_long_its_text_is() -> None:
    """Tokens of the answer by the texts, of the prompts by the prompts, cached ones like those and never more."""
    choices = [{"index": at, "text": "word " * size, "finish_reason": "stop"} for at, size in enumerate((2, 200))]
    usage = {
        "prompt_tokens": 12,
        "completion_tokens": 202,
        "total_tokens": 214,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    parts = parts_of(json.dumps({"id": "c", "choices": choices, "usage": usage}).encode(), [10, 20])
    assert parts is not None
    used = [part.usage for part in parts if part.usage is not None]
    assert [one.prompt_tokens for one in used] == [4, 8]
    assert sum(one.completion_tokens for one in used) == 202
    assert used[0].completion_tokens < 20
    assert [one.cached_tokens for one in used] == [3, 5]


@pytest.mark.slow
@given(st.integers(0, 10**7), st.lists(st.integers(0, 10**5), min_size=1, max_size=64))
def test_shares_add_up_to_the_sum(total: int, weights: list[int]) -> None:
    """Exactly, none below zero, each within one of its exact share."""
    parts = shared(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)
    whole = sum(weights)
    for part, weight in zip(parts, weights):
        exact = total * weight / whole if whole else total / len(weights)
        assert abs(part - exact) < 1 + 1e-6 * exact
        assert part >= 0


@pytest.mark.slow
@given(st.lists(st.integers(1, 500), min_size=2, max_size=8), st.integers(0, 10_000), st.randoms())
def test_parts_keep_order_and_sum_however_the_engine_orders_them(sizes: list[int], tokens: int, luck: Any) -> None:
    """Each client gets the embedding of its own input, and together they are charged what the engine told."""
    order = list(range(len(sizes)))
    luck.shuffle(order)
    parts = parts_of(answer(len(sizes), order, usage={"prompt_tokens": tokens, "total_tokens": tokens}), sizes)
    assert parts is not None
    assert [json.loads(part.body)["data"][0]["embedding"][0] for part in parts] == list(range(len(sizes)))
    assert sum(part.usage.prompt_tokens for part in parts if part.usage) == tokens


@pytest.mark.parametrize(
    "usage",
    [
        b'{"prompt_tokens":4,"prompt_tokens_details":"x"}',
        b'{"prompt_tokens":4,"input_tokens":-1}',
        b'{"prompt_tokens":4,"x":%b}' % (b"[" * 5000 + b"]" * 5000),
        b'{"prompt_tokens":%b}' % (b"9" * 30),
    ],
)
def test_a_usage_that_makes_no_sense_takes_nothing_apart(usage: bytes) -> None:
    """Each call is then asked alone; none is left waiting over an exception."""
    assert parts_of(b'{"data":[{"index":0},{"index":1}],"usage":%b}' % usage, [1, 1]) is None
