"""Reads YAML into plain data, with the line of every value, and refuses what would surprise.

This room knows YAML and nothing of the configuration's fields. Scalars follow YAML 1.2's core schema (`no`, `on`,
`1:30` and dates are texts): PyYAML's 1.1 rules would turn a region `no` into false. Keys are always texts. A key
written twice is a mistake (PyYAML takes the last silently), tags are refused, depth and size with all aliases
expanded are bounded, so that neither `!!python/object` nor a billion laughs can do harm.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from penstock.config.mistakes import Path

MOST_CHARACTERS = 1 << 20
MOST_VALUES = 100_000
MOST_DEPTH = 32

_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class NotYaml(Exception):
    """The text is not YAML that we read; nothing more can be said about it."""

    def __init__(self, problem: str, line: int = 0, column: int = 0) -> None:
        where = f"line {line}, column {column}: " if line else ""
        super().__init__(f"{where}{problem}")


class Parsed(NamedTuple):
    """Plain data: dict, list, str, int, float, bool, None."""

    tree: Any
    lines: dict[Path, int]
    problems: list[tuple[Path, str]]
    """Mistakes that do not stop the reading: keys written twice, tags."""
    empty: frozenset[Path] = frozenset()
    """Where nothing stands behind a name, which YAML reads like a null that somebody wrote."""


class _Anchor(NamedTuple):
    value: Any
    size: int
    height: int


def parse(text: str) -> Parsed:
    """Read one YAML document. Raises NotYaml."""
    if len(text) > MOST_CHARACTERS:
        raise NotYaml(f"the text has {len(text):,} characters, at most {MOST_CHARACTERS:,} are read")
    try:
        return _Builder(yaml.parse(text, Loader=yaml.SafeLoader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.problem, f"({error.context})" if error.context else "") if part)
        raise NotYaml(f"this is not YAML: {problem}", *(_at(mark) if mark else ())) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise NotYaml(f"this is not YAML: {error.reason} (code point {error.character!r})", line, column) from None
    except (ValueError, OverflowError) as error:  # PyYAML's chr() and int() of what the text says, unguarded
        raise NotYaml(f"this is not YAML: {error}") from None


def _at(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _scalar(text: str) -> Any:
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text, 10 if text[:2] not in ("0o", "0x") else 0)
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"\.([inIN])", r"\1", text))
    return text


class _Builder:
    """Builds plain data from parser events; recursion is bounded by MOST_DEPTH."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, _Anchor] = {}
        self._size = 0
        self._deepest = 0
        self._lines: dict[Path, int] = {}
        self._problems: list[tuple[Path, str]] = []
        self._empty: set[Path] = set()

    def document(self) -> Parsed:
        tree, documents = None, 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise NotYaml("a second document begins here, expected only one", *_at(event.start_mark))
            elif isinstance(event, yaml.NodeEvent):
                tree = self._value(event, (), 0)
        return Parsed(tree, self._lines, self._problems, frozenset(self._empty))

    def _value(self, event: Any, path: Path, depth: int) -> Any:
        self._lines[path] = event.start_mark.line + 1
        self._grow(1, depth, event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None:
            self._problems.append((path, f"found the tag {event.tag!r}, expected a value without a tag"))
        size, outer, self._deepest = self._size, self._deepest, depth
        value = self._content(event, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(value, self._size - size + 1, self._deepest - depth)
        self._deepest = max(outer, self._deepest)
        return value

    def _content(self, event: Any, path: Path, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            _encodable(event)
            if not event.value and event.implicit[0]:
                self._empty.add(path)
            return _scalar(event.value) if event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                items.append(self._value(item, (*path, len(items)), depth + 1))
            return items
        return self._mapping(path, depth)

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: list[Any] = []
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise NotYaml("found a list, a mapping or an alias as a key, expected a text", *_at(key.start_mark))
            name = _encodable(key)
            if name == "<<" and key.implicit[0]:
                merged.append(self._value(next(self._events), (*path, name), depth + 1))
                continue
            if name in found:
                self._problems.append(((*path, name), f"written twice (also in line {self._lines[(*path, name)]})"))
            found[name] = self._value(next(self._events), (*path, name), depth + 1)
        return self._merge(found, merged, path)

    def _merge(self, found: dict[str, Any], merged: list[Any], path: Path) -> dict[str, Any]:
        for value in merged:
            for base in value if isinstance(value, list) else [value]:
                if isinstance(base, dict):
                    found = {**base, **found}
                else:
                    self._problems.append(((*path, "<<"), "expected a mapping, or a list of mappings, to merge"))
        return found

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Any:
        anchor = self._anchors.get(event.anchor or "")
        if anchor is None:
            raise NotYaml(f"*{event.anchor}: no anchor &{event.anchor} ends before this", *_at(event.start_mark))
        self._grow(anchor.size, depth + anchor.height, event)
        return copy.deepcopy(anchor.value)

    def _grow(self, size: int, depth: int, event: Any) -> None:
        self._size += size
        self._deepest = max(self._deepest, depth)
        if self._size > MOST_VALUES:
            raise NotYaml(f"more than {MOST_VALUES:,} values (aliases count each time)", *_at(event.start_mark))
        if depth > MOST_DEPTH:
            raise NotYaml(f"nested deeper than {MOST_DEPTH} levels", *_at(event.start_mark))


def _encodable(event: yaml.ScalarEvent) -> str:
    text: str = event.value
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotYaml("half of a surrogate pair, which is not a character", *_at(event.start_mark)) from None
    return text
