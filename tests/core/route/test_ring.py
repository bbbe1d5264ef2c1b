"""The ring: who leaves moves only its own keys, who comes takes only its share, and it is the same everywhere."""

from collections import Counter
from itertools import islice
from time import perf_counter

import pytest

from penstock.core.route.ring import Ring, hash_of, points_of

KEYS = [hash_of(f"key-{number}".encode()) for number in range(5000)]


def ring(*names: str, **weights: float) -> Ring:
    """A ring of these members."""
    made = Ring(150)
    made.become(dict.fromkeys(names, 1.0) | weights)
    return made


def owners(made: Ring) -> list[str]:
    """The owner of every key."""
    return [next(made.walk(key)) for key in KEYS]


def test_who_leaves_moves_only_its_own_keys() -> None:
    """Exactly: every key of another stays where it was, every key of the one that left moves."""
    made = ring(*"abcdefgh")
    before = owners(made)
    made.become(dict.fromkeys("abcdefg", 1.0))
    for was, now in zip(before, owners(made), strict=True):
        assert (now == was) if was != "h" else (now != "h")
    made.become(dict.fromkeys("abcdefgh", 1.0))
    assert owners(made) == before


def test_who_comes_takes_only_its_share() -> None:
    """A ninth member takes about a ninth of the keys, and no key moves between the others."""
    made = ring(*"abcdefgh")
    before = owners(made)
    made.become(dict.fromkeys("abcdefghi", 1.0))
    moved = [now for was, now in zip(before, owners(made), strict=True) if was != now]
    assert set(moved) == {"i"}
    assert len(moved) == pytest.approx(len(KEYS) / 9, rel=0.3)


def test_keys_spread_by_weight() -> None:
    """With 150 points each the fullest of eight has at most a third more than its share; twice the weight, twice the
    keys."""
    shares = Counter(owners(ring(*"abcdefgh")))
    assert max(shares.values()) < len(KEYS) / 8 * 1.34
    weighed = Counter(owners(ring(a=1.0, b=2.0, c=1.0)))
    assert weighed["b"] == pytest.approx(len(KEYS) / 2, rel=0.15)


def test_a_new_weight_moves_keys_only_to_or_from_its_member() -> None:
    """More weight adds points to those that are there."""
    made = ring(a=1.0, b=1.0, c=1.0)
    before = owners(made)
    made.become({"a": 1.0, "b": 2.0, "c": 1.0})
    assert {now for was, now in zip(before, owners(made), strict=True) if was != now} == {"b"}


def test_places_are_the_same_on_every_machine() -> None:
    """Literal values: blake2b, not Python's own hash, which differs from process to process."""
    assert hash_of(b"key") == 14878992315609337077
    assert points_of("a", 2) == points_of("a", 150)[:2]
    assert [next(ring("a", "b", "c").walk(hash_of(b"%d" % n))) for n in range(8)] == list("cbabccbc")


def test_a_walk_meets_everybody_once_around() -> None:
    """It begins at the owner and ends after every point, wherever it began."""
    made = ring("a", "b", "c")
    for key in (0, KEYS[0], (1 << 64) - 1):
        met = list(made.walk(key))
        assert len(met) == 450
        assert set(met) == set("abc")
    assert list(Ring(10).walk(5)) == []


@pytest.mark.slow
def test_a_thousand_members_are_cheap() -> None:
    """A look-up is far below 100 µs and one member more or less far below a second, on any machine."""
    names = [f"replica-{number}" for number in range(1000)]
    made = ring(*names)
    begun = perf_counter()
    for key in KEYS[:1000]:
        next(islice(made.walk(key), 1))
    assert perf_counter() - begun < 0.1
    begun = perf_counter()
    made.become(dict.fromkeys(names[1:], 1.0))
    made.become(dict.fromkeys(names, 1.0))
    assert perf_counter() - begun < 1.0
    assert len(made) == 150_000
