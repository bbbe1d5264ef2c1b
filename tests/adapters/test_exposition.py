"""The text format of Prometheus, on lines as real servers write them and on lines that nobody should."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.exposition import MAX_SAMPLES, Page, Sample

LINES = b"""# HELP requests 7
# TYPE requests gauge
requests{model="a",state="waiting"} 3
requests{model="a",state="running"} 4 1700000000000
requests{model="b", state="running"} 5.0
requests_total 9
 requests 11
load 0.25
"""


def test_samples_come_with_their_labels() -> None:
    """Every line of the name is read, in the page's order, whatever spaces and times it has; comments are not."""
    assert Page(LINES).samples("requests") == [
        Sample({"model": "a", "state": "waiting"}, 3),
        Sample({"model": "a", "state": "running"}, 4),
        Sample({"model": "b", "state": "running"}, 5),
    ]


def test_labels_select() -> None:
    """Only samples with all of the wanted labels count."""
    page = Page(LINES)
    assert page.count("requests", state="running") == 9
    assert page.count("requests", state="running", model="b") == 5
    assert page.count("requests", state="paused") is None


def test_the_first_name_that_is_there_wins() -> None:
    """A page with two of the names is read by the first; one with none has no number."""
    page = Page(LINES)
    assert page.count("queries", "requests_total", "requests") == 9
    assert page.count("queries") is None
    assert page.share("load") == 0.25


def test_lines_of_windows() -> None:
    """A page with CR LF is read like any other."""
    assert Page(b"load 0.5\r\nrequests 2\r\n").count("requests") == 2


def test_escapes_in_labels() -> None:
    """Escaped quotes, backslashes and newlines are what they stand for; braces and commas are only text."""
    page = Page(b'info{name="a\\\\b\\"c\\nd} 5 {,",x="1"} 2\n')
    assert page.samples("info") == [Sample({"name": 'a\\b"c\nd} 5 {,', "x": "1"}, 2)]


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e16"])
def test_impossible_numbers_are_none(value: str) -> None:
    """One number that cannot be a count or share spoils the sum: it would be wrong without it."""
    page = Page(f'n{{x="1"}} 0.5\nn{{x="2"}} {value}\n'.encode())
    assert page.count("n") is None
    assert page.share("n") is None


def test_a_word_for_a_number_is_an_error() -> None:
    """A page that has no number where one belongs is broken."""
    with pytest.raises(ValueError):
        Page(b"requests many\n").count("requests")


def test_a_page_cannot_make_us_remember_much() -> None:
    """More samples of one name than any server has are an error."""
    with pytest.raises(ValueError, match="more than"):
        Page(b'n{x="1"} 1\n' * (MAX_SAMPLES + 1)).count("n")


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_nothing_but_value_error(noise: bytes) -> None:
    """Whatever stands on the page, reading ends in numbers or in ValueError."""
    for body in (noise, b"n" + noise, b"n{" + noise + b"} 1\n", b'n{x="' + noise + b'"} 1\n'):
        try:
            Page(body).count("n", x="1")
        except ValueError:
            pass
