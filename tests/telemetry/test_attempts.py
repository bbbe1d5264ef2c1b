"""Tables of attempts: what is taken out is gone, what is moved keeps its numbers, and other calls' stay."""

from penstock.telemetry.attempts import Name, moved, taken


def table() -> dict[Name, str]:
    """Three attempts of one call, and one of another whose name begins alike."""
    return {"c1": "a", ("c1", 2): "b", ("c1", 3): "c", "c12": "d"}


def test_all_attempts_of_a_call_are_taken_in_their_order() -> None:
    """And of a call that has none, none."""
    made = table()
    assert taken(made, "c1") == ["a", "b", "c"]
    assert made == {"c12": "d"}
    assert taken(made, "c1") == []


def test_moved_attempts_keep_their_numbers() -> None:
    """They stand under the other call's name; of a call without attempts nothing moves."""
    made = table()
    moved(made, "c1", "c9")
    moved(made, "c5", "c6")
    assert made == {"c9": "a", ("c9", 2): "b", ("c9", 3): "c", "c12": "d"}
