"""The cache as the Gate asks it."""

from penstock.base.contents import Content
from penstock.core.cache.cache import Cache
from penstock.core.cache.spec import CacheRule, CacheSpec
from penstock.core.catalog import Target
from penstock.core.flight import Flight
from tests.core.playbook import call


def flight(id: str, **fields: object) -> Flight:
    """A call on its way to the model m."""
    return Flight(call(id, content=Content("d", fixed=True, tags=("t",)), **fields), (Target("main", "m"),), 0.0)


def test_a_rule_says_how_long() -> None:
    """Else the cache's own time holds."""
    cache = Cache(CacheSpec(rules=(CacheRule(tenant="x", ttl_s=5.0),)), False)
    assert cache.lead("a", flight("c1", tenant="x")).ttl_s == 5.0
    assert cache.lead("b", flight("c2")).ttl_s == 3600.0


def test_who_leads_last_leads() -> None:
    """What began before is not kept, and its end closes nothing."""
    cache = Cache(CacheSpec(), False)
    old, new = cache.lead("a", flight("c1")), cache.lead("a", flight("c2"))
    assert (old.keep, new.keep) == (False, True)
    cache.close(old)
    assert cache.sharings == {"a": new}
    cache.close(new)
    assert cache.sharings == {}


def test_the_numbers_for_people() -> None:
    """Who leads, who follows, what is kept."""
    cache = Cache(CacheSpec(), False)
    sharing = cache.lead("a", flight("c1"))
    sharing.followers[flight("c2")] = None
    cache.index.add("b", cache.entry(sharing, 100, 0.0, 60.0))
    view = cache.view()
    assert (view.leading, view.following, view.entries, view.bytes, view.kept) == (1, 1, 1, 100, 1)


def test_other_settings_keep_what_can_still_be_found() -> None:
    """Another time to live changes nothing that is kept; another version, or isolation, all of it."""
    cache = Cache(CacheSpec(), False)
    cache.index.add("b", cache.entry(cache.lead("a", flight("c1")), 100, 0.0, 60.0))
    assert cache.respec(CacheSpec(ttl_s=5.0), True) == ()
    assert cache.looks_up
    assert cache.respec(CacheSpec(isolate=False), True) == ("b",)
