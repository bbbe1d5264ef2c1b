"""Registries: a named set of tagged specs, built-in ones listed explicitly, others by entry point.

A spec is a frozen msgspec Struct with a tag (its `kind` in the configuration). A registry makes the union of all of
them, from which the configuration gets path-exact errors and its JSON Schema. No import has a side effect: built-ins
are listed where the registry is made, third parties are found by the entry-point group `penstock.extensions`.
"""

from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any, Final, Union

import msgspec

GROUP: Final = "penstock.extensions"


def tag_of(spec: type[msgspec.Struct]) -> str:
    """The word that names this spec in a configuration file."""
    tag = spec.__struct_config__.tag
    if not isinstance(tag, str):
        raise TypeError(f"{spec.__name__} has no tag: declare it with `tag='its_name', tag_field='kind'`")
    return tag


class Registry:
    """The specs of one kind of component (strategies, dialects…), by tag."""

    def __init__(self, kind: str, builtins: Iterable[type[msgspec.Struct]]) -> None:
        self.kind = kind
        self._specs: dict[str, type[msgspec.Struct]] = {}
        for spec in builtins:
            self.add(spec)

    def add(self, spec: type[msgspec.Struct]) -> None:
        """Take one more spec. Raises ValueError when its tag is taken by another."""
        tag = tag_of(spec)
        if self._specs.setdefault(tag, spec) is not spec:
            raise ValueError(f"two {self.kind} specs are tagged {tag!r}: {self._specs[tag].__name__}, {spec.__name__}")

    def add_installed(self) -> None:
        """Take the specs that installed packages offer as `penstock.extensions`, named `{kind}.{tag}`."""
        for point in entry_points(group=GROUP):
            if point.name.split(".")[0] == self.kind:
                self.add(point.load())

    def names(self) -> list[str]:
        """All tags, in the order of registration."""
        return list(self._specs)

    def spec(self, tag: str) -> type[msgspec.Struct]:
        """The spec of this tag. Raises KeyError."""
        return self._specs[tag]

    def union(self) -> Any:
        """The union of all specs, as a type for msgspec."""
        return Union[tuple(self._specs.values())]  # noqa: UP007 - only Union takes a tuple made at run time
