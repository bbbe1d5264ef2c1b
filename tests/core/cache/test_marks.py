"""What of a question embeddings hardly see: where two differ in it, that is noticed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.cache.marks import differs, marks_of

DIFFERENT = [
    ("numbers", "Open port 8080", "Open port 8000"),
    ("numbers", "Give me three books", "Give me 5 books"),
    ("units", "How much is it per month?", "How much is it per year?"),
    ("units", "Take 400 mg of it", "Take 400 g of it"),
    ("units", "100 € in words", "100 $ in words"),
    ("quoted", 'What does "connection refused" mean?', 'What does "connection reset" mean?'),
    ("quoted", "What does `ls` do?", "What does `rm` do?"),
    ("negation", "Which products can be returned?", "Which products can't be returned?"),
    ("negation", "Pancakes with milk", "Pancakes without milk"),
    ("names", "Hotels in Paris", "Hotels in Rome"),
    ("names", "What is an iPhone?", "What is a phone?"),
    ("opposites", "How do I enable it now?", "How am I to disable it now?"),
    ("opposites", "Starting a container", "To stop a container"),
    ("order", "Is Rust faster than Go?", "Is Go faster than Rust?"),
    ("order", "convert json to yaml, please", "please convert the yaml to json"),
    ("order", "Do dogs chase cats?", "Do cats chase dogs?"),
    ("word", "How do I cook rice?", "How do I cook pasta?"),
]


@pytest.mark.parametrize("what,one,other", DIFFERENT, ids=[f"{what}: {one}" for what, one, _ in DIFFERENT])
def test_what_changes_the_answer_is_noticed(what: str, one: str, other: str) -> None:
    """And told, whichever of the two was first."""
    assert differs(marks_of(one), marks_of(other)) == what
    assert differs(marks_of(other), marks_of(one)) == what


SAME = [
    ("How do I reset my password?", "What is the way to get my password reset?"),
    ("Convert five kilometers to miles", "How many miles are 5 km?"),
    ("A loan of 300,000", "What is a loan of 300000?"),
    ("What is the capital of France?", "which city is the capital of france?"),
    ('What does "it\'s" mean?', 'I read "it\'s". What is its meaning?'),
    ("The price per month", "What is the monthly price?"),
    ("Do you not deliver?", "Don't you bring it?"),
    ("Should I buy or sell?", "Is it time to sell or rather to buy?"),
]


@pytest.mark.parametrize("one,other", SAME, ids=[one for one, _ in SAME])
def test_the_same_in_other_words_passes(one: str, other: str) -> None:
    """Numbers as words, units in other forms, names in small letters, two negations of one kind."""
    assert differs(marks_of(one), marks_of(other)) == ""


@settings(max_examples=30)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_has_marks(one: str, other: str) -> None:
    """None differs from itself, and it does not matter which of two was first."""
    first, second = marks_of(one), marks_of(other)
    assert differs(first, first) == ""
    assert differs(first, second) == differs(second, first)
