"""Finding what a call used at the end of an answer."""

import pytest

from penstock.adapters.wire.usage import usage_in
from penstock.base.nouns import Usage


def test_openais_usage_is_found() -> None:
    """Prompt, completion and cached tokens, with or without the nested details."""
    assert usage_in(b'{"a":1,"usage":{"prompt_tokens":7,"total_tokens":10,"completion_tokens":3}}') == Usage(7, 3, 0)
    nested = (
        b'"usage": {"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4},"x":{"y":1}}}'
    )
    assert usage_in(nested) == Usage(7, 3, 4)
    assert usage_in(b'"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":null}') == Usage(7, 3, 0)


def test_anthropics_and_the_responses_usage_are_found() -> None:
    """Input and output tokens are the same thing by another name."""
    assert usage_in(
        b'"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":1},"output_tokens":6}'
    ) == Usage(5, 6, 1)
    assert usage_in(b'"usage":{"output_tokens":6}') == Usage(0, 6, 0)


def test_anthropics_input_is_what_was_not_cached() -> None:
    """A prompt is what was read anew, what was read from the cache, and what was written to it; each may be null."""
    usage = (
        b'"usage":{"input_tokens":5,"output_tokens":6,"cache_read_input_tokens":%b,"cache_creation_input_tokens":%b}'
    )
    assert usage_in(usage % (b"2", b"null")) == Usage(7, 6, 2)
    assert usage_in(usage % (b"2", b"30")) == Usage(37, 6, 2)
    assert usage_in(usage % (b"2147483648", b"2147483648")) == Usage(1 << 31, 6, 1 << 31)


def test_the_last_usage_counts() -> None:
    """Engines that report as they go say the final numbers last."""
    assert usage_in(
        b'"usage":{"prompt_tokens":7,"completion_tokens":1} "usage":{"prompt_tokens":7,"completion_tokens":2}'
    ) == Usage(7, 2, 0)


def test_nonsense_is_no_usage() -> None:
    """None, nothing, wrong types and half objects are not guessed at."""
    for tail in (
        b"", b'"usage":null', b'"usage":{}', b'"usage":[1]', b'"usage":{"prompt_tokens":"7"}', b'"usage"',
        b'"usage":{"prompt_tokens":7', b'"usage":{"prompt_tokens":1e999}', b'"usage","x":{"prompt_tokens":1}',
    ):  # fmt: skip
        assert usage_in(tail) is None


def test_negative_numbers_are_not_believed() -> None:
    """No call uses less than nothing."""
    assert usage_in(b'"usage":{"prompt_tokens":-7,"completion_tokens":3}') is None


def test_a_models_words_cannot_pass_for_a_usage() -> None:
    """Inside a JSON string the quotes are escaped, so the text of an answer is not taken for its usage."""
    text = rb'{"content":"\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}"}'
    assert usage_in(text) is None


@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens", "cached_tokens", "input_tokens"])
@pytest.mark.parametrize("number", ["-5", "9223372036854775808", "9" * 40])
def test_numbers_that_cannot_be_are_not_believed(name: str, number: str) -> None:
    """Below nothing, or beyond what sums are kept in."""
    fields = {"prompt_tokens": "7", "completion_tokens": "3", name: number}
    text = ",".join(f'"{field}":{value}' for field, value in fields.items())
    assert usage_in(f'"usage":{{{text}}}'.encode()) in (None, Usage(7, 3, 0))
