"""The index: bounded, whatever comes; the least recently used goes first."""

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.cache.index import Entry, Index
from penstock.core.cache.spec import CacheSpec


def entry(size: int = 10, until: float = 100.0, **fields: object) -> Entry:
    """One."""
    return Entry(size, 0.0, until, **{"tenant": "x", "model": "m", "tags": (), **fields})  # type: ignore[arg-type]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60), st.booleans()), max_size=60))
def test_bounds_hold_and_bytes_are_right(steps: list[tuple[int, int, bool]]) -> None:
    """After any sequence of keeping and asking; and a model of it that is a plain list agrees about who is left."""
    index = Index(CacheSpec(entries=4, memory_bytes=100, largest_bytes=50))
    model: list[tuple[str, int]] = []
    for number, size, asks in steps:
        key = str(number)
        if asks:
            there = [one for one in model if one[0] == key]
            assert (index.get(key, 0.0) is not None) is bool(there)
            model = [one for one in model if one[0] != key] + there
        elif index.takes(size):
            model = [one for one in model if one[0] != key] + [(key, size)]
            gone = []
            while len(model) > 4 or sum(size for _, size in model) > 100:
                gone.append(model.pop(0)[0])
            assert index.add(key, entry(size)) == tuple(gone)
        else:
            assert size > 50
        assert (len(index), index.bytes) == (len(model), sum(size for _, size in model))


def test_what_is_too_old_is_not_given() -> None:
    """It goes when somebody asks for it."""
    index = Index(CacheSpec())
    index.add("a", entry(until=5.0))
    assert index.get("a", 4.9) is not None
    assert not index.lapsed("a", 4.9)
    assert index.get("a", 5.0) is None
    assert index.lapsed("a", 5.0)
    assert (len(index), index.expired) == (0, 1)
    assert not index.lapsed("a", 5.0)


def test_smaller_bounds_let_go() -> None:
    """At once, the least recently used first."""
    index = Index(CacheSpec())
    for name in "abc":
        index.add(name, entry())
    index.spec = CacheSpec(entries=1)
    assert index.shrink() == ("a", "b")


def test_dropping_by_what_is_named() -> None:
    """All of it must match."""
    index = Index(CacheSpec())
    index.add("a", entry(tags=("t",)))
    index.add("b", entry(tags=("t",), tenant="y"))
    index.add("c", entry(model="n"))
    assert index.drop("t", None, "y") == ("b",)
    assert index.drop(None, "n", None) == ("c",)
    assert index.drop(None, None, None) == ("a",)
    assert (len(index), index.bytes, index.invalidated) == (0, 0, 3)
