"""Every engine that a configuration may name has a dialect."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.dialects.registry import DIALECTS, dialect_of
from penstock.base.nouns import WITHOUT_STATS, Engine

DATA = Path(__file__).parent / "data"


def test_every_engine_has_its_dialect() -> None:
    """The dialects are exactly the engines of the configuration."""
    assert {name: dialect_of(name).name for name in DIALECTS} == {name: name for name in get_args(Engine)}


def test_an_unknown_engine_is_an_error_that_names_the_known() -> None:
    """A wrong name is told with the right ones."""
    with pytest.raises(ValueError, match="known are generic, vllm"):
        dialect_of("vlm")


def test_who_has_no_stats_is_never_asked() -> None:
    """The core asks exactly those engines for their numbers that have a page of them."""
    assert {name for name, dialect in DIALECTS.items() if dialect.stats_path is None} == WITHOUT_STATS


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_paths_can_be_asked(name: str) -> None:
    """Every path starts at the root, so that it can follow a replica's base path."""
    dialect = dialect_of(name)
    assert all(path.startswith("/") for path in (dialect.health_path, dialect.models_path, dialect.stats_path or "/"))


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_only_success_is_alive(name: str) -> None:
    """No dialect takes an error of the server, or a redirection, for life."""
    dialect = dialect_of(name)
    assert dialect.alive(200)
    assert not any(dialect.alive(status) for status in (301, 429, 500, 502, 503))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100), st.integers(0, 3000))
def test_nothing_but_value_error(noise: bytes, at: int) -> None:
    """Whatever page a replica sends to whomever, reading ends in facts or in ValueError."""
    for file in sorted(DATA.iterdir()):
        page = file.read_bytes()[-4000:]
        for dialect in DIALECTS.values():
            for read in (dialect.stats, dialect.models):
                for body in (page, page[:at] + noise + page[at:], page[:at] + noise):
                    try:
                        read(body)
                    except ValueError:
                        pass
