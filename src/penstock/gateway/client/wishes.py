"""What a client wishes of the queue by its headers: a priority, and how long it can wait; and the region that it is
said to be in, which `gateway.head` believes or not.

They are Penstock's own headers, so wishes are read strictly: a word that means nothing is a mistake to tell of, not one
to guess at. The body's `priority` of vLLM is left to the engine.
"""

import re
from typing import Final, Literal

from penstock.base.nouns import PRIORITIES
from penstock.base.units import parse_seconds

PRIORITY = b"x-penstock-priority"
TIMEOUT = b"x-penstock-timeout"
REGION = b"x-penstock-region"
CACHE = b"x-penstock-cache"
TAGS = b"x-penstock-cache-tags"
MOST_TAGS = 16
_TAG = re.compile(rb"[A-Za-z0-9_.:/@-]{1,64}")
_CACHE: Final[dict[bytes, Literal["use", "similar", "bypass", "refresh"]]] = {
    b"use": "use", b"similar": "similar", b"bypass": "bypass", b"refresh": "refresh",
}  # fmt: skip
_INDEX = {name.encode(): index for index, name in enumerate(PRIORITIES)}
_NORMAL = PRIORITIES.index("normal")
_MOST_DIGITS = 32


class Wishes:
    """One request's."""

    __slots__ = ("cache", "latency_s", "mistake", "priority", "region", "tags")

    def __init__(self) -> None:
        self.priority = _NORMAL
        """Index in PRIORITIES."""
        self.latency_s: float | None = None
        self.region = ""
        self.cache: Literal["", "use", "similar", "bypass", "refresh"] = ""
        self.tags: tuple[str, ...] = ()
        """By which its answer can be invalidated, if it is kept."""
        self.mistake = ""
        """What is wrong with a header, for the client; empty: nothing."""

    def read(self, name: bytes, value: bytes) -> None:
        """Take one header in; any other than these means nothing."""
        if name == PRIORITY:
            found = _INDEX.get(value.lower())
            if found is None:
                self.mistake = f"The header x-penstock-priority takes one of {', '.join(PRIORITIES)}."
            else:
                self.priority = found
        elif name == TIMEOUT:
            self.latency_s = _patience_s(value)
            if self.latency_s is None:
                self.mistake = "The header x-penstock-timeout takes a number of seconds, or like 30s, 500ms, 1m30s."
        elif name == REGION:
            self.region = value.decode("latin-1")
        elif name == CACHE:
            self.cache = _CACHE.get(value.lower(), "")
            if not self.cache:
                self.mistake = (
                    f"The header x-penstock-cache takes one of {', '.join(word.decode() for word in _CACHE)}."
                )
        elif name == TAGS:
            self._tag(value)

    def _tag(self, value: bytes) -> None:
        tags = [tag.strip() for tag in value.split(b",")]
        if len(tags) > MOST_TAGS or not all(map(_TAG.fullmatch, tags)):
            self.mistake = (
                f"The header x-penstock-cache-tags takes up to {MOST_TAGS} names of up to 64 letters, digits and"
                " any of _.:/@-, with commas between them."
            )
        else:
            self.tags = tuple(dict.fromkeys(tag.decode() for tag in tags))

    def bound(self, ceiling: int) -> None:
        """No higher than the key's ceiling: who asks for more gets the ceiling, as a wish is no right."""
        self.priority = max(self.priority, ceiling)


def _patience_s(value: bytes) -> float | None:
    try:
        found_s = parse_seconds(value[: _MOST_DIGITS + 1].decode("ascii"))
    except (ValueError, OverflowError):
        return None
    return found_s if found_s > 0 and len(value) <= _MOST_DIGITS else None
