"""What the admin API says of the ledger."""

import msgspec
import pytest

from penstock.base.entries import CALL, Entry
from penstock.base.nouns import Usage
from penstock.gateway.client.peek import peek, user_of
from tests.helpers.admin import CONFIG, Rig, over
from tests.telemetry.rows import row


async def fill(rig: Rig) -> None:
    """Three calls of today, in its database."""
    ledger = rig.gateway.ledger
    assert ledger is not None
    now = rig.gateway.pump.now()
    for number, tenant in enumerate(("acme", "acme", "lab")):
        whose = user_of(peek(b'{"user":"jo"}')) if number else msgspec.UNSET
        made = row(id=f"c{number}", tenant=tenant, at=now, usage=Usage(10, 5), cost=0.5, user=whose)
        ledger.segments.put(CALL, msgspec.json.encode(Entry(made)))
    ledger.segments.commit()
    assert ledger.clerk.turn()


CASES = [
    ("top", 2, "acme"), ("top?by=model&since=1d&order=tokens&count=5", 1, "tiny"), ("top?tenant=lab", 1, "lab"),
    ("latency", 2, "acme"), ("latency?by=model&tenant=acme", 1, "tiny"),
]  # fmt: skip
WRONG = [
    "top?by=nonsense", "top?order=size", "top?count=0", "top?count=x", "top?since=whenever", "top?nonsense=1",
    "latency?by=key", "fleet?by=x", "calls?before=x", "calls?count=1001",
    f"calls?before={1 << 63}-1", "top?tenant=a%00b",
]  # fmt: skip


@pytest.mark.slow
def test_what_can_be_asked(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Sums, times, costs, pages of calls, one call, and how the ledger is; mistakes are told with a status."""
    folder = tmp_path_factory.mktemp("ledger")

    async def test(rig: Rig) -> None:
        rig.gateway._open()
        await fill(rig)
        for path, count, first in CASES:
            found = (await rig.ask("GET", f"/admin/ledger/{path}")).json
            assert len(found) == count, path
            assert first in (found[0].get("name"), *found[0].get("names", {}).values())
        pools = (await rig.ask("GET", "/admin/ledger/fleet?since=2d")).json
        assert [(one["pool"], one["tokens"]) for one in pools] == [("p", 45)]
        page = (await rig.ask("GET", "/admin/ledger/calls?count=2&since=1d")).json
        rest = (await rig.ask("GET", f"/admin/ledger/calls?count=2&since=1d&before={page['next']}")).json
        assert [one["id"] for one in page["calls"] + rest["calls"]] == ["c2", "c1", "c0"]
        assert rest["next"] is None
        page = (await rig.ask("GET", "/admin/ledger/calls?user=jo&tenant=acme")).json
        assert [one["id"] for one in page["calls"]] == ["c1"], "as the gateway makes the digest of a body's user"
        assert (await rig.ask("GET", "/admin/ledger/calls/c1")).json["call"]["cost"] == 0.5
        assert (await rig.ask("GET", "/admin/ledger/calls/none")).status == 404
        assert (await rig.ask("GET", "/admin/ledger/calls/c1%00")).status == 404
        state = (await rig.ask("GET", "/admin/ledger")).json
        assert (state["written"], state["lost"], state["away"]) == (3, 0, "")
        assert state["connections"]["used"] == 0
        page_of_metrics = (await rig.ask("GET", "/metrics")).body
        for line in (
            b"ledger_rows_total{} 3",
            b"ledger_database_up{} 1",
            b"ledger_journal_up{} 1",
            b"ledger_lost_total{} 0",
        ):
            assert b"\npenstock_" + line + b"\n" in page_of_metrics
        for path in WRONG:
            assert (await rig.ask("GET", f"/admin/ledger/{path}")).status == 400, path
        ledger = rig.gateway.ledger
        assert ledger is not None
        with ledger.database.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE days RENAME TO gone")
        assert (await rig.ask("GET", "/admin/ledger/top")).status == 503
        ledger.close()

    over(test, f"admin: 127.0.0.1:0\n{CONFIG}ledger: {{folder: {folder}}}\n")


def test_without_a_ledger_there_is_nothing_to_ask() -> None:
    """Every question says that there is none."""

    async def test(rig: Rig) -> None:
        for path in ("", "/top", "/latency", "/fleet", "/calls", "/calls/c1"):
            answer = await rig.ask("GET", f"/admin/ledger{path}")
            assert (answer.status, answer.code) == (404, "not_found")

    over(test)
