"""The ledger of a real gateway: every call that a client was answered is in it, once, and to the token."""

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
from tests.helpers.processes import until
from tests.helpers.traffic import ask, chat, pool, ready, unique
from tests.helpers.wire import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

KILLS = 5
"""Here; `python -m bench.ledger kills` does a hundred."""
PRICES = {"tiny": {"prompt": 100, "completion": 200}}


def query(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a statement finds in a ledger."""
    with closing(sqlite3.connect(folder / "ledger.db")) as base:
        return base.execute(statement).fetchall()


def written(folder: Path, count: int) -> None:
    """Wait until so many rows are in the database."""

    def there() -> bool:
        return (folder / "ledger.db").exists() and query(folder, "SELECT count(*) FROM calls")[0][0] >= count

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


def test_kills_lose_no_answered_call_and_double_none(tmp_path: Path) -> None:
    """SIGKILL at random moments under load, five times over: whoever has his whole answer is in the ledger, once."""
    lives = Lives(tmp_path, seed=1)
    lives.run(KILLS)
    folder = tmp_path / "ledger"
    found = [id for (id,) in query(folder, "SELECT client_id FROM calls WHERE client_id LIKE 'e2e-%'")]
    assert len(found) == len(set(found)), "none twice"
    assert set(lives.answered) <= set(found), "none lost"
    assert query(folder, "SELECT sum(calls) FROM days") == query(folder, "SELECT count(*) FROM calls")
    assert not list(folder.glob("*.damaged"))
