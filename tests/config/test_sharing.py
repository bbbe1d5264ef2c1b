"""Where a store is stands in the file; what is read of it reaches the part that shares."""

from penstock.config.sharing import CacheConf, SharedConf
from penstock.core.cache.spec import CacheSpec
from penstock.core.limits.spec import SharedSpec


def test_a_store_is_added_and_nothing_else_changes() -> None:
    """The blocks of the file are the parts' own settings, with the same defaults, and the store beside them."""
    for conf, spec in ((CacheConf(), CacheSpec()), (SharedConf(store="redis://r"), SharedSpec())):
        assert {name: getattr(conf, name) for name in spec.__struct_fields__} == {
            name: getattr(spec, name) for name in spec.__struct_fields__
        }
    assert set(CacheConf.__struct_fields__) - set(CacheSpec.__struct_fields__) == {"redis"}
    assert set(SharedConf.__struct_fields__) - set(SharedSpec.__struct_fields__) == {"store"}
