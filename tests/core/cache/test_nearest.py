"""The most similar of the kept questions: found, bounded, and gone when its answer is."""

from random import Random

import pytest

pytest.importorskip("numpy", reason="the extra `semantic` is not installed")

from penstock.core.cache.marks import marks_of
from penstock.core.cache.nearest import MOST_TRIED, Nearest, Vector, unit


def vector(*values: float) -> Vector:
    """Of the length 1."""
    found = unit(values)
    assert found is not None
    return found


def test_the_most_similar_one_of_its_frame_is_found() -> None:
    """With its cosine; another frame's is none."""
    nearest = Nearest(10)
    nearest.add("a", "f", vector(1, 0))
    nearest.add("b", "f", vector(1, 1))
    nearest.add("c", "other", vector(0, 1))
    key, similarity = nearest.find("f", vector(0, 2))
    assert (key, round(similarity, 4)) == ("b", 0.7071)
    key, similarity = nearest.find("f", vector(3, 0))
    assert (key, round(similarity, 4)) == ("a", 1.0)
    assert nearest.find("none", vector(1, 0)) == ("", 0.0)
    assert nearest.find("f", vector(1, 0, 0)) == ("", 0.0)


def test_marks_that_differ_are_passed_over() -> None:
    """The next one that does not is found; of very many like that, none."""
    nearest = Nearest(100)
    nearest.add("other port", "f", vector(1, 0), marks_of("Open port 1"))
    nearest.add("this port", "f", vector(1, 1), marks_of("Please open port 2"))
    assert nearest.find("f", vector(1, 0), marks_of("Open port 2"))[0] == "this port"
    for number in range(MOST_TRIED):
        nearest.add(str(number), "f", vector(1, number / 1000), marks_of(f"Open port {number + 9}"))
    assert nearest.find("f", vector(1, 0), marks_of("Open port 2"))[0] == ""


def test_there_is_room_for_so_many_of_a_frame() -> None:
    """The oldest goes; the same key again is not one more."""
    nearest = Nearest(3)
    at = {key: vector(1, number) for number, key in enumerate("abcde")}
    for key in ("a", "b", "a", "c", "d", "e"):
        nearest.add(key, "f", at[key])
    assert len(nearest) == 3
    assert [nearest.find("f", at[key])[0] for key in "abcde"] == ["c", "c", "c", "d", "e"]
    nearest.add("x", "g", vector(1, 0))
    assert len(nearest) == 4


def test_what_goes_is_not_found_any_more() -> None:
    """Whatever comes and goes, the most similar one of those that are there is found, as without an index."""
    rand, nearest, kept = Random(1), Nearest(1000), dict[str, Vector]()
    for number in range(300):
        key = str(number)
        kept[key] = vector(*(rand.random() - 0.5 for _ in range(4)))
        nearest.add(key, "f", kept[key])
        if number % 3 == 2:
            gone = rand.choice(sorted(kept))
            nearest.drop((gone, "never there"))
            del kept[gone]
        asked = vector(*(rand.random() - 0.5 for _ in range(4)))
        assert nearest.find("f", asked)[0] == max(kept, key=lambda key: float(kept[key] @ asked))
    nearest.drop(tuple(kept))
    assert (len(nearest), nearest.find("f", vector(1, 0, 0, 0))) == (0, ("", 0.0))


def test_vectors_of_another_length_begin_anew() -> None:
    """Another model gives them: nothing can be compared with what was kept."""
    nearest = Nearest(10)
    nearest.add("a", "f", vector(1, 0))
    nearest.add("b", "f", vector(1, 0, 0))
    assert (len(nearest), nearest.find("f", vector(1, 0, 0))[0]) == (1, "b")


@pytest.mark.parametrize("values", [(), (0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0), (1e300, 1e300)])
def test_what_has_no_direction_is_no_vector(values: tuple[float, ...]) -> None:
    """Nothing could be said of its similarity."""
    assert unit(values) is None


def test_what_are_no_numbers_is_no_vector() -> None:
    """An engine may answer anything."""
    assert unit([[1.0], [2.0, 3.0]]) is None  # type: ignore[list-item]
    assert unit([[1.0], [2.0]]) is None  # type: ignore[list-item]
