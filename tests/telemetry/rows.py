"""Rows and turns for the tests of the journal's readers."""

from typing import Any

from penstock.base.nouns import CallRow, Usage
from penstock.core.effects import Record, Send

ROW: dict[str, Any] = {
    "id": "c1", "client_id": "", "at": 100.0, "tenant": "demo", "key": "demo", "model": "tiny",
    "path": "/v1/chat/completions", "pool": "p", "replica": "r1", "outcome": "ok", "status": 200, "stream": True,
    "priority": 2, "attempts": 1, "latency_s": 2.1, "ttft_s": 0.1, "queue_s": 0.02, "usage": Usage(10, 21, 4),
    "relayed_tokens": 20, "cached_estimate": 3,
}  # fmt: skip


def row(**changes: Any) -> CallRow:
    """The row of an answered call, but for these fields."""
    return CallRow(**{**ROW, **changes})


def record(**changes: Any) -> Record:
    """The order to record it."""
    return Record(row(**changes))


def send(call: str = "c1", attempt: int = 1, replica: str = "r1") -> Send:
    """An attempt."""
    return Send(call, attempt, replica, "tiny", 5.0, 600.0, 120.0, 0.0)
