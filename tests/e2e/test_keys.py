"""Keys of clients in a gateway that runs: revoked within a second, and never written down anywhere."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.traffic import ask, chat, eventually, pool, ready
from tests.helpers.wire import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

KEYS = {"one": "sk-plain-key-of-one", "two": "sk-plain-key-of-two"}
WRONG = "sk-nobody-has-this-key"
PAGES = ("/metrics", "/admin/fleet", "/admin/queues", "/admin/tenants", "/admin/explain", "/admin/journal")


def keyed(engine: str, folder: Path, *names: str) -> dict[str, Any]:
    """A gateway that writes down all that it can, for these keys."""
    return {
        "pools": [pool(engine)], "keys": [{"name": name, "key": KEYS[name]} for name in names],
        "journal": str(folder / "journal.jsonl"), "log": {"access": True, "level": "debug"},
        "ledger": {"folder": str(folder / "ledger")},
    }  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_a_revoked_key_is_refused_within_a_second(
    start: Start, engines: list[str], tmp_path: Path, workers: int
) -> None:  # fmt: skip
    """Its entry is taken out of the file, and a gateway that runs refuses it, whichever worker is asked; the other key
    goes on."""
    gateway = start(keyed(engines[0], tmp_path, "one", "two") | {"workers": workers})

    async def main() -> None:
        await ready(gateway, 1)
        assert (await ask(gateway.port, chat(), key=KEYS["one"])).status == 200
        gateway.write(gateway.tree | keyed(engines[0], tmp_path, "two"))
        began = time.monotonic()

        async def refused() -> bool:
            asked = [await ask(gateway.port, chat(), key=KEYS["one"]) for _ in range(1 if workers == 1 else 12)]
            return {answer.status for answer in asked} == {401}

        await eventually(refused, "the key to be refused")
        took_s = time.monotonic() - began
        assert (await ask(gateway.port, chat(), key=KEYS["two"])).status == 200
        sys.stdout.write(f"{workers} workers: refused after {took_s:.2f} s\n")
        assert took_s < 5.0, f"{took_s:.2f} s"  # a second where the machine is not busy with other tests

    run(main)


def test_no_key_is_written_anywhere(start: Start, engines: list[str], tmp_path: Path) -> None:
    """Good and wrong keys, in every header that may carry one, answered and refused: none stands in an answer, a log,
    the journal, the ledger, or on any page of the admin API."""
    gateway = start(keyed(engines[0], tmp_path, "one"))
    secrets = [*KEYS.values(), WRONG]

    async def main() -> list[bytes]:
        await ready(gateway, 1)
        said = [await ask(gateway.port, chat(), key=key) for key in (KEYS["one"], KEYS["one"], WRONG)]
        said += [await ask(gateway.port, chat(model="none"), key=KEYS["one"]), await ask(gateway.port, b"{", key=WRONG)]
        assert [answer.status for answer in said] == [200, 200, 401, 404, 401]
        said += [await ask(gateway.admin_port, None, page) for page in PAGES]
        return [answer.body + json.dumps(answer.headers).encode() for answer in said]

    pages = run(main)
    assert gateway.stop() == 0, gateway.log()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".yaml", ".yml")]
    assert {"journal.jsonl", "ledger.db"} <= {path.name for path in files}
    for secret in secrets:
        assert not [page for page in pages if secret.encode() in page]
        assert not [path for path in files if secret.encode() in path.read_bytes()]
        assert secret not in gateway.log()
