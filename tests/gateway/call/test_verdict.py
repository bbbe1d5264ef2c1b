"""What statuses mean."""

import time

import pytest

from penstock.gateway.call.verdict import retry_after_s, verdict


def test_statuses_mean_what_the_table_says() -> None:
    """Every status of a replica is an answer or one failure."""
    assert [verdict(status) for status in (200, 204, 299, 400, 404, 409, 422, 499, 501)] == [None] * 9
    assert [verdict(status) for status in (300, 301, 304, 399)] == ["bad_response"] * 4
    assert [verdict(status) for status in (500, 502, 504, 599, 408, 424)] == ["upstream_5xx"] * 6
    assert (verdict(503), verdict(429), verdict(401)) == ("upstream_unavailable", "upstream_busy", "upstream_auth")


def test_retry_after_is_read_in_both_forms() -> None:
    """Seconds or a date; nonsense is nothing; nothing is longer than an hour."""
    assert retry_after_s(b"12") == 12.0
    assert retry_after_s(b"99999999") == 3600.0
    assert retry_after_s(b"Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after_s(
        time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60)).encode()
    ) == pytest.approx(60, abs=3)
    for nonsense in (b"", b"soon", b"-1", b"1.5", b"\xff", b"\xd9\xa1"):
        assert retry_after_s(nonsense) is None
