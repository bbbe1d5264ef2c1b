"""Notices as they are written: lines of a file, AWS's metadata, and what the admin API takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.notices.notice import EVERYBODY, Notice, in_lines, of_metadata, posted, unix_time
from penstock.base.errors import ConfigError

AT = 1_764_090_000.0
"""2025-11-25T17:00:00Z."""


def test_times() -> None:
    """With a zone, or in UTC."""
    for text in ("2025-11-25T17:00:00Z", "2025-11-25T17:00:00", "2025-11-25T18:00:00+01:00", "2025-11-25 17:00:00"):
        assert unix_time(text) == AT
    with pytest.raises(ValueError, match="soon"):
        unix_time("soon")


def test_a_file_has_a_notice_a_line() -> None:
    """With or without a time; names may have spaces in them, as pools' may; what is behind # is for people."""
    text = "p-3 2025-11-25T17:00:00Z\n\n# from the node agent\n  p-4   # no time\nmy pool-5 2025-11-25T17:00:00Z\n*\n"
    assert in_lines(text) == [
        Notice("p-3", AT), Notice("p-4", None), Notice("my pool-5", AT), Notice(EVERYBODY, None),
    ]  # fmt: skip
    assert in_lines("") == []


def test_a_line_that_is_wrong_is_told() -> None:
    """By its number; and a file without end is not read."""
    with pytest.raises(ValueError, match=r"line 2: '25\.11\.2025' is no time"):
        in_lines("p-1\np-3 25.11.2025\n")
    with pytest.raises(ValueError, match="more than 10,000 lines"):
        in_lines("p-1\n" * 10_001)


@given(st.text())
def test_any_text_is_notices_or_a_value_error(text: str) -> None:
    """Nothing else comes of a file that somebody else writes."""
    try:
        assert all(notice.unit for notice in in_lines(text))
    except ValueError:
        pass


def test_awss_page() -> None:
    """As the user guide shows it: what will be done, and when; it is about the whole machine."""
    page = b'{"action": "terminate", "time": "2025-11-25T17:00:00Z"}'
    assert of_metadata(page) == Notice(EVERYBODY, AT)
    assert of_metadata(page.replace(b"terminate", b"hibernate")).at == AT


@pytest.mark.parametrize(
    "page", [b"", b"[]", b'{"action": "dance", "time": "2025-11-25T17:00:00Z"}', b'{"action": "stop", "time": "soon"}']
)
def test_another_page_is_none(page: bytes) -> None:
    """It is an error, never a notice."""
    with pytest.raises(ValueError, match=r"spot/instance-action|soon"):
        of_metadata(page)


def test_what_the_admin_api_takes() -> None:
    """A replica, and when or in how many seconds; a time that is past is at once."""
    assert posted({"unit": "p-3"}, AT) == ("p-3", None)
    assert posted({"unit": "p-3", "within_s": 30}, AT) == ("p-3", 30.0)
    assert posted({"unit": "*", "time": "2025-11-25T17:00:10Z"}, AT) == (EVERYBODY, 10.0)
    assert posted({"unit": "p-3", "time": "2025-11-25T16:00:00Z"}, AT) == ("p-3", 0.0)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "Expected `object`"),
        ({}, "missing required field `unit`"),
        ({"unit": ""}, "length >= 1"),
        ({"unit": "p-3", "within_s": -1}, ">= 0"),
        ({"unit": "p-3", "why": "x"}, "unknown field `why`"),
        ({"unit": "p-3", "time": "soon"}, "soon"),
        ({"unit": "p-3", "time": "2025-11-25T17:00:00Z", "within_s": 3}, "one of the two"),
    ],
)
def test_what_it_does_not_take(raw: object, said: str) -> None:
    """Each told."""
    with pytest.raises(ConfigError, match="the notice") as caught:
        posted(raw, AT)
    assert said in caught.value.mistakes[0]
