"""What the semantic cache gets right and wrong is counted as it says, and is as the docs say."""

import pytest

pytest.importorskip("wordllama", reason="the extra `semantic` is not installed")

from bench.semantic import Judged, Pair, crossed, embedder, judge, read_pairs, rows
from penstock.adapters.embedders.local import Local
from penstock.core.cache.nearest import Vector, unit
from penstock.core.cache.spec import SemanticSpec

pytestmark = pytest.mark.slow


def test_hits_are_counted_by_what_the_pairs_are() -> None:
    """The guard takes away what it sees, right or wrong; precision weighs both kinds alike."""
    judged = [
        Judged(Pair("first", kind, "a", "b"), similarity, mark)
        for kind, similarity, mark in [
            ("same", 0.95, ""), ("same", 0.95, "names"), ("same", 0.5, ""), ("same", 0.9, ""),
            ("number", 0.99, "numbers"), ("topic", 0.91, ""), ("topic", 0.2, ""), ("order", 0.1, ""),
        ]
    ]  # fmt: skip
    without, guarded = rows(judged, (0.9,))
    assert (without.true_hits, without.false_hits, without.kinds) == (3, 2, {"number": 1, "topic": 1})
    assert (guarded.true_hits, guarded.false_hits, guarded.kinds) == (2, 1, {"topic": 1})
    assert guarded.precision == pytest.approx(2 / 3)
    assert rows(judged, (1.0,))[0].precision is None


def test_all_other_pairs_are_looked_at() -> None:
    """But for those that are the same by way of others, and those that are judged already."""
    pairs = [
        Pair("first", kind, *texts) for kind, *texts in [("same", "a", "b"), ("same", "b", "c"), ("topic", "a", "d d")]
    ]

    def vector(text: str) -> Vector:
        found = unit((1.0, 0.0))
        assert found is not None
        return found

    count, passed = crossed([*pairs, Pair("first", "number", "e 1", "e 2")], vector, 0.9)
    assert (count, len(passed)) == (2 + 4 * 2, 2)


def test_the_pairs_are_many_and_each_is_there_once() -> None:
    """Over 200, hard ones of every kind."""
    pairs = read_pairs()
    assert len(pairs) > 300
    assert len({(pair.one, pair.other) for pair in pairs}) == len(pairs)
    kinds = {"same", "number", "unit", "negation", "opposite", "name", "order", "quoted", "topic"}
    assert {pair.kind for pair in pairs} == kinds
    assert {pair.part for pair in pairs} == {"first", "second"}


def test_what_the_docs_say_of_it_holds() -> None:
    """At the default threshold: without the guard more than a third of the hits would be wrong; with it next to none
    are, and a good third of the same questions of the second set are found."""
    judged = judge(read_pairs(), embedder(Local()))
    found = {(row.part, row.guard): row for row in rows(judged, (SemanticSpec().threshold,))}
    assert (found["first", False].precision or 0) < 2 / 3
    for part in ("first", "second"):
        assert (found[part, True].precision or 0) > 0.95
    assert found["second", True].true_hits / found["second", True].same > 0.35
