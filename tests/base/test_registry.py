"""Registries make unions of tagged specs and refuse two of one name."""

from importlib.metadata import EntryPoint

import msgspec
import pytest

from penstock.base import registry
from penstock.base.registry import Registry, tag_of


class One(msgspec.Struct, frozen=True, tag="one", tag_field="kind"):
    """A spec."""


class Two(msgspec.Struct, frozen=True, tag="two", tag_field="kind"):
    """Another, with a setting."""

    size: int = 2


class Impostor(msgspec.Struct, frozen=True, tag="one", tag_field="kind"):
    """A third with the first one's tag."""


class Bare(msgspec.Struct):
    """No tag at all."""


def test_specs_are_found_by_their_tags() -> None:
    """In the order in which they were given."""
    made = Registry("thing", [Two, One])
    assert made.names() == ["two", "one"]
    assert made.spec("one") is One
    with pytest.raises(KeyError):
        made.spec("three")


def test_the_union_reads_each_by_its_tag() -> None:
    """msgspec picks the spec by `kind`, and refuses unknown kinds."""
    union = Registry("thing", [One, Two]).union()
    assert msgspec.convert({"kind": "two", "size": 5}, union) == Two(5)
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.convert({"kind": "three"}, union)


def test_two_specs_cannot_share_a_tag() -> None:
    """The second is refused by name; the same one twice is no mistake."""
    made = Registry("thing", [One])
    made.add(One)
    with pytest.raises(ValueError, match="two thing specs are tagged 'one': One, Impostor"):
        made.add(Impostor)
    assert made.names() == ["one"]


def test_a_spec_needs_a_tag() -> None:
    """Without one it could not be named in a file."""
    with pytest.raises(TypeError, match="Bare has no tag"):
        tag_of(Bare)


def test_installed_packages_may_offer_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point `{kind}.{tag}` of our group is taken; those of other kinds are left alone."""
    offered = [
        EntryPoint("thing.two", f"{__name__}:Two", registry.GROUP),
        EntryPoint("other.bare", f"{__name__}:Bare", registry.GROUP),
    ]
    monkeypatch.setattr(EntryPoint, "load", lambda point: {"Two": Two, "Bare": Bare}[point.attr])
    monkeypatch.setattr(registry, "entry_points", lambda group: offered if group == "penstock.extensions" else [])
    made = Registry("thing", [One])
    made.add_installed()
    assert made.names() == ["one", "two"]
