"""Embeddings that go to an engine as one: each client gets its own, and the books agree with the engine to the
token."""

import asyncio
import json
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import ask, eventually, order, pool, post, ready, said, unique
from tests.helpers.wire import Answer, Client, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EMBED = "/v1/embeddings"
CLIENTS = 48


def batching(*urls: str, **more: Any) -> dict[str, Any]:
    """A gateway whose pool lets up to eight go together."""
    return {"pools": [pool(*urls, batching={"wait": "500ms", **more.pop("batching", {})}, **more)]}


def embed(text: str, **more: Any) -> bytes:
    """The body of a request for one embedding."""
    return json.dumps({"model": "tiny", "input": text, **more}).encode()


async def many(gateway: Gateway, bodies: list[bytes], path: str = EMBED, key: str = "") -> list[Answer]:
    """All at once, each on a connection of its own."""
    return await asyncio.gather(*[ask(gateway.port, body, path, key=key) for body in bodies])


async def seen(url: str, since: int = 0) -> list[dict[str, Any]]:
    """What has reached an engine since so many requests."""
    found: list[dict[str, Any]] = await said(int(url.rsplit(":", 1)[1]), "/emulator/seen")
    return found[since:]


async def groups(gateway: Gateway) -> dict[int, int]:
    """Requests that carried several calls, by how many, as the metrics say."""
    page = (await ask(gateway.admin_port, None, "/metrics")).body.decode()
    lines = [line for line in page.splitlines() if line.startswith("penstock_groups_total{")]
    return {int(line.split('"')[1]): int(float(line.split()[-1])) for line in lines}


def vector(answer: Answer) -> list[float]:
    """The one embedding of an answer."""
    (item,) = json.loads(answer.body)["data"]
    assert (item["index"], item["object"]) == (0, "embedding")
    found: list[float] = item["embedding"]
    return found


def test_each_client_gets_its_own_embedding_and_its_own_usage(start: Start, engines: list[str]) -> None:
    """Forty-eight different inputs at once: each answer is that of the input alone, in the shape of an answer to one;
    the usages add up to what the engine counted; and the engine had fewer requests than there were clients."""
    gateway = start(batching(engines[3]))
    texts = [f"text number {number} " + "word " * (number % 7) for number in range(CLIENTS)]

    async def main() -> None:
        await ready(gateway, 1)
        alone = [await ask(int(engines[3].rsplit(":", 1)[1]), embed(text), EMBED) for text in texts]
        before = len(await seen(engines[3]))
        answers = await many(gateway, [embed(text) for text in texts])
        assert {answer.status for answer in answers} == {200}
        assert [vector(answer) for answer in answers] == [vector(answer) for answer in alone]
        came = await seen(engines[3], before)
        assert len({answer.header("x-request-id") for answer in answers}) == CLIENTS
        sizes = await groups(gateway)
        assert sum(size * count for size, count in sizes.items()) + 1 >= CLIENTS // 2, sizes
        assert len({one["id"] for one in came}) <= CLIENTS - sum((size - 1) * count for size, count in sizes.items())
        used = [json.loads(answer.body)["usage"] for answer in answers]
        true = [json.loads(answer.body)["usage"] for answer in alone]
        assert sum(one["prompt_tokens"] for one in used) == sum(one["prompt_tokens"] for one in true)
        assert all(one["total_tokens"] == one["prompt_tokens"] for one in used)

    run(main)


def test_one_bad_input_costs_its_neighbours_nothing_but_time(start: Start, engines: list[str]) -> None:
    """An input that the engine refuses is answered with its refusal; all others that it was sent with have theirs."""
    gateway = start(batching(engines[3], batching={"max_bytes": "1MiB", "wait": "500ms"}))
    bad = "word " * 40_000
    texts = [f"text number {number}" for number in range(20)]

    async def main() -> None:
        await ready(gateway, 1)
        answers = await many(gateway, [embed(text) for text in [*texts[:10], bad, *texts[10:]]])
        assert [answer.status for answer in answers] == [200] * 10 + [400] + [200] * 10
        assert "error" in json.loads(answers[10].body)
        assert any(answer.header("x-penstock-attempts") == "2" for answer in answers)

    run(main)


def test_who_leaves_takes_nobody_along(start: Start, engines: list[str]) -> None:
    """Clients that close while their requests gather or are out cost the others nothing, and nothing is left behind."""
    gateway = start(batching(engines[3]))

    async def main() -> None:
        await ready(gateway, 1)
        leaving = [Client(gateway.port) for _ in range(6)]
        for number, client in enumerate(leaving):
            await client.__aenter__()
            client.send(post(embed(f"leaves {number}"), EMBED))
        staying = asyncio.ensure_future(many(gateway, [embed(f"stays {number}") for number in range(12)]))
        for client in leaving:
            await client.__aexit__(None, None, None)
        assert [answer.status for answer in await staying] == [200] * 12

    run(main)


def test_a_lone_client_never_waits_for_others(start: Start, engines: list[str]) -> None:
    """One after the other, calls go at once and alone, though `wait` is half a second."""
    gateway = start(batching(engines[0]))

    async def main() -> None:
        await ready(gateway, 1)
        for number in range(5):
            answer = await ask(gateway.port, embed(f"alone {number}"), EMBED)
            assert answer.status == 200
            assert int(answer.header("x-penstock-queue-ms") or -1) < 400
        assert await groups(gateway) == {}

    run(main)


def test_only_what_is_alike_goes_together(start: Start, engines: list[str]) -> None:
    """Two tenants, two sets of parameters, lists of inputs, and completions where they are not asked for: none is mixed
    with another, and every answer has the form that its request asked for."""
    keys = [{"name": name, "key": f"sk-{name}"} for name in ("one", "two")]
    gateway = start({**batching(engines[3]), "keys": keys, "tenants": [{"name": "t"}]})

    async def main() -> None:
        await ready(gateway, 1)
        sent = [
            (key, body)
            for number in range(6)
            for key in ("sk-one", "sk-two")
            for body in (
                embed(f"x {number}"), embed(f"x {number}", encoding_format="base64"),
                embed(f"x {number}", dimensions=8),
            )
        ]  # fmt: skip
        lists = [json.dumps({"model": "tiny", "input": ["a", f"b {number}"]}).encode() for number in range(4)]
        answers = await asyncio.gather(
            *[ask(gateway.port, body, EMBED, key=key) for key, body in sent],
            *[ask(gateway.port, body, EMBED, key="sk-one") for body in lists],
        )
        assert {answer.status for answer in answers} == {200}
        for (_, body), answer in zip(sent, answers):
            asked, got = json.loads(body), json.loads(answer.body)["data"]
            assert len(got) == 1
            if "encoding_format" in asked:
                assert isinstance(got[0]["embedding"], str)
            elif "dimensions" in asked:
                assert len(got[0]["embedding"]) == 8
        assert all(len(json.loads(answer.body)["data"]) == 2 for answer in answers[len(sent) :])
        shown = (await order(gateway, "GET", "/admin/explain"))[1]
        assert shown

    run(main)


def test_completions_go_together_where_they_are_asked_to(start: Start, engines: list[str]) -> None:
    """Each prompt has its own text, and the tokens of all add up to what the engine counted."""
    gateway = start(batching(engines[3], batching={"completions": True, "wait": "500ms"}))
    prompts = [f"once upon a time {number}" for number in range(16)]
    bodies = [json.dumps({"model": "tiny", "prompt": prompt, "max_tokens": 5}).encode() for prompt in prompts]

    async def main() -> None:
        await ready(gateway, 1)
        port = int(engines[3].rsplit(":", 1)[1])
        alone = [json.loads((await ask(port, body, "/v1/completions")).body) for body in bodies]
        answers = [json.loads(answer.body) for answer in await many(gateway, bodies, "/v1/completions")]
        assert [one["choices"] for one in answers] == [one["choices"] for one in alone]
        for field in ("prompt_tokens", "completion_tokens", "total_tokens"):
            assert sum(one["usage"][field] for one in answers) == sum(one["usage"][field] for one in alone)
        assert await groups(gateway)

    run(main)


def test_an_explanation_tells_with_whom_a_call_went(start: Start, engines: list[str]) -> None:
    """`explain` of a call that was sent with others says so, and which replica got the group and why."""
    gateway = start(batching(engines[3]))
    ids = [unique() for _ in range(12)]

    async def main() -> None:
        await ready(gateway, 1)
        await asyncio.gather(*[ask(gateway.port, embed(f"e {id}"), EMBED, id=id) for id in ids])
        told = [json.dumps((await order(gateway, "GET", f"/admin/explain/{id}"))[1]) for id in ids]
        assert any("goes as one with" in text for text in told), told[0]

    run(main)


def test_a_replica_that_dies_under_a_group_costs_no_call(start: Start, tmp_path: Any) -> None:
    """Killed with groups under way, its calls are answered by the other one."""
    with ending(Emulators(tmp_path, 0.01, name="dies"), Emulators(tmp_path, 1.0, name="lives")) as (dies, lives):
        assert isinstance(dies, Emulators)
        assert isinstance(lives, Emulators)
        gateway = start(batching(*dies.urls, *lives.urls, strategy="round_robin"))

        async def main() -> None:
            await ready(gateway, 2)
            asked = asyncio.ensure_future(many(gateway, [embed(f"d {number} " + "w " * 60) for number in range(64)]))
            await eventually(lambda: groups(gateway), "groups under way")
            dies.kill()
            assert {answer.status for answer in await asked} == {200}

        run(main)
