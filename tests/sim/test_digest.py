"""The digest of a run: what it tells apart, and what it does not."""

from math import inf, nextafter

from penstock.base.nouns import EngineStats
from penstock.core.effects import Send
from penstock.core.events import Began, Ended, Event, Observed, Woke
from penstock.sim.digest import Digest, whole


def digest(*turns: tuple[float, Event]) -> str:
    """Of turns of which nothing follows."""
    made = Digest()
    for now, event in turns:
        made.observe(now, event, [])
    return made.text()


def test_every_part_of_a_turn_counts() -> None:
    """Another time, another fact, another field, another order, another sequence: another digest."""
    send = Digest()
    send.observe(1.0, Woke(), [Send("c", 1, "r", "m", 1.0, 2.0, inf, 0.0)])
    found = [
        digest((1.0, Woke())), digest((1.000000001, Woke())), digest((1.0, Began("c", 1))),
        digest((1.0, Began("c", 2))),
        digest((1.0, Woke()), (1.0, Began("c", 1))), digest((1.0, Began("c", 1)), (1.0, Woke())), digest(), send.text(),
    ]  # fmt: skip
    assert len(set(found)) == len(found)


def test_the_last_bit_of_a_float_does_not_count() -> None:
    """Times and shares that differ by less than a billionth are equal: another mathematical library may give them."""
    one, other = 12.3456789, nextafter(12.3456789, inf)
    assert one != other
    seen = [Observed("r", EngineStats(kv_usage=share)) for share in (0.3, nextafter(0.3, 1.0))]
    assert digest((one, seen[0])) == digest((other, seen[1]))


def test_whole_numbers_and_texts_stay_as_they_are() -> None:
    """Only what has a fraction is scaled, at any depth; what is no number has its name."""
    assert whole({"a": [1, 0.5, "x", None, (2.0, True)], "b": inf}) == {
        "a": [1, 500_000_000, "x", None, [2_000_000_000, True]], "b": "inf"
    }  # fmt: skip


def test_equal_facts_are_equal_digests() -> None:
    """Made twice, of equal parts."""
    assert digest((2.0, Ended("c", 1, 200))) == digest((2.0, Ended("c", 1, 200)))
