"""Prometheus' text format, read for a few named numbers out of a large page. Knows no engine and no names.

Pure. The page comes from another process, which may be broken or hostile: what it may make us remember is bounded, and
nothing but ValueError is raised. Searching for a name costs an eighth of reading every line.
"""

import math
import re
from typing import NamedTuple

MAX_COUNT = 1e15
"""A larger number of requests or tokens is nonsense (and floats stop counting exactly soon after)."""
MAX_SAMPLES = 10_000
"""Samples of one name; the largest deployments have some hundreds of ranks."""

# What follows the name in a sample line: labels in braces (their quoted values may hold anything), the value, perhaps a
# time. Source: the exposition formats page of Prometheus' documentation, version 0.0.4.
_REST = re.compile(rb'(?:\{((?:[^"\n}]|"(?:[^"\\\n]|\\.)*")*)\})?[ \t]+(\S+)')
_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\\n]|\\.)*)"')
_ESCAPED = re.compile(rb"\\(.)")


class Sample(NamedTuple):
    """One line of a page, without its name."""

    labels: dict[str, str]
    value: float


class Page:
    """A page of metrics."""

    __slots__ = ("_text",)

    def __init__(self, body: bytes) -> None:
        self._text = b"\n" + body

    def samples(self, *names: str, **labels: str) -> list[Sample]:
        """The samples of the first of these names that is there, with all of these labels. Raises ValueError."""
        for name in names:
            found = self._samples(name.encode())
            if labels:
                wanted = labels.items()
                found = [sample for sample in found if wanted <= sample.labels.items()]
            if found:
                return found
        return []

    def count(self, *names: str, **labels: str) -> int | None:
        """Their sum; None: there is none, or a number that cannot be a count. Raises ValueError."""
        return total([sample.value for sample in self.samples(*names, **labels)])

    def share(self, *names: str, **labels: str) -> float | None:
        """Their mean, 0..1; None: there is none, or a number that cannot be a share. Raises ValueError."""
        return mean_share([sample.value for sample in self.samples(*names, **labels)])

    def _samples(self, name: bytes) -> list[Sample]:
        found: list[Sample] = []
        line = b"\n" + name
        at = self._text.find(line)
        while at >= 0:
            rest = _REST.match(self._text, at + len(line))
            if rest is not None:
                found.append(Sample(_labels(rest[1] or b""), float(rest[2])))
                if len(found) > MAX_SAMPLES:
                    raise ValueError(f"more than {MAX_SAMPLES} samples of {name.decode()}")
            at = self._text.find(line, at + len(line))
        return found


def total(values: list[float]) -> int | None:
    """The sum of counts; None: there is none, or one cannot be a count."""
    if not values or not all(0 <= value <= MAX_COUNT for value in values):  # NaN compares false
        return None
    return int(math.fsum(values))


def mean_share(values: list[float]) -> float | None:
    """The mean of shares; None: there is none, or one is not within 0..1."""
    if not values or not all(0 <= value <= 1 for value in values):
        return None
    return math.fsum(values) / len(values)


def _labels(text: bytes) -> dict[str, str]:
    return {name.decode(): _unescaped(value) for name, value in _LABEL.findall(text)}


def _unescaped(value: bytes) -> str:
    if b"\\" in value:
        value = _ESCAPED.sub(lambda found: b"\n" if found[1] == b"n" else found[1], value)
    return value.decode(errors="replace")
