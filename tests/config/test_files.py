"""YAML files of one block: read, and every mistake told with its place."""

from pathlib import Path

import pytest

from penstock.base.errors import ConfigError
from penstock.config.clients import Patience
from penstock.config.files import mapping_of, text_of


def test_what_a_file_holds_is_read() -> None:
    """Units become numbers, and nothing is said."""
    tree, mistakes = mapping_of("first_token: 10s\n", "p.yaml", Patience, "the field `first_token`")
    assert tree == {"first_token": 10.0}
    mistakes.raise_if_any()


def test_mistakes_are_noted_with_file_and_line() -> None:
    """All of them, and whoever reads on may add more."""
    _, mistakes = mapping_of("first_token: soon\nfirst_tokken: 1s\n", "p.yaml", Patience, "`first_token`")
    with pytest.raises(ConfigError) as caught:
        mistakes.raise_if_any()
    assert [text.split(":")[0] for text in caught.value.mistakes] == [
        "first_token (p.yaml, line 1)", "first_tokken (p.yaml, line 2)",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), [("- 1\n", "a mapping with `first_token`"), ("a: [\n", "p.yaml: ")])
def test_what_is_no_mapping_is_told_at_once(text: str, words: str) -> None:
    """Nothing else could be said of it."""
    with pytest.raises(ConfigError, match=words):
        mapping_of(text, "p.yaml", Patience, "`first_token`")


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    """Told by its name."""
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        text_of(tmp_path / "none.yaml")
