"""The small paths: token numbers and back, plain generation, the list of models."""

import msgspec
import pytest

from penstock.emulator.plan import Plan
from penstock.emulator.replica import Job
from penstock.emulator.text import Answer
from penstock.emulator.tokens import DetokenizeBody, GenerateFrames, TokenizeBody, detokenized, model_list, tokenized
from penstock.emulator.wire import Message, Wrong
from tests.emulator.client import spec


def test_there_and_back() -> None:
    """What /tokenize gives, /detokenize turns into the text."""
    shown = msgspec.json.decode(tokenized(TokenizeBody(prompt="Hello there", return_token_strs=True), 99).body)
    assert (shown["count"], shown["max_model_len"], shown["token_strs"]) == (2, 99, ["Hello", " there"])
    assert msgspec.json.decode(detokenized(DetokenizeBody(tokens=shown["tokens"])).body) == {"prompt": "Hello there"}


def test_a_conversation_has_its_marks() -> None:
    """A conversation is counted as the model reads it: role, text, end, and where the answer begins."""
    shown = msgspec.json.decode(tokenized(TokenizeBody(messages=[Message("user", "Hello there")]), 99).body)
    assert (shown["count"], shown["token_strs"]) == (5, None)


def test_something_must_be_given() -> None:
    """Neither prompt nor messages is a mistake."""
    with pytest.raises(Wrong, match="Field required"):
        tokenized(TokenizeBody(), 99)


def test_generate_repeats_its_prompt() -> None:
    """The text so far comes after each token, the prompt before it; whole, it is the last of these."""
    plan = Plan([Job(1, 2, ())], [Answer(["oak0", " elm1"], ["oak0", " elm1"], "length")], 1)
    frames = GenerateFrames("say ", plan)
    assert frames.tokens(0, 0, 2, None) == b'{"text":["say oak0"]}\n{"text":["say oak0 elm1"]}\n'
    assert frames.whole([]) == b'{"text":["say oak0 elm1"]}'
    assert frames.head() == frames.tail([]) == b""


def test_the_list_of_models() -> None:
    """The one model, with the length of its context."""
    (model,) = msgspec.json.decode(model_list(spec(max_model_len=77), 5).body)["data"]
    assert (model["id"], model["max_model_len"], model["owned_by"]) == ("tiny", 77, "vllm")
