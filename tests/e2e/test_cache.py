"""The cache over real sockets and processes: crowds with one question, questions that repeat themselves."""

import asyncio
import contextlib
import json
from collections import Counter
from itertools import accumulate
from random import Random
from typing import Any

import pytest

from penstock.loadgen.client import Client as Caller
from penstock.loadgen.client import Target
from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import CHAT, ask, at_rest, begun, chat, eventually, order, pool, post, ready, said, seen
from tests.helpers.wire import Answer, Client, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

CROWD = 1000


def question(text: str, tokens: int = 20, *, stream: bool = True) -> bytes:
    """One whose answer is determined."""
    return json.dumps({**json.loads(chat(tokens, stream=stream, text=text)), "temperature": 0}).encode()


async def one(port: int, body: bytes) -> Answer:
    """Its answer, on a connection of its own."""
    async with Client(port) as client:
        client.send(post(body))
        return await client.answer()


async def asked(gateway: Gateway, engine: str) -> int:
    """Requests that this engine has got through this gateway."""
    return len(await seen(int(engine.rpartition(":")[2])))


def test_a_thousand_streams_of_one_question_are_one_request(start: Start, engines: list[str]) -> None:
    """All at once, while the engine streams slowly: it gets one request, and each client the whole stream; a tenth of
    them leave on the way, the first among them, and nobody else notices."""
    gateway = start({"pools": [pool(engines[3])], "cache": {}})
    body = question("a thousand", 400)  # long enough for all to come, however busy the machine is

    async def main() -> None:
        await ready(gateway)
        before = await asked(gateway, engines[3])
        leaving = asyncio.create_task(one(gateway.port, body))
        await begun(gateway)
        crowd = [asyncio.create_task(one(gateway.port, body)) for _ in range(CROWD)]

        async def all_there() -> bool:
            view = await said(gateway.admin_port, "/admin/cache")
            return int(view["following"]) == CROWD

        await eventually(all_there, "the crowd", 60.0)
        leaving.cancel()
        for task in crowd[: CROWD // 10]:
            task.cancel()
        got = await asyncio.gather(*crowd[CROWD // 10 :])
        again = await one(gateway.port, body)
        assert {answer.complete for answer in got} == {True}
        assert len({answer.body for answer in [*got, again]}) == 1
        assert got[0].body.endswith(b"data: [DONE]\n\n")
        assert again.header("x-penstock-cache") == "hit"
        assert {answer.header("x-penstock-cache") for answer in got} == {"coalesced"}
        assert await asked(gateway, engines[3]) == before + 1
        await at_rest(gateway)

    run(main, 120.0)


ZIPF, QUESTIONS, REQUESTS, KEPT = 1.0, 2000, 6000, 500


def drawn(seed: int) -> list[int]:
    """Questions as they are asked: the n-th most frequent with a weight of 1 / n."""
    weights = list(accumulate(1 / (rank**ZIPF) for rank in range(1, QUESTIONS + 1)))
    return Random(seed).choices(range(QUESTIONS), cum_weights=weights, k=REQUESTS)


def test_most_of_traffic_that_repeats_itself_is_answered_from_memory(start: Start, engines: list[str]) -> None:
    """Of 6,000 questions out of 2,000, asked as often as Zipf's law with exponent 1 says, by 16 users at a time, with
    room for 500 answers, over 60 % are hits; each answer is its question's, and engines get the others once each."""
    gateway = start({"pools": [pool(engines[0])], "cache": {"entries": KEPT}, "log": {"access": False}})

    async def main() -> None:
        await ready(gateway)
        before = await asked(gateway, engines[0])
        bodies: dict[int, set[bytes]] = {}
        client = Caller(Target("127.0.0.1", gateway.port))
        waiting = iter(drawn(1))

        async def user() -> None:
            for number in waiting:
                answer = await client.ask("POST", CHAT, question(f"question {number}", 3, stream=number % 2 == 0))
                assert not answer.error
                bodies.setdefault(number, set()).add(answer.body)

        with contextlib.closing(client):
            await asyncio.gather(*[user() for _ in range(16)])
        calls: dict[str, int] = (await said(gateway.admin_port, "/admin/cache"))["calls"]
        assert sum(calls.values()) == REQUESTS
        assert (calls["hit"] + calls["coalesced"]) / REQUESTS > 0.6, calls
        assert await asked(gateway, engines[0]) - before == calls["miss"]

    run(main, 120.0)


def test_tenants_do_not_share_and_tags_put_out_of_use(start: Start, engines: list[str]) -> None:
    """Through the product's own doors: keys, headers, and the admin API; the ledger of requests agrees."""
    keys: list[dict[str, Any]] = [{"name": name, "key": f"sk-{name}"} for name in ("acme", "lab")]
    gateway = start({"pools": [pool(engines[0])], "cache": {}, "keys": keys})
    body = question("tags", 3, stream=False)

    async def states(key: str, extra: str = "") -> str:
        async with Client(gateway.port) as client:
            plain = post(body, key=key)
            client.send(plain.replace(b"Host: test\r\n", b"Host: test\r\n" + extra.encode()))
            return (await client.answer()).header("x-penstock-cache") or ""

    async def main() -> None:
        await ready(gateway)
        tags = "x-penstock-cache-tags: prices\r\n"
        found = [await states("sk-acme", tags), await states("sk-lab"), await states("sk-acme"), await states("sk-lab")]
        assert found == ["miss", "miss", "hit", "hit"]
        assert await order(gateway, "POST", "/admin/cache/invalidate", {"tag": "prices"}) == (
            200,
            {"invalidated": 1, "shared": None},
        )
        assert [await states("sk-acme"), await states("sk-lab")] == ["miss", "hit"]

        async def logged() -> bool:
            rows = [json.loads(line) for line in gateway.log().splitlines() if '"cache":' in line]
            return Counter(row["cache"] for row in rows) == {"miss": 3, "hit": 3}

        await eventually(logged, "six lines of the access log")

    run(main)


def test_workers_have_what_one_keeps_and_forget_together(start: Start, engines: list[str]) -> None:
    """With two workers an engine is asked once, or twice where they do not know each other yet; the admin API adds them
    up, and what it puts out of use neither of them gives any more."""
    gateway = start({"pools": [pool(engines[0])], "cache": {}, "workers": 2})
    body = question("workers", 3, stream=False)

    async def main() -> None:
        await ready(gateway)
        for times in (1, 2):
            got = Counter([(await one(gateway.port, body)).header("x-penstock-cache") for _ in range(40)])
            assert got["miss"] <= 2
            assert got["hit"] == 40 - got["miss"]
            view = await said(gateway.admin_port, "/admin/cache")
            assert sum(view["calls"].values()) == 40 * times
            status, done = await order(gateway, "POST", "/admin/cache/invalidate", {"all": True})
            assert status == 200
            assert 1 <= done["invalidated"] <= 2

    run(main, 60.0)


def test_a_killed_engine_is_told_to_all(start: Start, engines: list[str], tmp_path: Any) -> None:
    """In the middle of a stream that fifty share, each gets the error event and none an end that looks whole."""
    with ending(emulators := Emulators(tmp_path, 0.01)):
        gateway = start({"pools": [pool(*emulators.urls)], "cache": {}})
        body = question("killed", 2000)

        async def main() -> None:
            await ready(gateway)
            crowd = [asyncio.create_task(one(gateway.port, body)) for _ in range(50)]
            await begun(gateway, 50)
            emulators.kill()
            for answer in await asyncio.gather(*crowd):
                assert b"died_mid_answer" in answer.body
                assert b"[DONE]" not in answer.body
            assert (await ask(gateway.port, None, "/v1/models")).status == 200

        run(main, 60.0)
