"""The tables of words: forms are found, and each pair has two sides."""

from penstock.core.cache.opposites import NUMBERS, POLES, UNITS, stem


def test_all_forms_of_a_word_are_one() -> None:
    """As far as the tables need it."""
    assert {stem(word) for word in ("stop", "stops", "stopped", "stopping")} == {"stop"}
    assert {stem(word) for word in ("enable", "enables", "enabled", "enabling")} == {"enabl"}


def test_no_word_is_its_own_opposite() -> None:
    """Otherwise nothing could be asked with it."""
    for poles in POLES.values():
        assert len({pair for pair, _ in poles}) == len(poles)
    sides = [pole for poles in POLES.values() for pole in poles]
    assert all((pair, not side) in sides for pair, side in sides)


def test_words_for_numbers_and_units_have_one_name() -> None:
    """Twelve is a dozen, and kilometres are km."""
    assert (NUMBERS["twelve"], NUMBERS["dozen"], NUMBERS["million"]) == ("12", "12", "1000000")
    assert UNITS["kilometres"] == UNITS["km"] == "km"
    assert UNITS["inches"] == "in"
