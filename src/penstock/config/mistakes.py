"""The words of mistakes: where, what was found, what is expected, and a way out; all of them, in the file's order.

Everything that reads a configuration writes here and goes on, so that a user sees all mistakes at once. A place that
is already known to be wrong is marked broken: later checks at or below it would only say consequences.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from penstock.base.errors import ConfigError

Path = tuple[str | int, ...]

MOST_SHOWN = 100
"""More mistakes than a person reads; a file with thousands is not a configuration."""
_SECRET = frozenset({"key", "hash", "api_key", "admin_key", "headers"})
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Place(NamedTuple):
    """Where a value was written."""

    order: int
    label: str
    """"line 9", or the variable that set it."""


def show(path: Path) -> str:
    """A path as users write it: pools[0].replicas[1].url."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _WORD.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{clip(step)}]"
    return text or "the file"


def clip(text: str, most: int = 60) -> str:
    """A text in quotes, shortened, on one line, so that a mistake stays readable."""
    return repr(text if len(text) <= most else text[: most - 1] + "…")


def closest(word: str, options: Iterable[str]) -> str | None:
    """The option that was probably meant."""
    near = difflib.get_close_matches(word[:100].lower(), list(options), n=1, cutoff=0.65)
    return near[0] if near else None


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """The suggestion that ends a mistake, or nothing."""
    near = closest(word, options)
    return f"did you mean `{near}`?" if near else ""


def is_secret(path: Path) -> bool:
    """Whether the value at this path may not be repeated to anybody."""
    return any(step in _SECRET for step in path) and "tls" not in path


class Mistakes:
    """Collects mistakes. `places` and `given` belong to the document that is being read."""

    def __init__(self) -> None:
        self.places: dict[Path, Place] = {}
        self.given: dict[Path, str] = {}
        """Texts that come from the environment -> as they are written in the file (${NAME}); empty: by an override."""
        self.empty: frozenset[Path] = frozenset()
        """Where the document has a name and nothing behind it."""
        self._found: list[tuple[int, int, str]] = []
        self._broken: set[Path] = set()

    def say(self, path: Path, text: str, hint: str = "") -> None:
        """A mistake at this path, unless the path is known to be broken."""
        if self.is_broken(path):
            return
        place = self._place(path)
        where = show(path) + (f" ({place.label})" if place.label else "")
        self._found.append((place.order, len(self._found), f"{where}: {text}" + (f"; {hint}" if hint else "")))

    def variable(self, place: Place, text: str, hint: str = "") -> None:
        """A mistake of a variable that sets nothing that there is."""
        self._found.append((place.order, len(self._found), f"{place.label}: {text}" + (f"; {hint}" if hint else "")))

    def wrong(self, path: Path, value: Any, expected: str, hint: str = "") -> None:
        """A mistake at this path: this value where that is expected."""
        self.say(path, f"found {self.found(path, value)}, expected {expected}", hint)

    def broken(self, path: Path) -> None:
        """What is at or below this path is not worth another word."""
        self._broken.add(path)

    def is_broken(self, path: Path) -> bool:
        """Whether this path or one above it is broken."""
        return any(path[:length] in self._broken for length in range(len(path) + 1))

    def any_below(self, *path: str | int) -> bool:
        """Whether anything at or below this path is broken: then references to it cannot be judged."""
        return any(broken[: len(path)] == path for broken in self._broken) or self.is_broken(path)

    def found(self, path: Path, value: Any) -> str:
        """A value for people. Secrets and what variables expand to are never shown."""
        if written := self.given.get(path):
            return f"what {clip(written)} expands to"
        if isinstance(value, str):
            return "a text (not shown)" if is_secret(path) else clip(re.sub(r"//[^/@]*@", "//…@", value))
        if value is None:
            return "nothing"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return "a number (not shown)" if is_secret(path) else f"the number {clip(str(value), 40)[1:-1]}"
        return "a list" if isinstance(value, list) else "a mapping"

    def is_written(self, path: Path) -> bool:
        """Whether this very path is written somewhere, rather than a default or another block's value."""
        return path in self.places

    def from_environment(self, path: Path) -> bool:
        """Whether the value at this path came through a variable rather than standing in the file."""
        return any(path[:length] in self.given for length in range(len(path) + 1))

    def replace_place(self, path: Path, place: Place) -> None:
        """What is at and below this path is now written elsewhere."""
        for old in [old for old in self.places if old[: len(path)] == path]:
            del self.places[old]
        self.places[path] = place

    def raise_if_any(self) -> None:
        """Raises ConfigError with all mistakes, in the file's order."""
        if self._found:
            texts = [text for _, _, text in sorted(self._found)]
            more = len(texts) - MOST_SHOWN
            raise ConfigError(texts[:MOST_SHOWN] + ([f"… and {more} more"] if more > 0 else []))

    def _place(self, path: Path) -> Place:
        for length in range(len(path), -1, -1):
            if place := self.places.get(path[:length]):
                return place
        return Place(0, "")
