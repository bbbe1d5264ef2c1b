"""Looking into bodies: the right fields, refusals that name the field, and bounded work whatever the body."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.wire.malformed import Malformed
from penstock.base.prefix import chain
from penstock.gateway.client.peek import ATTACHED_TOKENS, guess_tokens, peek, peek_prompt, top_level, user_of


def refusal(body: bytes) -> Malformed:
    """What a body is refused with."""
    with pytest.raises(Malformed) as caught:
        peek(body)
    assert caught.value.label == "bad_request"
    return caught.value


def test_the_inspected_fields_are_read() -> None:
    """Model, stream, limits, choices and the wish for usage; the rest is skipped."""
    fields = peek(
        b'{"messages":[{"content":"x"}],"model":"m","stream":true,"max_tokens":5,"max_completion_tokens":6,"n":2,'
        b'"stream_options":{"include_usage":true,"other":1},"temperature":0.5}'
    )
    assert (fields.model, fields.stream, fields.max_tokens, fields.max_completion_tokens, fields.n) == (
        "m",
        True,
        5,
        6,
        2,
    )
    assert fields.stream_options is not None
    assert fields.stream_options.include_usage


def test_what_is_absent_or_null_is_none() -> None:
    """Nothing is made up."""
    fields = peek(b'{"model":null,"stream_options":null}')
    assert (fields.model, fields.stream, fields.stream_options) == (None, None, None)


@pytest.mark.parametrize(
    "body,param",
    [
        (b'{"model":1}', "model"),
        (b'{"model":["m"]}', "model"),
        (b'{"model":"m","stream":"true"}', "stream"),
        (b'{"model":"m","stream":1}', "stream"),
        (b'{"model":"m","max_tokens":"5"}', "max_tokens"),
        (b'{"model":"m","max_tokens":-1}', "max_tokens"),
        (b'{"model":"m","max_tokens":1e400}', "max_tokens"),
        (b'{"model":"m","max_tokens":99999999999999999999999}', "max_tokens"),
        (b'{"model":"m","max_completion_tokens":true}', "max_completion_tokens"),
        (b'{"model":"m","n":1000000}', "n"),
        (b'{"model":"m","n":0}', "n"),
        (b'{"model":"m","best_of":-1}', "best_of"),
        (b'{"model":"m","stream_options":5}', "stream_options"),
        (b'{"model":"' + b"m" * 600 + b'"}', "model"),
    ],
)
def test_a_wrong_value_is_refused_by_name(body: bytes, param: str) -> None:
    """The refusal names the field as OpenAI's `param`."""
    assert refusal(body).param == param


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'"x"', b"null", b"{}x", b'{"model":"m",}', b'{"model":"m"}{"model":"n"}', b"{'model':'m'}",
        b'{"a":01}', b'{"a":NaN}', b'{"a":"\x01"}', b'\xef\xbb\xbf{"model":"m"}', b'{"model":"\xff"}',
        b'{"model":"m","a":"\xff\xfe"}', b'{"model":"m","a":"\xed\xa0\x80"}', b'{"model":"\\ud800"}', b"\x00",
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """Truncated, trailing, foreign or wrongly encoded bodies are 400."""
    refusal(body)


def test_deep_nesting_is_refused() -> None:
    """A body cannot exhaust the stack, whether it closes its brackets or not."""
    assert "deep" in refusal(b'{"model":"m","a":' + b"[" * 100_000).detail
    assert "deep" in refusal(b'{"model":"m","a":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001).detail


@pytest.mark.parametrize(
    "body,param",
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model":"a","\\u006dodel":"b"}', "model"),
        (b'{"\\u006d\\u006fdel":"a","model":"b"}', "model"),
        (b'{"\\u006dodel":"a","\\u006Dodel":"b"}', "model"),
        (b'{"model":"a","x":{"model":"c"},"model" : "b"}', "model"),
        (b'{"model":"a","stream":true,"stream":false}', "stream"),
        (b'{"model":"a","n":null,"n":1}', "n"),
        (b'{"model":"a","best_of":20,"best_of":1}', "best_of"),
        (b'{"max_tokens":1,"model":"a","x":"}{][\\"","max_tokens":2}', "max_tokens"),
        (b'{"model":"a","stream_options":{},"stream_options":{}}', "stream_options"),
    ],
)
def test_an_inspected_key_given_twice_is_refused(body: bytes, param: str) -> None:
    """Two parsers could obey different ones, however the key is spelled."""
    found = refusal(body)
    assert found.param == param
    assert "twice" in found.detail


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","x":{"model":"b","stream":1},"y":["model","stream"],"stream":true}',
        b'{"model":"a","x":"\\"model\\":\\"b\\"","y":"model"}',
        b'{"model":"model","x":["model","model"]}',
        b'{"model":"a","x":"\\u0041\\\\"}',
        b'{"model":"a","tools":[{"properties":{"n":{},"model":{},"max_tokens":{}}}],"n":1}',
        b'{"model":"a","max_tokens":1,"max_completion_tokens":2,"stream":true,"stream_options":{}}',
    ],
)
def test_the_same_word_elsewhere_is_no_duplicate(body: bytes) -> None:
    """Nested keys, strings and values that look like keys are allowed."""
    assert peek(body).model in ("a", "model")


LONG = b'[{"role":"user","content":"%b"}]' % (b"word \\n " * 200)
HIDING = b'[{"model":"x","stream":1,"content":"%b\\u0041"},{"model":"y"}]' % (b"word " * 200)


@pytest.mark.parametrize("field", [b"messages", b"prompt", b"input"])
@pytest.mark.parametrize("value", [LONG, HIDING])
def test_a_long_prompt_hides_no_key(field: bytes, value: bytes) -> None:
    """Keys before and behind a long value, and of a copy of it elsewhere, count as they do beside a short one."""
    named = b'"%b":%b' % (field, value)
    for body in (
        b'{"model":"a",%b,"model":"b"}' % named,
        b'{"model":"a","x":{%b},%b,"model":"b"}' % (named, named),
        b'{"model":"a",%b,"m\\u006fdel":"b"}' % named,
        b'{"model":"a","z\\"%b": %b,"model":"b",%b}' % (field, value, named),
    ):
        with pytest.raises(Malformed, match="twice"):
            peek_prompt(body)
    for body in (b'{"model":"a",%b,"n":1}' % named, b'{%b,"x":{"model":1,%b},"model":"a"}' % (named, named)):
        assert peek_prompt(body)[0].model == "a"


def test_top_level_keys_are_found_with_their_values() -> None:
    """The exact scan agrees with a JSON parser about every key and value."""
    body = b'{ "a" : [1,{"b":"}"}] , "c\\"d":"\\\\", "e":{}\n,"f": 1.5e3 , "g":null }'
    found = [(name, json.loads(body[start:end])) for name, start, end in top_level(body)]
    assert found == list(json.loads(body).items())
    assert top_level(b"{}") == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", '"', "\\\\", '"model":', "}{", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", 'b"', "é"]), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", 'b"', "é", "\\\\", "model"]), VALUES), st.booleans(), st.booleans())
def test_top_level_keys_are_those_of_a_parser(members: dict[str, Any], escapes: bool, twice: bool) -> None:
    """Whatever stands within the values and however it is spelled, with a key given twice as well: that goes another
    way."""
    text = json.dumps(members, ensure_ascii=escapes, indent=1 if escapes else None)
    if twice:
        text = '{"x":1,"x":12' + ("," if members else "") + text[1:]
    body = text.encode()
    found = [(name, json.loads(body[start:end])) for name, start, end in top_level(body)]
    assert found == [("x", 1), ("x", 12)][: 2 * twice] + list(members.items())


@pytest.mark.parametrize(
    "filler",
    [
        b'["a"],' * 400_000,
        rb"\"" * 1_000_000,
        b"\\\\" * 1_000_000,
        b" " * 3_000_000,
        b"{}," * 700_000,
        b"1," * 1_000_000,
    ],
    ids=["strings", "quotes", "backslashes", "space", "objects", "numbers"],
)
def test_a_hostile_body_takes_bounded_time(filler: bytes) -> None:
    """A body of megabytes that forces the exact scan is scanned or refused quickly."""
    wrapped = b'"' + filler + b'"' if filler[:1] == b"\\" else b"[" + filler + b"1]"
    body = b'{"model":"a","x":' + wrapped + b',"y":{"model":1}}'
    began_s = time.process_time()
    try:
        model = peek(body).model
    except Malformed as error:
        model = error.detail
    assert model in ("a", "The JSON of the body is too complex.")
    assert time.process_time() - began_s < 0.5


@pytest.mark.parametrize("value", [b"null", b"7", b'""', b'{"a":[1]}', b'["x"]', b'"' + b"x" * 5000 + b'"'])
def test_a_user_that_is_no_name_is_none(value: bytes) -> None:
    """Nothing is refused over it; a text of any sensible length becomes a digest that tells users apart."""
    assert user_of(peek(b'{"model":"m","user":' + value + b"}")) == ""
    assert user_of(peek(b"{}")) == ""
    one, other = (user_of(peek(b'{"user":"%b"}' % name)) for name in (b"one", b"other"))
    assert len(one) == len(other) == 16
    assert one != other


def test_a_prompt_is_what_chat_templates_put_first_to_last() -> None:
    """Tools, system and instructions before the messages, wherever they stand in the body; nothing is copied of one."""
    messages = json.dumps([{"role": "user", "content": "x" * 2000}]).encode()
    one = peek_prompt(b'{"model":"m","messages":' + messages + b',"temperature":0.5,"stream":true}')
    assert one[1:] == chain([messages])
    assert (one[0].model, one[0].stream) == ("m", True)
    other = peek_prompt(b'{"messages":' + messages + b',"tools":[{"type":"function"}],"model":"m"}')
    assert other[1:] == chain([b'[{"type":"function"}]', messages])
    salted = peek_prompt(b'{"messages":' + messages + b',"cache_salt":"s"}')
    assert not set(salted[1]) & set(one[1])


@pytest.mark.parametrize("field", ["prompt", "input", "inputs", "text", "system", "instructions", "messages"])
@pytest.mark.parametrize("value", [b'"%b"' % (b"word " * 300), b"[%b]" % b",".join([b"12345"] * 300), b"null", b"5"])
def test_a_prompt_may_be_anything(field: str, value: bytes) -> None:
    """Text, tokens, nothing, nonsense: it is read as it stands, and no request is refused over it."""
    body = b'{"model":"m","%b":%b,"more":"%b"}' % (field.encode(), value, b"x" * 1024)
    assert peek_prompt(body)[1:] == chain([value])


def test_a_short_body_is_not_looked_at_for_a_prompt() -> None:
    """What it could share is not worth the look."""
    assert peek_prompt(b'{"model":"m","prompt":"%b"}' % (b"x" * 900))[1:] == ((), 0)


def test_a_body_without_a_prompt_has_no_blocks() -> None:
    """And what is wrong with the body is told as ever."""
    assert peek_prompt(b'{"model":"m"}')[1:] == ((), 0)
    for wrong in (b"[]", b'{"model":1}', b'{"model":"m","model":"n"}', b'{"prompt":"\xff"}'):
        with pytest.raises(Malformed):
            peek_prompt(wrong)


def test_tokens_are_guessed_by_bytes_and_pictures_by_number() -> None:
    """A quarter of the text's bytes; a picture in base64 counts as one, however large."""
    assert guess_tokens(b"x" * 400) == 100
    assert guess_tokens(b"x" * 40_000) == 10_000
    picture = b'{"url":"data:image/png;base64,' + b"iVBORw0KGgo+/A==" * 10_000 + b'"}'
    text = b"x" * 4000
    assert guess_tokens(text + picture + picture) == (4000 + 2 * 24) // 4 + 2 * ATTACHED_TOKENS
    assert guess_tokens(b"a;base64,QUJD") == 3


@pytest.mark.parametrize("semicolons", [0, 1, 63, 64, 65, 66, 1000])
def test_a_picture_is_found_among_any_number_of_semicolons(semicolons: int) -> None:
    """Those of a program's text before it hide it as little as they are taken for one."""
    text, picture = b"for(;" * semicolons + b"x" * 9000, b";base64," + b"A" * 8000
    assert guess_tokens(text) == len(text) // 4
    assert guess_tokens(text + picture) == len(text) // 4 + ATTACHED_TOKENS
