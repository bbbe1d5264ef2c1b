"""Text without a model: reversible tokens, numbered answers, stable digests."""

from statistics import median

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.emulator.text import (
    answer,
    block_hashes,
    chat_tokens,
    digest_of,
    drawn_length,
    embedding,
    likeness,
    token_id,
    token_of,
    tokenize,
)

DIGEST = digest_of(["a prompt"])
TEXT = st.text("aZ09 .,<|>\n\t\0é漢😀", max_size=60)


@settings(max_examples=25)
@given(TEXT)
def test_tokens_joined_are_the_text(text: str) -> None:
    """Nothing is lost or added by cutting a text into tokens."""
    assert "".join(tokenize(text)) == text


@settings(max_examples=25)
@given(TEXT)
def test_token_numbers_lead_back(text: str) -> None:
    """Every token has a number that fits a JSON number exactly, and the number leads back to the token."""
    for token in tokenize(text):
        assert 0 <= token_id(token) < 2**53
        assert token_of(token_id(token)) == token


def test_special_tokens_have_numbers_too() -> None:
    """The marks of a conversation lead back as well; a number that stands for nothing is replaced, not refused."""
    for token in chat_tokens([("system", ""), ("user", ""), ("robot", "")]):
        assert token_of(token_id(token)) == token
    assert token_of(1 << 60) == token_of((1 << 48) + 99) == "\ufffd"


def test_a_token_is_about_four_characters() -> None:
    """English prose has between 3.5 and 5 characters a token."""
    prose = (
        "It was a bright cold day in April, and the clocks were striking thirteen. The hall smelt of boiled cabbage."
    )
    assert 3.5 < len(prose) / len(tokenize(prose)) < 5


def test_a_lone_surrogate_does_no_harm() -> None:
    """Text that is not valid Unicode is hashed and numbered like any other."""
    assert token_id("\ud800") > 0
    assert digest_of(["\ud800"]) != digest_of(["\ud801"])


def test_an_answer_numbers_its_tokens() -> None:
    """Each token is a word and its place, so that a lost or repeated one shows, up to 100,000 tokens."""
    said = answer(DIGEST, 12_000, "length")
    numbers = [int("".join(filter(str.isdigit, token))) for token in said.tokens]
    assert numbers == list(range(12_000))
    assert said.tokens[0] == said.tokens[0].strip()


def test_an_answer_is_made_of_whole_tokens() -> None:
    """Sent back in a prompt it is cut into the same tokens, so that its blocks are found again."""
    said = answer(DIGEST, 1500, "length")
    assert tokenize("".join(said.tokens)) == said.tokens


def test_a_stop_string_ends_an_answer() -> None:
    """The text ends before the stop string; the token in which it was completed is the last one generated."""
    whole = "".join(answer(DIGEST, 20, "length").tokens)
    said = answer(DIGEST, 20, "length", ["never", whole[17:24]])
    assert "".join(said.pieces) == whole[:17]
    assert "".join(said.tokens) == whole[: len("".join(said.tokens))]
    assert len("".join(said.tokens[:-1])) < 24 <= len("".join(said.tokens))
    assert (said.reason, said.stop) == ("stop", whole[17:24])


def test_drawn_lengths_are_those_of_the_trace() -> None:
    """Without max_tokens lengths have the median and the 90th percentile that the trace has, within 15 %."""
    lengths = sorted(drawn_length(digest_of([str(number)])) for number in range(4000))
    assert abs(median(lengths) / 129 - 1) < 0.15
    assert abs(lengths[3600] / 424 - 1) < 0.15
    assert 1 <= lengths[0] <= lengths[-1] <= 2048


def test_hashes_tell_equal_prefixes() -> None:
    """Two prompts share hashes exactly as far as their full blocks are equal from the start."""
    one, two = list("abcdefgh"), list("abcdXfgh")
    assert block_hashes(one, 2)[:2] == block_hashes(two, 2)[:2]
    assert not set(block_hashes(one, 2)[2:]) & set(block_hashes(two, 2)[2:])
    assert len(block_hashes(list("abc"), 2)) == 1


def test_hashes_are_the_same_everywhere() -> None:
    """A hash does not depend on the process: this literal holds on every machine."""
    assert block_hashes(["a", "b"], 2) == (18429100309458631331,)


def test_texts_with_common_words_are_near() -> None:
    """An embedding has length one, and sharing words brings two of them together."""
    query, near, far = (embedding(tokenize(text), 64) for text in ("blue sky", "a blue sea", "tax form"))
    assert abs(sum(value * value for value in query) - 1) < 1e-9
    assert likeness(query, near) > likeness(query, far) + 0.2
    assert likeness(query, query) > 0.999
    assert embedding([], 4) == [1.0, 0.0, 0.0, 0.0]
