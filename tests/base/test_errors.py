"""The refusal table is complete, consistent and safe to show."""

from typing import get_args

import pytest

from penstock.base.errors import REFUSALS, TABLE, ConfigError, Label, Refusal, error_body

ROWS = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.label)


def test_the_labels_are_exactly_the_tables() -> None:
    """The Literal that type checkers see and the table that readers see name the same, once each, in one order."""
    assert [row.label for row in TABLE] == list(get_args(Label))
    assert len(REFUSALS) == len(TABLE)


@ROWS
def test_a_row_is_well_formed(row: Refusal) -> None:
    """A lower-case label, an HTTP error status, a gRPC code in capitals, a sentence for people."""
    assert row.label.replace("_", "").replace("4", "").replace("5", "").isalpha()
    assert row.label == row.label.lower()
    assert 400 <= row.http <= 599
    assert row.grpc.replace("_", "").isupper()
    assert row.message.endswith(".")
    assert row.message[0].isupper()


@ROWS
def test_a_message_shows_nothing_of_our_insides(row: Refusal) -> None:
    """No address, no placeholder, no traceback: the text is the same for everybody."""
    for secret in ("http://", "127.0.0.1", "{", "%", "Traceback", "Exception"):
        assert secret not in row.message


@ROWS
def test_flags_agree_with_each_other(row: Refusal) -> None:
    """Clients' mistakes never blame a replica nor count for the SLO; what is free or unsent is a replica's and is
    retryable; 429 and our own 503 say when to come back."""
    if row.http < 500 and row.type not in ("rate_limit_error", "upstream_error"):
        assert not row.counts_for_slo
        assert not row.blames_replica
        assert not row.retryable
    if row.free_failover or row.unsent or row.blames_replica:
        assert row.type == "upstream_error"
    if row.free_failover or row.unsent:
        assert row.retryable
    if row.http == 429 or (row.http == 503 and row.type == "service_unavailable"):
        assert row.says_retry_after


@pytest.mark.parametrize(
    ("label", "http", "retryable", "blames"),
    [
        ("queue_full", 429, True, False),
        ("queue_timeout", 504, True, False),
        ("no_replica", 503, True, False),
        ("duplicate_request_id", 409, False, False),
        ("model_not_found", 404, False, False),
        ("connect_refused", 502, True, True),
        ("first_byte_timeout", 504, True, True),
        ("upstream_busy", 429, True, False),
        ("stale_connection", 502, True, False),
        ("answer_too_large", 502, False, True),
    ],
)
def test_the_promised_rows(label: str, http: int, retryable: bool, blames: bool) -> None:
    """Statuses and flags that the specification names."""
    row = REFUSALS[label]
    assert (row.http, row.retryable, row.blames_replica) == (http, retryable, blames)


def test_an_error_body_has_openais_shape() -> None:
    """Message, type, param and code under `error`; a detail replaces the table's words."""
    assert error_body("queue_full") == {
        "error": {
            "message": "The queue is full. Try again later.",
            "type": "rate_limit_error",
            "param": None,
            "code": "queue_full",
        }
    }
    detailed = error_body("bad_request", "No model.", "model")["error"]
    assert (detailed["message"], detailed["param"], detailed["code"]) == ("No model.", "model", "bad_request")


def test_a_configuration_error_keeps_all_mistakes() -> None:
    """One line for each, and the list itself."""
    error = ConfigError(["a: wrong", "b: missing"])
    assert str(error) == "a: wrong\nb: missing"
    assert error.mistakes == ["a: wrong", "b: missing"]
