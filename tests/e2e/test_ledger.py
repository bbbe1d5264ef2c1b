"""The ledger of a real gateway: every call that a client was answered is in it, once, and to the token."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.lives import Lives
from tests.helpers.processes import Emulators, Gateway, ending, until
from tests.helpers.traffic import ENDLESS, SLOW, ask, at_rest, chat, pool, post, ready, said, unique
from tests.helpers.wire import Client, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

KILLS = 100
CALLS = 120
PRICES = {"tiny": {"prompt": 100, "completion": 200}}


def query(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a statement finds in a ledger."""
    with closing(sqlite3.connect(folder / "ledger.db")) as base:
        return base.execute(statement).fetchall()


def written(folder: Path, count: int) -> None:
    """Wait until so many rows are in the database."""

    def there() -> bool:
        try:
            return bool(query(folder, "SELECT count(*) FROM calls")[0][0] >= count)
        except sqlite3.OperationalError:  # it is being made
            return False

    until(there, 10.0, lambda: f"{count} rows in {folder}")


def ledger(*words: str) -> Any:
    """The JSON that `penstock ledger` prints."""
    command = [sys.executable, "-m", "penstock", "ledger", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_call_can_be_asked_for(start: Start, engines: list[str], tmp_path: Path) -> None:
    """From the client's request to `penstock ledger top`: the tokens that the engine told, and what they cost."""
    folder = tmp_path / "ledger"
    keys = [{"name": "web", "key": "sk-secret-0123456789", "tenant": "acme"}]
    tree = {
        "pools": [pool(*engines[:2])], "ledger": {"folder": str(folder)}, "keys": keys,
        "tenants": [{"name": "acme"}], "prices": PRICES,
    }  # fmt: skip
    gateway = start(tree)

    async def main() -> tuple[int, int]:
        await ready(gateway, 2)
        prompts = completions = 0
        for stream in (False, True, False):
            answer = await ask(gateway.port, chat(7, stream=stream), key="sk-secret-0123456789", id=unique())
            assert answer.status == 200
            if not stream:
                usage = json.loads(answer.body)["usage"]
                prompts, completions = usage["prompt_tokens"], usage["completion_tokens"]
            else:
                assert b'"usage":{' not in answer.body, "nobody asked for it"
        assert (await ask(gateway.port, chat(model="nobody"), key="sk-secret-0123456789")).status == 404
        return prompts, completions

    prompts, completions = run(main, 30.0)
    written(folder, 4)
    (found,) = ledger("top", "--db", str(folder))
    assert found["names"] == {"tenant": "acme"}
    assert (found["calls"], found["ok"], found["estimated"]) == (4, 3, 0)
    assert (found["prompt_tokens"], found["completion_tokens"]) == (3 * prompts, 3 * completions)
    assert found["cost"] == pytest.approx(3 * (prompts * 100 + completions * 200) / 1e6)
    assert gateway.stop() == 0
    text = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"sk-secret" not in text
    assert b"Hello there" not in text


class Mixed:
    """Users who have their whole answer, and users who leave in the middle of it."""

    def __init__(self, gateway: Gateway) -> None:
        self.completed: list[str] = []
        self.left: dict[str, int] = {}
        """Request -> tokens that its client has seen."""
        self._port = gateway.port

    async def complete(self, number: int, tokens: int, model: str = "tiny") -> None:
        """One whole answer, streamed or not."""
        id, words = unique(), "word " * (10 + number % 90)
        body = chat(tokens, stream=number % 3 > 0, text=words, model=model)
        answer = await ask(self._port, body, id=id)
        assert (answer.status, answer.complete) == (200, True), answer.body
        self.completed.append(id)

    async def leave(self, number: int) -> None:
        """A stream that is left after some tokens."""
        id, words = unique(), "word " * (10 + number)
        async with Client(self._port) as client:
            client.send(post(chat(ENDLESS, stream=True, text=words, model="slow"), id=id))
            got = b""
            for _ in range(2 + 2 * number):
                got += await client.reader.readuntil(b"\n\n")
            self.left[id] = got.count(b'"content":"') - got.count(b'"content":""')

    async def go(self, gateway: Gateway) -> None:
        """All of them. What prompts are is learnt from answers that come to their end."""
        await ready(gateway, 3)
        for number in range(10):
            await self.complete(number, 2, "slow")
        for begin in range(0, CALLS, 12):
            batch = (self.complete(number, 40 + number % 60) for number in range(begin, begin + 12))
            await asyncio.gather(*batch, self.leave(begin // 12))
        await at_rest(gateway)


async def generated(*ports: int) -> dict[str, tuple[int, int]]:
    """What engines did: request (of a second attempt with -2) -> tokens of its prompt and of its answer."""
    seen = [one for port in ports for one in await said(port, "/emulator/seen")]
    return {one["id"].partition("-")[2]: (one["prompt_tokens"], one["completion_tokens"]) for one in seen}


def test_the_ledger_is_what_engines_did(start: Start, engines: list[str], tmp_path: Path) -> None:
    """Streams and plain answers, failures that were retried, clients that leave in the middle: what was completed is in
    the ledger to the token; of what was not, delivered ≤ ledger ≤ engine; in all it is within 1 % of theirs."""
    folder = tmp_path / "ledger"
    sick = Emulators(tmp_path, 1.0, name="sick", fault="status,status=503,probability=0.3")
    slow = Emulators(tmp_path, SLOW, name="slow", model="slow")
    with ending(sick, slow):
        pools = [pool(engines[0], *sick.urls), pool(*slow.urls, name="slow", models=("slow",))]
        gateway = start({"pools": pools, "ledger": {"folder": str(folder)}})
        users = Mixed(gateway)
        run(lambda: users.go(gateway), 90.0)
        done = run(lambda: generated(int(engines[0].rpartition(":")[2]), *sick.ports, *slow.ports))
        written(folder, len(users.completed) + len(users.left))
    names = "client_id, prompt_tokens, completion_tokens, estimated, attempts, outcome"
    rows = {row[0]: row[1:] for row in query(folder, f"SELECT {names} FROM calls")}
    assert len(rows) == len(users.completed) + len(users.left) == 10 + CALLS + CALLS // 12
    ours = theirs = 0
    for id in users.completed:
        prompt, completion, estimated, attempts, outcome = rows[id]
        sent = id if attempts == 1 else f"{id}-{attempts}"
        assert ((prompt, completion), estimated, outcome) == (done[sent], 0, "ok")
        ours, theirs = ours + prompt + completion, theirs + sum(done[sent])
    for id, delivered in users.left.items():
        prompt, completion, estimated, _, outcome = rows[id]
        assert (estimated, outcome) == (1, "client_gone")
        assert delivered <= completion <= done[id][1]
        ours, theirs = ours + prompt + completion, theirs + sum(done[id])
    assert ours == pytest.approx(theirs, rel=0.01)
    lost = query(folder, "SELECT count(*) FROM overheads")
    assert lost == query(folder, "SELECT sum(attempts - 1) FROM calls")
    assert lost[0][0] > 0, "the sick one failed some"


def test_a_locked_database_is_not_noticed(start: Start, engines: list[str], tmp_path: Path) -> None:
    """Another process holds SQLite's lock while calls are made: they are answered as ever, and arrive in the end."""
    folder = tmp_path / "ledger"
    gateway = start({"pools": [pool(*engines[:2])], "ledger": {"folder": str(folder)}})
    run(lambda: ready(gateway, 2))
    run(lambda: ask(gateway.port, chat(2)))
    written(folder, 1)
    with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        async def main() -> None:
            for _ in range(5):
                answers = await asyncio.gather(*(ask(gateway.port, chat(5)) for _ in range(20)))
                assert {answer.status for answer in answers} == {200}

        run(main, 20.0)
        gateway.await_logged("rows wait in the journal")
        assert run(lambda: said(gateway.admin_port, "/admin/ledger"))["written"] == 1
        other.execute("ROLLBACK")
    until(lambda: query(folder, "SELECT count(*) FROM calls") == [(101,)], 15.0, lambda: "all rows")
    gateway.await_logged("answers again")


@pytest.mark.timeout(300)
def test_kills_lose_no_answered_call_and_double_none(tmp_path: Path) -> None:
    """SIGKILL at random moments under load, a hundred times: whoever has his whole answer is in the ledger, once."""
    lives = Lives(tmp_path, seed=1)
    lives.run(KILLS)
    folder = tmp_path / "ledger"
    found = [id for (id,) in query(folder, "SELECT client_id FROM calls WHERE client_id LIKE 'e2e-%'")]
    assert len(found) == len(set(found)), "none twice"
    assert set(lives.answered) <= set(found), "none lost"
    assert query(folder, "SELECT sum(calls) FROM days") == query(folder, "SELECT count(*) FROM calls")
    assert not list(folder.glob("*.damaged"))
