"""How mistakes are told: paths, places, suggestions, secrets, order."""

import pytest

from penstock.base.errors import ConfigError
from penstock.config.mistakes import MOST_SHOWN, Mistakes, Path, Place, clip, closest, did_you_mean, is_secret, show


@pytest.mark.parametrize(
    "path, text",
    [
        ((), "the file"),
        (("pools", 0, "replicas", 1, "url"), "pools[0].replicas[1].url"),
        (("aliases", "gpt-4o"), "aliases.gpt-4o"),
        (("aliases", "gpt-4.1"), "aliases['gpt-4.1']"),
    ],
)
def test_paths_are_shown_as_users_write_them(path: Path, text: str) -> None:
    """Names are joined by dots, items by their number, and odd names stand in quotes."""
    assert show(path) == text


def test_long_texts_are_clipped() -> None:
    """A text of a thousand characters does not fill the screen."""
    assert clip("x" * 1000) == "'" + "x" * 59 + "…'"


def test_only_near_words_are_suggested() -> None:
    """A slip of the finger is corrected, a foreign word is not."""
    assert did_you_mean("replica", ["replicas", "retries"]) == "did you mean `replicas`?"
    assert did_you_mean("database", ["replicas", "retries"]) == ""


@pytest.mark.parametrize("path", [("keys", 0, "key"), ("admin_key",), ("pools", 0, "replicas", 0, "headers", "X")])
def test_secrets_are_never_shown(path: Path) -> None:
    """A wrong value where a secret stands is told without the value."""
    mistakes = Mistakes()
    assert is_secret(path)
    assert mistakes.found(path, "sk-1") == "a text (not shown)"
    assert mistakes.found(path, 1234) == "a number (not shown)"


def test_a_password_in_a_url_is_not_shown() -> None:
    """Who puts a password into a URL does not find it in the log."""
    assert Mistakes().found(("url",), "http://me:pw@h:1") == "'http://…@h:1'"


def test_what_a_variable_says_is_not_shown() -> None:
    """A variable is told by its name."""
    mistakes = Mistakes()
    mistakes.given["listen",] = "${WHERE}"
    assert mistakes.found(("listen",), "secret") == "what '${WHERE}' expands to"


def test_nothing_is_said_below_a_broken_place() -> None:
    """Consequences of a mistake are not mistakes."""
    mistakes = Mistakes()
    mistakes.broken(("pools", 0))
    mistakes.say(("pools", 0, "name"), "wrong")
    mistakes.raise_if_any()
    assert mistakes.any_below("pools")
    assert not mistakes.any_below("routes")


def test_mistakes_come_in_the_order_of_the_file() -> None:
    """Whatever finds them, they are sorted by line, and those without one come first."""
    mistakes = Mistakes()
    mistakes.places = {("b",): Place(2, "line 2"), ("a",): Place(1, "line 1")}
    for name in ("b", "a", "c"):
        mistakes.say((name,), "wrong", "do it right")
    with pytest.raises(ConfigError) as caught:
        mistakes.raise_if_any()
    assert caught.value.mistakes == [
        "c: wrong; do it right", "a (line 1): wrong; do it right", "b (line 2): wrong; do it right",
    ]  # fmt: skip


def test_the_list_is_bounded() -> None:
    """Beyond a hundred mistakes only their number is told."""
    mistakes = Mistakes()
    for number in range(MOST_SHOWN + 5):
        mistakes.say((number,), "wrong")
    with pytest.raises(ConfigError) as caught:
        mistakes.raise_if_any()
    assert len(caught.value.mistakes) == MOST_SHOWN + 1
    assert caught.value.mistakes[-1] == "… and 5 more"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("lisen", "listen"), ("Listen", "listen"), ("replica", "replicas"), ("clients", None), ("x" * 1000, None)],
)
def test_only_what_was_probably_meant_is_suggested(word: str, meant: str | None) -> None:
    """A slip of a letter or two finds its field; another word finds nothing."""
    assert closest(word, ("listen", "replicas", "pools", "keys")) == meant
