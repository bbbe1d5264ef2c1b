"""What prompts are believed to have: never far below what they had."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.core.limits.estimates import HIGHEST, MOST_CLASSES, REMEMBERED, Estimates


def test_what_is_unknown_is_taken_for_much() -> None:
    """Four times the guess is a token for every byte; the typical prompt is as guessed."""
    estimates = Estimates()
    assert estimates.high("m", 100) == 400
    assert estimates.typical("m", 100) == 100


def test_it_sinks_towards_what_engines_say() -> None:
    """Prompts of a third of the guess: after twenty the hold is near, and never below."""
    estimates = Estimates()
    highs = []
    for _ in range(20):
        estimates.learn("m", 30, 10)
        highs.append(estimates.high("m", 30))
    assert highs == sorted(highs, reverse=True)
    assert 10 <= highs[-1] <= 12
    assert estimates.typical("m", 30) == 10


def test_it_jumps_to_what_is_more() -> None:
    """One prompt of more tokens than was believed possible is enough."""
    estimates = Estimates()
    estimates.learn("m", 30, 300)
    assert estimates.high("m", 30) == 300


def test_a_run_of_one_kind_does_not_hide_another() -> None:
    """Chats of twice the tokens of embeddings of that length: however many embeddings come in between, up to a hundred,
    the next chat is held in full; when no chat has come for two hundred, it is forgotten."""
    estimates = Estimates()
    for between in (5, 20, 50, REMEMBERED):
        estimates.learn("m", 50, 60)
        for _ in range(between):
            assert estimates.high("m", 50) >= 60
            estimates.learn("m", 50, 30)
        assert estimates.high("m", 50) >= 60
    for _ in range(2 * REMEMBERED):
        estimates.learn("m", 50, 30)
    assert estimates.high("m", 50) <= 31


def test_lengths_and_models_are_kept_apart() -> None:
    """A chat's template weighs on short prompts and not on long ones, and another model has other tokens."""
    estimates = Estimates()
    estimates.learn("m", 10, 80)
    assert estimates.high("m", 12) == 96
    assert estimates.high("m", 1000) == estimates.high("n", 1000) == 4000


def test_nonsense_teaches_nothing() -> None:
    """No prompt, no lesson."""
    estimates = Estimates()
    estimates.learn("m", 0, 5)
    estimates.learn("m", 5, 0)
    assert estimates.high("m", 5) == 20
    assert estimates.high("m", 0) == 0


def test_what_is_known_is_bounded() -> None:
    """Models and lengths beyond the bound make it begin anew."""
    estimates = Estimates()
    for number in range(MOST_CLASSES + 1):
        estimates.learn(f"m{number}", 10, 10)
    assert len(estimates._known) == 1


@given(st.lists(st.integers(1, 400), min_size=1, max_size=50))
def test_the_hold_is_never_below_the_last_prompt(tokens: list[int]) -> None:
    """Whatever came before, a prompt like the last one is held in full."""
    estimates = Estimates()
    for count in tokens:
        estimates.learn("m", 100, count)
        assert count <= estimates.high("m", 100) <= max(HIGHEST * 100, *tokens) + 1
