"""What all blocks that people write have in common: fields by name, none that nobody knows, and a word about each."""

from msgspec import Meta, Struct


class Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A block of a file."""


def doc(text: str) -> Meta:
    """What a field means: error messages, the JSON Schema and the reference pages tell it."""
    return Meta(description=text)
