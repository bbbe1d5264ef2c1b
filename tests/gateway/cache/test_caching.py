"""The cache as one part of a gateway."""

import asyncio
import sys
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.base.contents import CacheView
from penstock.core.cache.spec import CacheSpec
from penstock.core.events import Event, Invalidated
from penstock.gateway.cache.caching import Caching
from penstock.gateway.cache.shelf import Shelf

VIEW = CacheView(
    entries=3, bytes=30, calls={}, kept=3, evicted=0, expired=0, invalidated=0, leading=0, following=0
)  # fmt: skip


class Plane:
    """Enough of a data plane."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.cache = CacheSpec()
        self.keeper: Any = None
        self.similar: Any = None


async def soon() -> None:
    """Everything is as of now."""


def test_how_many_answers_were_put_out_of_use_is_told() -> None:
    """Those that were kept here; nobody else has any."""
    views = [VIEW, replace(VIEW, entries=1)]
    told: list[Event] = []
    caching = Caching(lambda: views[len(told)], told.append, Plane(), soon)
    assert asyncio.run(caching.invalidate(Invalidated(tag="t"))) == (2, None)
    assert told == [Invalidated(tag="t")]
    assert caching.metrics() == {}


def test_without_a_cache_there_is_none() -> None:
    """And none is put out of use."""
    caching = Caching(lambda: None, lambda event: None, Plane(), soon)
    caching.open(None)
    assert asyncio.run(caching.invalidate(Invalidated())) == (0, None)
    asyncio.run(caching.close())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what would bring it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    for name in ("penstock.gateway.cache.elsewhere", "penstock.adapters.stores.shared_cache", "redis.asyncio"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(OSError, match=r"penstock\[redis\]"):
        Caching(lambda: None, lambda event: None, Plane(), soon).open("redis://host")
