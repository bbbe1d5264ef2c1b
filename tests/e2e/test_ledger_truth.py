"""The ledger is the truth: thousands of mixed calls, and for each of them its client, the engines and its row agree."""

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import Start
from tests.helpers.audit import FAULTS, Crowd, Done, Mine, Rig, accounts, speeds, tree
from tests.helpers.processes import Emulators, ending, until
from tests.helpers.traffic import at_rest, pool, ready, said
from tests.helpers.wire import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

GAP = 0.01
"""Of all tokens: what the ledger may have less than the engines."""


class Row(NamedTuple):
    """A call as the ledger has it."""

    client_id: str
    id: str
    tenant: str
    prompt_tokens: int
    completion_tokens: int
    estimated: int
    attempts: int
    outcome: str
    status: int
    cost: int


class Books(NamedTuple):
    """The three accounts."""

    mine: dict[str, Mine]
    rows: dict[str, Row]
    engines: dict[str, dict[int, Done]]
    overheads: dict[str, list[tuple[int, str]]]


def audited(start: Start, folder: Path, calls: int, leavers: int) -> Books:
    """All of it, from the engines to the rows."""
    ledger = folder / "ledger"
    with ExitStack() as stack:
        tiny = [Emulators(folder, 1.0, name=f"tiny{number}", fault=what) for number, what in enumerate(FAULTS["tiny"])]
        others = {model: Emulators(folder, *speed, name=model, model=model) for model, speed in speeds().items()}
        stack.enter_context(ending(*tiny, *others.values()))
        ports = {"tiny": [engines.ports[0] for engines in tiny], **{name: one.ports for name, one in others.items()}}
        more: dict[str, dict[str, Any]] = {
            # the sick engines are to be asked on and on
            "tiny": {"strategy": "round_robin", "breaker": {"failures": 50}, "outliers": {"enabled": False}},
            "twin": {"strategy": "round_robin", "hedge": {"delay": "60ms", "budget": 1}},
        }
        pools = [
            pool(*(f"http://127.0.0.1:{port}" for port in own), name=name, models=(name,), **more.get(name, {}))
            for name, own in ports.items()
        ]
        for made in pools:
            for replica in made["replicas"]:
                replica["max_concurrent_requests"] = 1 if made["name"] == "narrow" else 64
        gateway = start(tree(pools, str(ledger)))
        rig = Rig(gateway, ports)
        crowd = Crowd(rig, calls, leavers, seed=1)

        async def main() -> dict[str, dict[int, Done]]:
            await ready(gateway, 8)
            await crowd.go()
            await at_rest(gateway, 20.0)
            return await accounts(rig)

        engines = run(main, 150.0)
        until(lambda: run(lambda: said(gateway.admin_port, "/admin/ledger"))["written"] >= len(crowd.known), 30.0, str)
    with closing(sqlite3.connect(ledger / "ledger.db")) as base:
        rows = [Row(*found) for found in base.execute(f"SELECT {', '.join(Row._fields)} FROM calls")]
        by_id = {row.id: row.client_id for row in rows}
        overheads: dict[str, list[tuple[int, str]]] = {}
        for call, attempt, what in base.execute("SELECT call, attempt, what FROM overheads"):
            overheads.setdefault(by_id[call], []).append((attempt, what))
        sums = base.execute("SELECT sum(calls), sum(prompt_tokens), sum(completion_tokens), sum(cost) FROM days")
        assert sums.fetchone() == (
            len(rows), sum(row.prompt_tokens for row in rows), sum(row.completion_tokens for row in rows),
            sum(row.cost for row in rows),
        )  # fmt: skip
    assert len(rows) == len({row.client_id for row in rows}) == len(crowd.known), "each call once"
    return Books(crowd.known, {row.client_id: row for row in rows}, engines, overheads)


def check(books: Books) -> None:
    """Of each call by itself."""
    for id, mine in books.mine.items():
        row, done, lost = books.rows[id], books.engines.get(id, {}), books.overheads.get(id, [])
        where = f"{id}: {mine}, {row}, {done}, {lost}"
        assert row.tenant == mine.tenant, where
        assert all(one.user.startswith(f"{mine.tenant}-user-") for one in done.values() if one.user), where
        tokens = row.prompt_tokens, row.completion_tokens
        if mine.outcome == "completed":
            assert (row.outcome, row.status, row.estimated) == ("ok", 200, 0), where
            assert tokens in [one[:2] for one in done.values() if one.outcome == "finished"], where
            assert len(lost) == row.attempts - 1, where
        elif mine.outcome == "mistake":
            assert (row.outcome, row.status, tokens, done) == ("ok", 400, (0, 0), {}), where
        elif mine.outcome == "refused":
            assert row.outcome != "ok", where
            assert (tokens, row.cost, len(lost)) == ((0, 0), 0, row.attempts), where
        else:
            generated = max((one.completion for one in done.values()), default=0)
            told = tokens in [
                one[:2] for one in done.values()
            ]  # an engine's own error may end a stream, behind its usage
            assert row.outcome != "ok" or row.estimated or told, where
            assert mine.delivered <= row.completion_tokens <= generated, where
            assert row.estimated == (tokens != (0, 0)) or told, where
            assert bool(row.prompt_tokens) == bool(done), where
        assert row.cost == 3000 * row.prompt_tokens + 9000 * row.completion_tokens, where


def gap(books: Books, outcome: str = "") -> float:
    """What the ledger has less than the engines generated and read for those that are billed, as a share of theirs.
    (What engines did for attempts that failed, or lost, is nobody's.)"""
    ours = theirs = 0
    for id, mine in books.mine.items():
        row, done = books.rows[id], books.engines.get(id, {})
        if outcome not in ("", mine.outcome) or not done or mine.outcome not in ("completed", "interrupted"):
            continue
        ours += row.prompt_tokens + row.completion_tokens
        theirs += max(one.prompt + one.completion for one in done.values())
    return (theirs - ours) / theirs


def happened(books: Books) -> None:
    """What the audit is for did happen."""
    kinds = {(mine.kind, mine.outcome) for mine in books.mine.values()}
    for kind in ("leaves while it waits", "leaves before the first byte", "leaves in the middle"):
        assert (kind, "interrupted") in kinds
    assert {("leaves at the end", "completed"), ("mistake", "mistake"), ("limited", "refused")} <= kinds
    assert any(mine.outcome == "interrupted" for mine in books.mine.values() if mine.kind == "stream"), "engines died"
    lost = {what for attempts in books.overheads.values() for _, what in attempts}
    assert "hedge_lost" in lost
    assert len(lost) >= 3, lost


AUDITS = {"a thousand": (900, 40), "ten thousand": (9_600, 300)}
"""Calls of users, and who leaves while he waits or before the first byte, of each so many."""


@pytest.mark.parametrize("size", AUDITS)
def test_the_ledger_is_what_engines_did(start: Start, tmp_path: Path, size: str) -> None:
    """Streams and plain answers, cancels in four phases, retries, hedges, failovers, engines that die in the middle,
    mistakes, refusals: completed calls are in the ledger to the token, of others delivered <= ledger <= engine; in all
    within 1 % of what engines did. Attempts that failed or lost are kept apart and cost nobody."""
    books = audited(start, tmp_path, *AUDITS[size])
    happened(books)
    check(books)
    assert abs(gap(books)) <= GAP
    assert abs(gap(books, "interrupted")) <= 5 * GAP, "of those alone, with prompts that nobody has counted"
