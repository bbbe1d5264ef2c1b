"""How long answers are, and what a request costs."""

import pytest

from penstock.emulator.plan import plan
from penstock.emulator.text import digest_of, drawn_length
from penstock.emulator.wire import Sampling, Wrong
from penstock.engine.words import Finish
from tests.emulator.client import spec

PROMPT = ["a", "b", "c"]
NATURAL = drawn_length(digest_of(PROMPT, b"0/0/"))


def lengths(body: Sampling, max_tokens: int | None = None, default: int | None = None) -> list[tuple[int, str]]:
    """Tokens and reason of each answer."""
    planned = plan(spec(max_model_len=3000), [PROMPT], body, max_tokens, default)
    return [(len(said.tokens), said.reason) for said in planned.answers]


def test_max_tokens_is_kept_exactly() -> None:
    """With max_tokens there are exactly that many, clipped by the context, and the reason is length."""
    assert lengths(Sampling(), 7) == [(7, "length")]
    assert lengths(Sampling(), 2999) == [(2997, "length")]


def test_without_max_tokens_the_prompt_decides() -> None:
    """A natural length is drawn from the prompt and ends with stop; min_tokens is its lower bound."""
    assert lengths(Sampling()) == [(NATURAL, "stop")]
    assert lengths(Sampling(min_tokens=2500)) == [(2500, "stop")]


def test_ignore_eos() -> None:
    """Said false, max_tokens is only a limit; said true without max_tokens, the context is filled."""
    assert lengths(Sampling(ignore_eos=False), NATURAL + 5) == [(NATURAL, "stop")]
    assert lengths(Sampling(ignore_eos=False), NATURAL - 1) == [(NATURAL - 1, "length")]
    assert lengths(Sampling(ignore_eos=True)) == [(2997, "length")]


def test_a_default_holds_where_nothing_is_said() -> None:
    """The default of /v1/completions is used as max_tokens would be."""
    assert lengths(Sampling(), None, 16) == [(16, "length")]


def test_choices_differ_and_repeat() -> None:
    """Each of n choices says something else; the same request says the same again; another seed does not."""
    first, again = (plan(spec(), [PROMPT], Sampling(n=3), 5) for _ in range(2))
    texts = ["".join(said.pieces) for said in first.answers]
    assert len(set(texts)) == 3
    assert first == again
    assert plan(spec(), [PROMPT], Sampling(seed=1), 5).answers[0] not in first.answers


def test_a_prompt_counts_once_for_all_choices() -> None:
    """Usage has each prompt once and the tokens of all choices."""
    planned = plan(spec(), [PROMPT, PROMPT], Sampling(n=2), 5)
    spent = planned.usage([Finish(str(number), 3, 5, 2, "length") for number in range(4)])
    assert (spent.prompt, spent.completion, spent.cached) == (6, 20, 4)


def test_a_prompt_as_long_as_the_context_is_refused() -> None:
    """There must be room for at least one token."""
    with pytest.raises(Wrong, match="maximum context length is 3 tokens"):
        plan(spec(max_model_len=3), [PROMPT], Sampling(), None)
