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
        b'{"model":"a","\\u0073tream_options":{ "include_usage" : null }}',
        b'{"model":"a","stream_options":{"include_usage":false,"include_usage":false}}',
        b'{"model":"a","x":1,"x":12,"stream_options":{"y":{"include_usage":false}}}',
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


def test_options_that_we_could_not_write_are_left_as_they_are() -> None:
    """Numbers beyond ours are the engine's affair: only the wish is put in."""
    body = b'{"stream":true,"stream_options":{"x":1e999,"y":%b}}' % (b"1" * 5000)
    assert with_usage(body) == body.replace(b'{"x"', b'{"include_usage":true,"x"')


@pytest.mark.parametrize("name", [b"max_tokens", b"model", b"stream_options"])
def test_a_long_talk_in_escapes_is_spliced(name: bytes) -> None:
    """Clients that write ASCII alone escape letters, and a talk about code is full of quotes."""
    talk = json.dumps({"model": "a", "x": "é" + 'say "x" ' * 15_000, "y": [[]] * 15_000}).encode()
    changed = {
        b"max_tokens": lambda: with_most_tokens(talk, b"max_tokens", 7),
        b"model": lambda: with_model(talk, "b"),
        b"stream_options": lambda: with_usage(talk),
    }[name]()
    after, before = json.loads(changed), json.loads(talk)
    assert after.pop(name.decode()) in (7, "b", {"include_usage": True})
    before.pop(name.decode(), None)
    assert after == before
