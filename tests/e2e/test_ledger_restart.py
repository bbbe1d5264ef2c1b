"""A gateway that is started anew knows what was used: a restart, however it comes, gives no second budget."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Gateway
from tests.helpers.traffic import ask, chat, pool, ready, said
from tests.helpers.wire import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

KEY = "sk-thrifty-0123456789abcdef"
BUDGET = 0.04
PRICES = {"tiny": {"prompt": 100, "completion": 100}}
"""A token costs a ten-thousandth."""
MOST = 10
"""Tokens of an answer."""


def tree(folder: Path, urls: list[str], **limits: Any) -> dict[str, Any]:
    """A gateway with one tenant that has these limits."""
    return {
        "pools": [pool(*urls)], "keys": [{"name": "web", "key": KEY, "tenant": "thrifty"}],
        "prices": PRICES, "unknown_price": "refuse", "ledger": {"folder": str(folder)},
        "tenants": [{"name": "thrifty", "limits": limits}],
    }  # fmt: skip


async def served(gateway: Gateway, calls: int = 60) -> int:
    """How many of so many calls, four at once, were served."""
    await ready(gateway, 2)
    count = 0
    for _ in range(calls // 4):
        answers = await asyncio.gather(*(ask(gateway.port, chat(MOST), key=KEY) for _ in range(4)))
        assert {answer.status for answer in answers} <= {200, 429}
        count += sum(answer.status == 200 for answer in answers)
    return count


def account(gateway: Gateway) -> dict[str, float]:
    """What the tenant has used, by limit."""
    views = run(lambda: said(gateway.admin_port, "/admin/tenants"))
    (mine,) = [view for view in views if (view["kind"], view["name"]) == ("tenant", "thrifty")]
    return {limit["what"]: limit["used"] for limit in mine["limits"]}


@pytest.mark.parametrize("how, workers", [("killed", 1), ("stopped", 1), ("killed", 2)])
def test_a_restart_gives_no_second_budget(
    start: Start, engines: list[str], tmp_path: Path, how: str, workers: int
) -> None:  # fmt: skip
    """Five lives on one ledger, each ended under load: together they spend what the budget allows, to the last call
    that fits, and the last of them knows all of it before it serves anybody."""
    folder = tmp_path / "ledger"
    limits = {"budget_per_day": BUDGET, "budget_per_month": 1, "tokens_per_day": 100_000, "wait": 0}
    total, used = 0, dict[str, float]()
    for life in range(5):
        gateway = start({**tree(folder, engines[:2], **limits), "workers": workers})
        total += run(lambda gateway=gateway, life=life: served(gateway, 4 if life < 3 else 60), 40.0)  # type: ignore[misc]
        used = account(gateway)
        if how == "killed":
            gateway.kill()
        else:
            assert gateway.stop() == 0
    each = used["budget per day"] * 1e4 / total
    if workers == 1:  # several hold a part of it ahead, which counts as used
        assert used["tokens per day"] == pytest.approx(each * total)
        assert used["budget per month"] == pytest.approx(used["budget per day"])
    assert used["budget per day"] <= BUDGET
    assert total >= int(BUDGET * 1e4 / each) - 4, "four at once hold more than they need"
    assert total > 12, "the first lives had not spent all of it"


def test_a_gateway_whose_database_is_away_serves_and_is_told_later(
    start: Start, engines: list[str], tmp_path: Path
) -> None:  # fmt: skip
    """Nobody waits for a database that does not answer; once it does, what was used before counts."""
    folder = tmp_path / "ledger"
    limits = {"budget_per_day": BUDGET, "wait": 0}
    gateway = start(tree(folder, engines[:2], **limits))
    first = run(lambda: served(gateway, 8), 40.0)
    spent = account(gateway)["budget per day"]
    assert gateway.stop() == 0
    (folder / "ledger.db").rename(tmp_path / "away.db")
    (folder / "ledger.db").mkdir()
    gateway = start(tree(folder, engines[:2], **limits))
    run(lambda: ready(gateway, 2), 30.0)
    assert run(lambda: ask(gateway.port, chat(MOST), key=KEY)).status == 200
    gateway.await_logged("do not know yet what was used before")
    assert account(gateway)["budget per day"] < spent
    (folder / "ledger.db").rmdir()
    (tmp_path / "away.db").rename(folder / "ledger.db")
    gateway.await_logged("know now what was used before", 20.0)
    assert account(gateway)["budget per day"] == pytest.approx(spent * (first + 1) / first)
    assert json.dumps(KEY) not in gateway.log()
