"""Options of `penstock keys`: what their texts mean, and what is said of those that mean nothing."""

import pytest
import typer

from penstock.base.errors import ConfigError
from penstock.cli.key_options import limits_given, one_of, overlap_given_s, terms_given
from penstock.core.limits.spec import AllowanceSpec

NOW_S = 1_800_000_000.0


def test_only_what_is_given_is_a_term() -> None:
    """As the keys file has it; no model at all is not the wish that none may be used."""
    assert terms_given(NOW_S, None, None, [], None, None, None) == {}
    terms = terms_given(NOW_S, "t", "free", ["m"], "1h", "concurrency: 2", "low")
    assert terms == {
        "tenant": "t", "tier": "free", "models": ("m",), "expires": "2027-01-15T09:00:00Z",
        "limits": AllowanceSpec(concurrency=2), "priority_ceiling": "low",
    }  # fmt: skip


def test_limits_are_a_block_with_or_without_braces() -> None:
    """Units are numbers then."""
    assert limits_given("wait: 1m") == limits_given("{wait: 60}") == {"wait": 60.0}


@pytest.mark.parametrize("text", ["requests_per_minute", "{requests_per_minute: }", "{models: {m: {concurrency}}}"])
def test_a_limit_without_a_value_is_a_mistake(text: str) -> None:
    """It would be no limit at all, where somebody meant one."""
    with pytest.raises(ConfigError, match="nothing stands here; write a value"):
        limits_given(text)


@pytest.mark.parametrize("text, words", [("24", "has no unit"), ("-5", "has no unit"), ("soon", "soon")])
def test_an_overlap_has_a_unit(text: str, words: str) -> None:
    """A bare number could be hours or days."""
    with pytest.raises(typer.BadParameter, match=words):
        overlap_given_s(text, NOW_S)


def test_words_are_those_that_there_are() -> None:
    """With the one that was probably meant."""
    assert one_of(None, ("free",), "--tier") is None
    with pytest.raises(typer.BadParameter, match="'fre' is none of free; did you mean `free`"):
        one_of("fre", ("free",), "--tier")
