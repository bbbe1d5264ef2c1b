"""The journal of a real gateway: it replays exactly, its traffic can be simulated, and nobody's words are in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import until
from tests.helpers.traffic import ask, at_rest, chat, order, pool, ready
from tests.helpers.wire import Client, run

pytestmark = pytest.mark.slow

PROMPT = "Zanzibar-marmalade, a word of mine"
KEY, ADMIN_KEY, UPSTREAM_KEY = "sk-client-0123456789", "sk-admin-0123456789", "sk-upstream-0123456789"
SESSION, COOKIE = "session-that-is-secret", "cookie-that-is-secret"


def simulate(*words: str, status: int = 0) -> str:
    """What `penstock simulate` says."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "simulate", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def headers(body: bytes) -> bytes:
    """A request with everything that is somebody's own."""
    lines = [
        "POST /v1/chat/completions?token=in-the-query HTTP/1.1", "Host: test", "Content-Type: application/json",
        f"Authorization: Bearer {KEY}", f"X-Session-Id: {SESSION}", f"Cookie: s={COOKIE}", "X-Other: header-of-mine",
        f"Content-Length: {len(body)}",
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_what_was_recorded_live_replays_and_can_be_tried_otherwise(
    start: Start, engines: list[str], tmp_path: Path
) -> None:
    """A gateway over an engine that is slow and three that are quick, with refusals, a replica that leaves and a reload
    that changes its policy: all its facts give all its orders again, and another policy is compared with what was."""
    path = tmp_path / "journal"
    tree: dict[str, Any] = {"pools": [pool(*engines, strategy="adaptive")], "journal": str(path)}
    gateway = start(tree)

    async def main() -> None:
        await ready(gateway, 4)
        for number in range(30):
            text = f"{'The same beginning. ' * 80}{number}"
            answer = await ask(gateway.port, chat(2 + number % 5, stream=number % 3 > 0, text=text))
            assert answer.status == 200
        assert (await ask(gateway.port, chat(model="nobody"))).status == 404
        gateway.write({**gateway.tree, "pools": [pool(*engines[:3], strategy="least_loaded")]})
        status, _ = await order(gateway, "POST", "/admin/reload")
        assert status == 200
        for _ in range(10):
            assert (await ask(gateway.port, chat(3))).status == 200
        await at_rest(gateway)

    run(main, 40.0)
    assert gateway.stop() == 0
    said = simulate("--from-journal", str(path))
    assert "identical" in said
    found = json.loads(simulate("--from-journal", str(path), "--json", "-"))
    assert found["difference"] is None
    assert found["lives"][0]["facts"] > 100
    other = tmp_path / "other.yaml"
    other.write_text("pools: [{name: tiny, strategy: round_robin, replicas: [{url: 'http://127.0.0.1:9'}]}]\n")
    words = ("--from-journal", str(path), "--what-if", str(other), "--cost", "fast", "--quiet")
    said = simulate(*words)
    assert "40 calls of pool tiny" in said
    assert "Left out: 1 that were wrong in themselves or beyond a limit." in said
    columns = json.loads(simulate(*words, "--json", "-"))["comparison"]["columns"]
    assert [column["policy"] for column in columns] == ["measured", "as it was", "other"]
    assert [column["numbers"]["ok"]["mean"] for column in columns] == [40.0, 40.0, 40.0]
    tokens = [column["runs"][0]["output_tokens_per_s"] * column["runs"][0]["duration_s"] for column in columns]
    assert tokens == pytest.approx([tokens[0]] * 3)
    assert tokens[0] == pytest.approx(sum(2 + number % 5 for number in range(30)) + 30)


def test_a_gateway_that_is_killed_leaves_a_journal_that_replays(
    start: Start, engines: list[str], tmp_path: Path
) -> None:
    """Killed and started again over the same file: both lives come out again."""
    path = tmp_path / "journal"
    tree = {"pools": [pool(*engines[:2])], "journal": str(path)}

    async def traffic(gateway: Any) -> None:
        await ready(gateway, 2)
        for _ in range(10):
            assert (await ask(gateway.port, chat(3))).status == 200

    first = start(tree)
    run(lambda: traffic(first), 20.0)
    until(lambda: path.read_text().count('"type":"Record"') == 10, 10.0, lambda: "the journal's thread to write")
    first.kill()
    with path.open("ab") as file:
        file.write(b'[1.0,{"type":"Wo')  # half a line, as a kill leaves it
    assert "identical" in simulate("--from-journal", str(path))
    second = start(tree)
    run(lambda: traffic(second), 20.0)
    run(lambda: at_rest(second), 20.0)
    second.stop()
    assert simulate("--from-journal", str(path)).count("process of") == 2


def test_nobodys_words_and_no_secret_are_in_it(start: Start, engines: list[str], tmp_path: Path) -> None:
    """Prompts, answers, keys, sessions, cookies, headers, query strings, and what replicas are shown."""
    path = tmp_path / "journal"
    shown = pool(engines[0], sticky={"header": "x-session-id", "cookie": "s"}, strategy="prefix_aware")
    shown["replicas"][0] |= {"api_key": UPSTREAM_KEY, "headers": {"x-to-engine": "header-for-engines"}}
    keys = [{"name": "mine", "key": KEY}]
    gateway = start({"pools": [shown], "journal": str(path), "keys": keys, "admin_key": ADMIN_KEY})

    async def main() -> list[str]:
        answers = []
        for stream in (True, False):
            async with Client(gateway.port) as client:
                client.send(headers(chat(8, stream=stream, text=PROMPT * 100)))
                answer = await client.answer()
                assert answer.status == 200, answer.body
                answers.append(answer.body.decode())
        return answers

    answers = run(main, 30.0)
    assert gateway.stop() == 0
    text = path.read_text()
    assert '"tenant":"mine"' in text
    assert '"type":"Record"' in text
    words = json.loads(answers[1])["choices"][0]["message"]["content"]
    secrets = (
        "Zanzibar", "marmalade", words, KEY, ADMIN_KEY, UPSTREAM_KEY, SESSION, COOKIE, "header-of-mine", "in-the-query",
        "header-for-engines",
    )  # fmt: skip
    assert [secret for secret in secrets if secret in text] == []
    assert "identical" in simulate("--from-journal", str(path))
