"""Every engine that a configuration may name has a dialect."""

from typing import get_args

import pytest

from penstock.adapters.dialects.registry import DIALECTS, dialect_of
from penstock.base.nouns import Engine


def test_every_engine_has_its_dialect() -> None:
    """The dialects are exactly the engines of the configuration."""
    assert {name: dialect_of(name).name for name in DIALECTS} == {name: name for name in get_args(Engine)}


def test_an_unknown_engine_is_an_error_that_names_the_known() -> None:
    """A wrong name is told with the right ones."""
    with pytest.raises(ValueError, match="known are generic, vllm"):
        dialect_of("vlm")
