"""Answers of our own, as bytes."""

import json

import pytest

from penstock.base.nouns import Rates
from penstock.config.schema import ServerSpec
from penstock.gateway.call.answers import (
    error_page,
    health_page,
    last_event,
    local_page,
    models_page,
    page,
    rate_lines,
    ready_page,
    without_rates,
)
from penstock.gateway.client.head import Memory, Peer


def test_a_page_has_its_length_and_closes_when_told() -> None:
    """Head and JSON, in one piece."""
    assert page(200, {"a": 1}, close=True, lines=b"x: y\r\n") == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\nx: y\r\nconnection: close\r\n\r\n"
        b'{"a":1}'
    )
    assert page(200, {"a": 1}, close=False, head_only=True).endswith(b"content-length: 7\r\n\r\n")


def test_an_error_has_openais_shape() -> None:
    """Message, type, param and code; Retry-After in whole seconds, never zero."""
    head, _, body = error_page("queue_full", 429, close=False, retry_after_s=0.2).partition(b"\r\n\r\n")
    assert b"retry-after: 1\r\n" in head + b"\r\n"
    assert json.loads(body)["error"] == {
        "message": "The queue is full. Try again later.", "type": "rate_limit_error", "param": None,
        "code": "queue_full",
    }  # fmt: skip


def test_the_last_event_of_a_broken_stream() -> None:
    """One error event; with its framing's end for who knows chunks."""
    plain = last_event("idle_timeout", "Too slow.", chunked=False)
    assert json.loads(plain.removeprefix(b"data: "))["error"]["message"] == "Too slow."
    assert last_event("idle_timeout", "Too slow.", chunked=True) == b"%x\r\n%b\r\n0\r\n\r\n" % (len(plain), plain)


def test_anthropics_clients_know_an_error_by_its_name() -> None:
    """Their SDKs look at `event:`, and would take an event without one for nothing: the stream would just end."""
    event = last_event("died_mid_answer", "", chunked=False, named=True)
    name, data = event.rstrip(b"\n").split(b"\n")
    assert name == b"event: error"
    body = json.loads(data.removeprefix(b"data: "))
    assert (body["type"], body["error"]["code"]) == ("error", "died_mid_answer")


def test_our_own_pages() -> None:
    """Models, one model, health, readiness."""
    assert [entry["id"] for entry in models_page(["a", "b"])[1]["data"]] == ["a", "b"]
    assert models_page(["a"], "a")[1]["id"] == "a"
    assert models_page(["a"], "b")[0] == 404
    assert (health_page()[0], ready_page(True)[0], ready_page(False)[0]) == (200, 200, 503)


@pytest.mark.parametrize("written", ["org/model", "org%2Fmodel", "org%2fmodel"])
def test_a_models_page_is_found_however_its_name_is_written(written: str) -> None:
    """Some clients encode the slash in a name, others do not."""
    raw = f"GET /v1/models/{written} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    head, _ = Memory().read(raw, Peer(b"10.0.0.1", False), ServerSpec())
    status, body = local_page(head, lambda: ["org/model"], lambda: True)
    assert (status, body["id"]) == (200, "org/model")


def test_limits_are_told_under_openais_names() -> None:
    """Six lines, or three where only requests or only tokens are limited, or none."""
    requests = (
        b"x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n"
    )
    tokens = b"x-ratelimit-limit-tokens: 9000\r\nx-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 6m0s\r\n"
    assert rate_lines(Rates(60, 59, 1.0, 9000, 0, 360.0)) == requests + tokens
    assert rate_lines(Rates(60, 59, 1.0, None, None, None)) == requests
    assert rate_lines(Rates(None, None, None, 9000, 0, 360.0)) == tokens


def test_an_upstreams_own_limits_are_not_told_beside_ours() -> None:
    """Its lines go, whatever they are; values that only look like them stay."""
    block = b"x-ratelimit-limit-requests: 9\r\nx-note: x-ratelimit-\r\nx-ratelimit-reset-tokens: 1s\r\n"
    assert without_rates(block) == b"x-note: x-ratelimit-\r\n"
    assert without_rates(b"x-note: 1\r\n") == b"x-note: 1\r\n"
