"""What clients send wrongly is told in a vLLM's words, by path."""

from typing import Any

import pytest

from penstock.emulator.serve import Running
from penstock.emulator.wire import Part, Sampling, StreamOptions, Wrong, check_model, check_sampling, text_of
from tests.emulator.client import CHAT, ask, chat, serving


@pytest.mark.parametrize(
    "body, max_tokens, words",
    [
        (Sampling(n=0), None, "n must be at least 1, got 0."),
        (Sampling(n=17), None, "n must be at most 16, got 17."),
        (Sampling(temperature=-1), None, "temperature must be non-negative"),
        (Sampling(), 0, "max_tokens must be at least 1, got 0."),
        (Sampling(), 101, "max_tokens=101 cannot be greater than max_model_len=100."),
        (Sampling(min_tokens=5), 2, "min_tokens must be less than or equal to max_tokens=2, got 5."),
        (Sampling(stream_options=StreamOptions()), None, "Stream options can only be defined when"),
    ],
)
def test_parameters_out_of_range(body: Sampling, max_tokens: int | None, words: str) -> None:
    """Each is refused with what was given and what may be."""
    with pytest.raises(Wrong) as raised:
        check_sampling(body, max_tokens, 100)
    assert words in raised.value.message


def test_a_request_may_name_no_model() -> None:
    """None and the served one are fine, another one is not."""
    check_model(None, "tiny")
    check_model("tiny", "tiny")
    with pytest.raises(Wrong, match="`other` does not exist"):
        check_model("other", "tiny")


def test_text_of_content() -> None:
    """Text is taken as it is or from its parts; pictures are skipped."""
    assert text_of(None) == ""
    assert text_of("a") == "a"
    assert text_of([Part(text="a"), Part(type="image_url"), Part(text="b")]) == "a\nb"


CASES: list[tuple[Any, int, str, str | None]] = [
    (b"{bad", 400, "Bad Request", "body"),
    (b"\xff\xfe", 400, "Bad Request", "body"),
    (b"", 400, "Bad Request", "body"),
    (b"[" * 50_000, 400, "Bad Request", "body"),
    (b"[]", 400, "Bad Request", "body"),
    ({"model": "tiny"}, 400, "Bad Request", "body.messages"),
    ({"model": "tiny", "messages": "x"}, 400, "Bad Request", "body.messages"),
    ({"model": "tiny", "messages": [{"content": "x"}]}, 400, "Bad Request", "body.messages[0].role"),
    (chat(max_tokens="x"), 400, "Bad Request", "body.max_tokens"),
    ({"model": 5, "messages": []}, 400, "Bad Request", "body.model"),
    ({"model": "tiny", "messages": []}, 400, "BadRequestError", None),
    ({**chat(), "model": "nope"}, 404, "NotFoundError", "model"),
    (chat(max_tokens=0), 400, "BadRequestError", "max_tokens"),
    (chat("word " * 200), 400, "BadRequestError", "input_tokens"),
    (chat("x" * 70_000), 413, "BadRequestError", None),
]


def test_mistakes_over_the_wire() -> None:
    """Whatever is wrong ends in the right status and the error shape, and the connection stays usable."""

    async def test(emulator: Running) -> None:
        for body, status, kind, param in CASES:
            reply = await ask(emulator.ports[0], CHAT, body)
            error = reply.json["error"]
            assert (reply.status, error["type"], error["param"], error["code"]) == (status, kind, param, status), body
        reply = await ask(emulator.ports[0], CHAT, chat(), headers="content-type: text/plain\r\n")
        assert "Only 'application/json' is allowed" in reply.json["error"]["message"]

    serving(test, max_model_len=100, max_body_bytes=60_000)
