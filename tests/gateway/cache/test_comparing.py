"""Whether questions in other words are compared here: by whom, and what is said where a package is missing."""

import asyncio
import logging
from importlib.machinery import ModuleSpec
from typing import Any, cast

import pytest

from penstock.core.cache.spec import SemanticSpec
from penstock.gateway.cache import comparing
from penstock.gateway.cache.comparing import House, comparer, missing
from penstock.gateway.cache.shelf import Shelf

MODEL = SemanticSpec(model="embed")


class Ground:
    """Enough of a data plane."""

    def __init__(self) -> None:
        self.similar: Any = None
        self.shelf = Shelf()
        self.told: list[Any] = []
        self.tell = self.told.append


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """These packages are not there; all others are."""

    def find(name: str) -> ModuleSpec | None:
        return None if name in names else ModuleSpec(name, None)

    monkeypatch.setattr(comparing, "find_spec", find)


def test_what_is_missing_is_told_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A served model needs no local one."""
    without(monkeypatch, "wordllama")
    assert missing(None) == missing(MODEL) == ""
    assert "pip install 'penstock[semantic]'" in missing(SemanticSpec())
    without(monkeypatch, "numpy")
    assert "numpy" in missing(MODEL)


def test_a_reload_that_lacks_a_package_goes_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That is logged once; the gateway serves."""
    without(monkeypatch, "wordllama")
    with caplog.at_level(logging.ERROR, "penstock.cache"):
        comparing._complain.cache_clear()
        for _ in range(3):
            assert comparer(cast("House", Ground()), SemanticSpec()) is None
    assert [record.message.count("penstock[semantic]") for record in caplog.records] == [1]
    assert comparer(cast("House", Ground()), None) is None


async def changed() -> list[bool]:
    """Whether it is the same as before, after each change of the settings."""
    ground = Ground()
    kept = []
    for spec in (MODEL, SemanticSpec(model="embed", threshold=0.5, mode="all"), SemanticSpec(model="other"), None):
        found = comparer(cast("House", ground), spec)
        kept.append(found is ground.similar)
        ground.similar = found
    return kept


def test_new_settings_keep_what_they_can() -> None:
    """Another threshold needs no new vectors, another model does; without settings nobody compares."""
    pytest.importorskip("numpy", reason="the extra `semantic` is not installed")
    assert asyncio.run(changed()) == [False, True, False, False]
