"""The cache as one part of a gateway."""

from penstock.base.contents import CacheView
from penstock.core.events import Event, Invalidated
from penstock.gateway.caching import Caching

VIEW = CacheView(
    entries=3, bytes=30, calls={}, kept=3, evicted=0, expired=0, invalidated=0, leading=0, following=0
)  # fmt: skip


def test_how_many_answers_were_put_out_of_use_is_told() -> None:
    """Those that were kept here."""
    views = [VIEW, CacheView(**{**{name: getattr(VIEW, name) for name in VIEW.__struct_fields__}, "entries": 1})]
    told: list[Event] = []
    assert Caching(lambda: views[len(told)], told.append).invalidate(Invalidated(tag="t")) == 2
    assert told == [Invalidated(tag="t")]


def test_without_a_cache_there_is_none() -> None:
    """And none is put out of use."""
    assert Caching(lambda: None, lambda event: None).invalidate(Invalidated()) == 0
