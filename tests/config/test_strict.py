"""Blocks that people write."""

from typing import Annotated

import msgspec
import pytest

from penstock.config.strict import Strict, doc


class Block(Strict, frozen=True, kw_only=True):
    """One of them."""

    size: Annotated[int, doc("how large")] = 1


def test_a_field_that_nobody_knows_is_a_mistake() -> None:
    """A typing error is told, not passed over."""
    assert msgspec.convert({"size": 2}, Block) == Block(size=2)
    with pytest.raises(msgspec.ValidationError, match="unknown field `sise`"):
        msgspec.convert({"sise": 2}, Block)


def test_what_a_field_means_stands_in_the_schema() -> None:
    """Where editors and the reference page find it."""
    schema = msgspec.json.schema(Block)["$defs"]["Block"]
    assert schema["properties"]["size"]["description"] == "how large"
