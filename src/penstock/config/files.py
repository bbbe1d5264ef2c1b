"""YAML files of one block, such as a scenario or a workload: their text, what they hold, and all mistakes in it."""

from pathlib import Path
from typing import Any

from penstock.base.errors import ConfigError
from penstock.config.document import NotYaml, parse
from penstock.config.keys import why
from penstock.config.load import read_text
from penstock.config.mistakes import Mistakes, Place
from penstock.config.shape import Shape


def text_of(path: str | Path) -> str:
    """What stands in a file. Raises ConfigError where it cannot be read."""
    try:
        return read_text(str(path))
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read ({why(error)})"]) from None


def mapping_of(text: str, name: str, kind: type, fields: str) -> tuple[dict[str, Any], Mistakes]:
    """What this text holds of the fields of a block, units as numbers, and where further mistakes in it are said, each
    with its path and line; so far they are only noted. `fields`: those that there must be, in words.

    Raises ConfigError where the text is no YAML, or no mapping.
    """
    mistakes = Mistakes()
    try:
        parsed = parse(text)
    except NotYaml as error:
        raise ConfigError([f"{name}: {error}"]) from None
    mistakes.places = {path: Place(line, f"{name}, line {line}") for path, line in parsed.lines.items() if path}
    mistakes.empty = parsed.empty
    for path, problem in parsed.problems:
        mistakes.say(path, problem)
    if not isinstance(parsed.tree, dict):
        raise ConfigError([f"{name}: expected a mapping with {fields}"])
    return Shape(kind, mistakes).read(parsed.tree), mistakes
