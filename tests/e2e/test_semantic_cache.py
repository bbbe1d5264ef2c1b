"""The semantic cache over real sockets and processes: by the local model, and by one that the gateway serves."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.traffic import at_rest, chat, eventually, pool, post, ready, said
from tests.helpers.wire import Answer, Client, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

WORDS = ("How do I reset my password?", "What is the way to reset my password?")
OPPOSITES = ("How do I enable two-factor authentication?", "How do I disable two-factor authentication?")
PORTS = ("Open port 8080 in the firewall", "Open port 8000 in the firewall")


def question(text: str, *, stream: bool) -> bytes:
    """One whose answer is determined."""
    return json.dumps({**json.loads(chat(5, stream=stream, text=text)), "temperature": 0}).encode()


async def one(port: int, text: str, *, stream: bool = False, key: str = "") -> Answer:
    """Its answer, on a connection of its own."""
    async with Client(port) as client:
        client.send(post(question(text, stream=stream), key=key))
        return await client.answer()


async def state(port: int, text: str, **how: Any) -> tuple[str | None, bool]:
    """What the cache had to do with it, and whether it was answered for another question."""
    found = await one(port, text, **how)
    assert found.status == 200
    return found.header("x-penstock-cache"), found.header("x-penstock-cache-similarity") is not None


def test_the_local_model_finds_the_same_question_in_other_words(start: Start, engines: list[str]) -> None:
    """As an answer and as a stream; not for another tenant, not the opposite, not another number; the access log, the
    admin API and the metrics tell it from the same question."""
    pytest.importorskip("wordllama", reason="the extra `semantic` is not installed")
    keys: list[dict[str, Any]] = [{"name": name, "key": f"sk-{name}"} for name in ("acme", "lab")]
    file = {"pools": [pool(engines[0])], "cache": {"semantic": {"mode": "all"}}, "keys": keys}
    gateway = start(file)

    async def main() -> None:
        await ready(gateway)
        port, acme = gateway.port, "sk-acme"
        for stream in (False, True):
            assert await state(port, WORDS[0], stream=stream, key=acme) == ("miss", False)
            assert await state(port, WORDS[1], stream=stream, key=acme) == ("hit", True)
        first, second = [await one(port, text, stream=True, key=acme) for text in WORDS]
        assert first.body == second.body
        assert second.body.endswith(b"data: [DONE]\n\n")
        assert await state(port, WORDS[1], key="sk-lab") == ("miss", False)
        for texts in (OPPOSITES, PORTS):
            assert [await state(port, text, key=acme) for text in texts] == [("miss", False), ("miss", False)]
        calls = (await said(gateway.admin_port, "/admin/cache"))["calls"]
        assert calls == {"hit": 1, "similar": 3, "coalesced": 0, "miss": 7, "bypass": 0}

        async def logged() -> bool:
            rows = [json.loads(line) for line in gateway.log().splitlines() if '"cache":' in line]
            return [row["cache"] for row in rows].count("similar") == 3

        await eventually(logged, "three lines of the access log")

    run(main, 60.0)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_served_model_gives_the_embeddings(start: Start, engines: list[str], workers: int) -> None:
    """The gateway asks its own pool: an emulated model, in which texts with words in common are near each other; with
    workers each asks for itself, and finds what itself has kept."""
    pytest.importorskip("numpy", reason="the extra `semantic` is not installed")
    chats, vectors = pool(engines[0]), pool(engines[1])
    vectors = {**vectors, "name": "vectors", "models": ["embed"]}
    vectors["replicas"] = [{**replica, "models": {"embed": "tiny"}} for replica in vectors["replicas"]]
    semantic = {"mode": "all", "model": "embed", "threshold": 0.4, "timeout": "20s"}
    gateway = start({"pools": [chats, vectors], "cache": {"semantic": semantic}, "workers": workers})

    async def main() -> None:
        await ready(gateway, 2)
        seen = [await state(gateway.port, WORDS[0]) for _ in range(20 * workers)]
        assert 1 <= seen.count(("miss", False)) <= workers
        await at_rest(gateway)  # the embeddings of what is kept are there
        found = [await state(gateway.port, WORDS[1]) for _ in range(20 * workers)]
        assert ("hit", True) in found
        assert found.count(("miss", False)) < workers

    run(main, 100.0)


def test_without_the_word_nothing_is_compared(start: Start, engines: list[str]) -> None:
    """Neither without a block, nor with one whose mode is `asked`."""
    pytest.importorskip("wordllama", reason="the extra `semantic` is not installed")
    blocks: list[dict[str, Any]] = [{}, {"semantic": {}}]
    for cache in blocks:
        gateway = start({"pools": [pool(engines[0])], "cache": cache})

        async def main(gateway: Any = gateway) -> None:
            await ready(gateway)
            assert [await state(gateway.port, text) for text in WORDS] == [("miss", False), ("miss", False)]

        run(main, 60.0)
