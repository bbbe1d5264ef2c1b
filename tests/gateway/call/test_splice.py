"""Splices: the wanted change, and not one byte more."""

import json

import pytest

from penstock.gateway.call.splice import with_model, with_most_tokens, with_usage


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","x":1}',
        b'{ "x" : {"model":"b"} ,\n "model" :\t"a" , "y":2.50}',
        b'{"\\u006dodel":"a","x":"\\u0041"}',
        b'{"x":"\\"model\\":\\"c\\"","model":"a\\"b"}',
        b'{"model":null,"x":1}',
        b'{"x":1}',
        b"{}",
        b"{ }",
    ],
)
def test_the_model_is_replaced_and_nothing_else(body: bytes) -> None:
    """A parser sees the same object with another model; the bytes around are the client's own."""
    changed = with_model(body, 'n"é')
    before, after = json.loads(body), json.loads(changed)
    assert after.pop("model") == 'n"é'
    before.pop("model", None)
    assert after == before
    value = json.dumps('n"é', ensure_ascii=False).encode()
    start = changed.index(value)
    tail = changed[start + len(value) :].lstrip(b",")
    assert body.endswith(tail)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","stream":true}',
        b' {"model":"a","stream_options":null,"z":1.0}',
        b'{"stream_options":{"include_usage":false,"x":[1]},"model":"a"}',
        b'{"stream_options":{},"model":"a"}',
        b'{"model":"a","x":{"stream_options":1}}',
        b'{"model":"a","x":"\\u0041"}',
    ],
)
def test_the_wish_for_usage_is_put_in(body: bytes) -> None:
    """A parser sees `include_usage` and everything else as it was."""
    before, after = json.loads(body), json.loads(with_usage(body))
    options = after.pop("stream_options")
    assert options.pop("include_usage") is True
    assert options == {
        name: value for name, value in (before.pop("stream_options", None) or {}).items() if name != "include_usage"
    }
    assert after == before


def test_a_body_without_the_options_keeps_every_byte() -> None:
    """The member goes in front, the rest is untouched."""
    assert with_usage(b'{"model":"a" }') == b'{"stream_options":{"include_usage":true},"model":"a" }'


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a"}',
        b"{}",
        b'{"model":"a","max_tokens":null,"z":1.0}',
        b'{"x":{"max_tokens":5},"model":"a"}',
        b'{"model":"a","x":"\\u0041"}',
    ],
)
def test_the_longest_answer_is_put_in(body: bytes) -> None:
    """A parser sees it once, at the top level, and everything else as it was."""
    before, after = json.loads(body), json.loads(with_most_tokens(body, b"max_tokens", 77))
    assert after.pop("max_tokens") == 77
    before.pop("max_tokens", None)
    assert after == before
