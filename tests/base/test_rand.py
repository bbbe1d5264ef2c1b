"""Streams of chance are fixed by seed and name and do not disturb each other."""

from penstock.base.rand import Rand


def test_a_stream_is_the_same_every_time() -> None:
    """Known first numbers: a change of the derivation would silently change every recorded run."""
    assert [Rand(1).stream("a").random() for _ in range(2)] == [Rand(1).stream("a").random()] * 2
    assert Rand(7).stream("backoff").random() == 0.8669770741795376
    assert Rand(7).child("main").stream("ties").random() == 0.3343384883270699


def test_streams_differ_by_seed_and_by_name() -> None:
    """No two of many streams begin alike."""
    streams = [Rand(seed).stream(name) for seed in range(10) for name in ("a", "b", "ab", "a/b", "")]
    streams += [Rand(seed).child(name).stream("a") for seed in range(10) for name in ("a", "b", "")]
    assert len({stream.random() for stream in streams}) == 80


def test_a_stream_is_not_moved_by_another() -> None:
    """What one consumer draws, the other's luck stays the same."""
    rand = Rand(3)
    alone = rand.stream("x").random()
    for _ in range(100):
        rand.stream("y").random()
    assert rand.stream("x").random() == alone


def test_a_child_is_a_tree_of_its_own() -> None:
    """A child's streams are its own, though they have the parent's names."""
    rand = Rand(3)
    assert rand.child("p").stream("x").random() != rand.stream("x").random()
    assert rand.child("p").seed == Rand(3).child("p").seed
    assert rand.child("p").child("q").seed != rand.child("q").child("p").seed
