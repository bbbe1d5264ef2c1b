"""The ledger of traffic that repeats itself: what was given from a cache, or with another call, costs nobody a token;
each answer of an engine is paid once, by the call that it was made for."""

import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import Start
from tests.helpers.audit import TENANTS, Done, Rig, accounts, tree
from tests.helpers.processes import Emulators, ending, until
from tests.helpers.repeats import CROWDS, LIMIT, Heard, Question, Repeats
from tests.helpers.traffic import ask, at_rest, pool, ready, said
from tests.helpers.wire import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

FAULTS = (
    (),
    (
        "status,status=503,probability=0.1", "close_mid_stream,after=2,probability=0.05",
        "reset_before_head,probability=0.05",
    ),
)  # fmt: skip
DAY = {"tokens_per_day": 10**9, "budget_per_day": 10**6}
"""Limits that nobody meets: their accounts are compared."""
GIVEN = ("hit", "coalesced")


class Row(NamedTuple):
    """A call as the ledger has it."""

    client_id: str
    tenant: str
    prompt_tokens: int
    completion_tokens: int
    estimated: int
    attempts: int
    outcome: str
    status: int
    cost: int
    cache: str

    @property
    def tokens(self) -> tuple[int, int]:
        """What it was charged for."""
        return self.prompt_tokens, self.completion_tokens


class Books(NamedTuple):
    """What clients, ledger, engines and limits say."""

    known: dict[str, Heard]
    rows: dict[str, Row]
    engines: dict[str, dict[int, Done]]
    used: dict[str, dict[str, float]]
    """By tenant and limit."""
    counted: dict[str, int]
    """What the cache had to do with calls, as it counts them."""
    page: str
    """Metrics."""


def audited(start: Start, folder: Path, calls: int, rounds: int, cache: dict[str, Any]) -> Books:
    """From the clients to the rows."""
    ledger = folder / "ledger"
    with ExitStack() as stack:
        tiny = [Emulators(folder, 1.0, name=f"tiny{number}", fault=what) for number, what in enumerate(FAULTS)]
        late = Emulators(folder, 1.0, name="late", model="late")
        stack.enter_context(ending(*tiny, late))
        ports = {"tiny": [engines.ports[0] for engines in tiny], "late": late.ports}
        sick = {"strategy": "round_robin", "breaker": {"failures": 50}, "outliers": {"enabled": False}}
        pools = [
            pool(*(f"http://127.0.0.1:{port}" for port in own), name=name, models=(name,), **sick)
            for name, own in ports.items()
        ]
        file = tree(pools, str(ledger))
        file["prices"] = {model: {"prompt": 3, "completion": 9} for model in ports}
        file["tenants"] = [{"name": name, "limits": DAY} for name in TENANTS] + [{"name": "limited"}]
        (limited,) = (key for key in file["keys"] if key["tenant"] == "limited")
        limited["limits"] = {"requests_per_hour": LIMIT}
        gateway = start({**file, "cache": cache, "unknown_price": "refuse"})
        repeats = Repeats(Rig(gateway, ports), calls, rounds, seed=3)

        async def main() -> tuple[dict[str, dict[int, Done]], list[dict[str, Any]], dict[str, int], str]:
            await ready(gateway, 3)
            await repeats.go()
            await at_rest(gateway, 20.0)
            page = (await ask(gateway.admin_port, None, "/metrics")).body.decode()
            counted = (await said(gateway.admin_port, "/admin/cache"))["calls"]
            return await accounts(Rig(gateway, ports)), await said(gateway.admin_port, "/admin/tenants"), counted, page

        engines, views, counted, page = run(main, 150.0)
        until(
            lambda: run(lambda: said(gateway.admin_port, "/admin/ledger"))["written"] >= len(repeats.known), 30.0, str
        )
    with closing(sqlite3.connect(ledger / "ledger.db")) as base:
        rows = [Row(*found) for found in base.execute(f"SELECT {', '.join(Row._fields)} FROM calls")]
    assert len(rows) == len({row.client_id for row in rows}) == len(repeats.known), "each call once"
    used = {view["name"]: {limit["what"]: limit["used"] for limit in view["limits"]} for view in views}
    return Books(repeats.known, {row.client_id: row for row in rows}, engines, used, counted, page)


def check(books: Books, charged: bool) -> None:
    """Of each call by itself; `charged`: what was given costs as much as what was made."""
    sizes = by_question(books)
    for id, mine in books.known.items():
        row, done, sizes_of = books.rows[id], books.engines.get(id, {}), sizes.get(mine.question, Counter())
        where = f"{id}: {mine}, {row}, {done}, {sizes_of}"
        assert row.tenant == mine.question.tenant, where
        assert row.cost == 3000 * row.prompt_tokens + 9000 * row.completion_tokens, where
        assert len(sizes_of) <= 1, f"one question has one answer: {where}"
        if mine.outcome == "refused":
            assert (row.tokens, row.status) in (((0, 0), 429), ((0, 0), 503), ((0, 0), 502)), where
            continue
        if row.cache in GIVEN:
            assert (row.attempts, done) == (0, {}), f"never counted at an engine: {where}"
            assert charged or row.tokens == (0, 0), where
        if mine.outcome == "completed":
            # who followed, and had the answer from somebody who left, pays for it
            assert mine.state == row.cache or (mine.state, row.cache) == ("coalesced", "miss"), where
            assert row.cache == {"bypass": "bypass", "refresh": "miss"}.get(mine.said, row.cache), where
            assert (row.outcome, row.status, row.estimated) == ("ok", 200, 0), where
            assert (row.cache in GIVEN and not charged) or row.tokens == next(iter(sizes_of)), where
        elif not charged:
            generated = max((one.completion for one in made(books, mine.question)), default=0)
            assert row.completion_tokens <= generated, where
            assert row.tokens == (0, 0) or row.estimated or row.tokens in sizes_of, where


def by_question(books: Books) -> dict[Question, Counter[tuple[int, int]]]:
    """Answers that engines finished: how often, and how large."""
    found: dict[Question, Counter[tuple[int, int]]] = {}
    for id, mine in books.known.items():
        for one in books.engines.get(id, {}).values():
            if one.outcome == "finished":
                found.setdefault(mine.question, Counter())[one[:2]] += 1
    return found


def made(books: Books, question: Question) -> list[Done]:
    """What engines did for a question."""
    ids = [id for id, mine in books.known.items() if mine.question == question]
    return [one for id in ids for one in books.engines.get(id, {}).values()]


def paid_once(books: Books) -> None:
    """Every answer that an engine finished was paid by one call of its question, to the token, or was an attempt that
    failed on its way (an engine that breaks off before its first byte has done its work)."""
    finished = by_question(books)
    for question, sizes in finished.items():
        mine = [books.rows[id] for id, one in books.known.items() if one.question == question]
        paid = Counter(row.tokens for row in mine if row.outcome == "ok" and row.cache not in GIVEN)
        where = f"{question}: {sizes}, {mine}"
        lost = sum(max(0, row.attempts - 1) + (row.outcome != "ok") for row in mine)
        assert sum(sizes.values()) - lost <= sum(paid.values()), where
        assert not paid - sizes, where


def sample(page: str, name: str, label: str = "") -> float:
    """The sum of a counter's samples that have this label."""
    lines = [line for line in page.splitlines() if line.startswith(f"{name}{{") and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_what_a_cache_gives_is_paid_by_whom_it_was_made_for(start: Start, tmp_path: Path) -> None:
    """Hits, followers, bypasses, refreshed answers; leaders and followers that leave, engines that fail: what was given
    costs a request and no token, and no engine has heard of it; who inherits an answer pays for it; every answer that
    an engine finished is paid once, to the token; limits and the ledger agree to the billionth."""
    books = audited(start, tmp_path, 2_500, 3, {})
    states = Counter(row.cache for row in books.rows.values())
    assert states["hit"] > 1_000
    assert states["coalesced"] > 3 * CROWDS
    assert states["bypass"] > 100
    heirs = [id for id, mine in books.known.items() if (mine.state, books.rows[id].cache) == ("coalesced", "miss")]
    assert len(heirs) >= CROWDS // 4, "leaders left, and others paid"
    check(books, charged=False)
    paid_once(books)
    agree(books)
    mine = [books.rows[id] for id, one in books.known.items() if one.question.tenant == "limited"]
    assert sum(row.outcome == "ok" for row in mine) <= LIMIT, "what is given counts as a request"
    ours = sum(sum(row.tokens) for row in books.rows.values())
    theirs = sum(one.prompt + one.completion for done in books.engines.values() for one in done.values())
    assert ours <= theirs


def test_what_a_cache_gives_is_charged_where_the_file_says_so(start: Start, tmp_path: Path) -> None:
    """With `charge: tokens` every whole answer costs what it would have cost, whoever made it; limits say the same."""
    books = audited(start, tmp_path, 1_000, 1, {"charge": "tokens"})
    assert Counter(row.cache for row in books.rows.values())["hit"] > 300
    check(books, charged=True)
    agree(books)


def agree(books: Books) -> None:
    """Tokens and money by tenant: the limits' accounts are the sums of the rows. What the cache and the metrics have
    counted is what the rows say."""
    rows = books.rows.values()
    assert books.counted == Counter(row.cache for row in rows if row.cache)
    assert sample(books.page, "penstock_requests_total") == len(rows)
    made = sum(row.completion_tokens for row in rows if row.cache not in GIVEN)
    assert sample(books.page, "penstock_tokens_total", 'kind="completion"') == made, "what engines did, once"
    for tenant in TENANTS:
        mine = [row for row in books.rows.values() if row.tenant == tenant]
        used = books.used[tenant]
        assert used["tokens per day"] == sum(sum(row.tokens) for row in mine), tenant
        assert used["budget per day"] == pytest.approx(sum(row.cost for row in mine) / 1e9), tenant
