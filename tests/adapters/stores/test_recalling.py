"""Recalling: what is read at a start is what was used, and no more than limits need."""

from pathlib import Path

import pytest

from penstock.adapters.stores import recalling
from penstock.adapters.stores.recalling import forget_quarters, used_before
from penstock.base.entries import Used
from penstock.base.nouns import Usage
from tests.adapters.stores.ledgers import MIDNIGHT, call, database, rows, write

NOW = MIDNIGHT + 7200.5
"""At two o'clock on the fourth of October."""


def test_the_last_day_and_the_money_of_day_and_month(tmp_path: Path) -> None:
    """Requests and tokens by quarters of an hour, at their ends; money since midnight, and since the first."""
    with database(tmp_path) as base:
        write(
            base, call("a", at=NOW - 1.0, cost=0.5), call("b", at=MIDNIGHT - 3600.0, usage=Usage(5, 6), cost=0.25),
            call("c", at=MIDNIGHT - 3 * 86_400.0, cost=0.125), call("d", at=MIDNIGHT - 40 * 86_400.0, cost=8.0),
            call("e", at=NOW, tenant="none", outcome="queue_full", usage=None, ttft_s=None, status=429),
        )  # fmt: skip
        with base.reading() as connection:
            found = used_before(connection, NOW)
    assert found == [
        Used("demo", "demo", "tiny", MIDNIGHT + 7199.0, 1, 31), Used("demo", "demo", "tiny", MIDNIGHT - 2701.0, 1, 11),
        Used("demo", "demo", "tiny", NOW, 0, 0, 500_000_000, 875_000_000),
    ]  # fmt: skip


def test_who_used_most_is_told_first_and_the_rest_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """However many tenants there are."""
    monkeypatch.setattr(recalling, "MOST_LINES", 2)
    with database(tmp_path) as base:
        write(base, *(call(str(n), tenant=f"t{n}", at=NOW, usage=Usage(n, 1), cost=n / 8) for n in range(1, 9)))
        with base.reading() as connection:
            found = used_before(connection, NOW)
    assert [(one.tenant, one.tokens) for one in found] == [("t8", 9), ("t7", 8), ("t8", 0), ("t7", 0)]


def test_old_quarters_go(tmp_path: Path) -> None:
    """Those that no window reaches back to."""
    with database(tmp_path) as base:
        write(base, call("a", at=NOW - 3 * 86_400.0), call("b", at=NOW - 86_400.0), call("c", at=NOW))
        with base.writing() as connection:
            forget_quarters(connection, NOW)
        assert rows(base, "SELECT sum(requests) FROM quarters") == [(2,)]
