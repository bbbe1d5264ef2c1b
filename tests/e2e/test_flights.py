"""Identical calls at the same time, over several workers: one request, whatever becomes of its leader."""

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.e2e.test_cache import asked, one, question
from tests.e2e.test_workers import children
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import ask, at_rest, eventually, order, pool, post, ready, said
from tests.helpers.wire import Answer, Client, run

Flying = tuple["asyncio.Task[Answer]", list["asyncio.Task[Answer]"]]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

CROWD = 1_000
WORKERS = 4


def tree(engine: str, workers: int = WORKERS, **more: Any) -> dict[str, Any]:
    """A gateway of several workers over one engine."""
    return {"pools": [pool(engine)], "cache": {}, "workers": workers, **more}


async def number(gateway: Gateway, name: str) -> int:
    """What a metric of the gateway says, without labels."""
    page = (await ask(gateway.admin_port, None, "/metrics")).body.decode()
    lines = [line for line in page.splitlines() if line.startswith(f"{name}{{}} ")]
    return int(float(lines[0].rpartition(" ")[2])) if lines else 0


async def linked(gateway: Gateway, workers: int = WORKERS) -> None:
    """Wait until replicas can serve, and each worker can ask each other one."""
    await ready(gateway)

    async def so() -> bool:
        return await number(gateway, "penstock_cache_workers_linked") == workers * (workers - 1)

    await eventually(so, "workers that know each other", 20.0)


async def together(gateway: Gateway, count: int) -> None:
    """Wait until so many calls wait for another's answer."""

    async def so() -> int:
        return int((await said(gateway.admin_port, "/admin/cache"))["following"]) == count

    await eventually(so, f"{count} calls that follow", 20.0)


async def answers(tasks: list["asyncio.Task[Answer]"]) -> list[Answer]:
    """All of them; a connection that was lost is no answer."""
    got = await asyncio.gather(*tasks, return_exceptions=True)
    return [each for each in got if isinstance(each, Answer) and each.status]


async def held_by(gateway: Gateway) -> dict[str, list[str]]:
    """Worker -> ids of its calls that have ended."""
    found: dict[str, list[str]] = {}
    for call in await said(gateway.admin_port, "/admin/explain?last=1000"):
        found.setdefault(call["id"].partition("w")[2].partition("-")[0], []).append(call["id"])
    return found


def test_identical_streams_over_four_workers_are_one_request(start: Start, engines: list[str]) -> None:
    """A thousand at once: the engine gets one request, each client the whole stream; each worker has some of them; each
    call has its own line in the log; and afterwards every worker has the answer."""
    gateway = start(tree(engines[3]))
    body = question("one thousand", 60)

    async def main() -> None:
        await linked(gateway)
        before = await asked(gateway, engines[3])
        got = await asyncio.gather(*[one(gateway.port, body) for _ in range(CROWD)])
        assert {(answer.status, answer.complete) for answer in got} == {(200, True)}
        assert len({answer.body for answer in got}) == 1
        assert got[0].body.endswith(b"data: [DONE]\n\n")
        assert await asked(gateway, engines[3]) == before + 1
        states = Counter(answer.header("x-penstock-cache") for answer in got)
        assert states["miss"] == 1
        assert set(states) <= {"miss", "coalesced", "hit"}
        assert len(await held_by(gateway)) == WORKERS
        again = [(await one(gateway.port, body)).header("x-penstock-cache") for _ in range(40)]
        assert set(again) == {"hit"}
        assert await asked(gateway, engines[3]) == before + 1
        calls: dict[str, int] = (await said(gateway.admin_port, "/admin/cache"))["calls"]
        assert (sum(calls.values()), calls["miss"]) == (CROWD + 40, 1)
        await at_rest(gateway)

    run(main, 120.0)


async def flying(
    gateway: Gateway, body: bytes, crowd: int
) -> tuple["asyncio.Task[Answer]", list["asyncio.Task[Answer]"]]:
    """The first client of an answer that streams, and a crowd at all workers that follows it."""
    first = asyncio.create_task(one(gateway.port, body))

    async def alone() -> bool:
        return int((await said(gateway.admin_port, "/admin/cache"))["leading"]) == 1

    await eventually(alone, "a leader")
    others = [asyncio.create_task(one(gateway.port, body)) for _ in range(crowd)]
    await together(gateway, crowd)
    return first, others


def worker_of(gateway: Gateway, number: int) -> int:
    """The process of this worker, by what it says of itself."""
    for pid in children(gateway.pid):
        if f"worker-{number}" in sockets_of(pid):
            return pid
    raise AssertionError(f"no process of worker {number}")


def sockets_of(pid: int) -> set[str]:
    """The names of the Unix sockets on which a process listens."""
    table = {line.split()[6]: line.split()[7:] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    found: set[str] = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        target = str(file.readlink())
        if target.startswith("socket:["):
            found |= {Path(name).name for name in table.get(target[8:-1], [])}
    return found


async def leader_of(gateway: Gateway) -> int:
    """The worker whose call runs at the engine."""
    turns = await said(gateway.admin_port, "/admin/journal?last=10000")
    (id,) = {each["id"] for _, _, orders in turns for each in orders if each["type"] == "Send"}
    return int(id.partition("w")[2].partition("-")[0])


def test_the_first_client_leaves(start: Start, engines: list[str]) -> None:
    """Nothing is sent again: all others, at its worker and elsewhere, get the whole stream."""
    gateway = start(tree(engines[3]))
    body = question("the first leaves", 150)

    async def main() -> None:
        await linked(gateway)
        before = await asked(gateway, engines[3])
        first, others = await flying(gateway, body, 60)
        first.cancel()
        got = await asyncio.gather(*others)
        assert {(answer.status, answer.complete) for answer in got} == {(200, True)}
        assert len({answer.body for answer in got}) == 1
        assert got[0].body.endswith(b"data: [DONE]\n\n")
        assert await asked(gateway, engines[3]) == before + 1
        await at_rest(gateway)

    run(main, 60.0)


def test_the_first_client_leaves_and_all_others_are_elsewhere(start: Start, engines: list[str]) -> None:
    """When the leader's own worker has no other client of the answer, its call goes on for those at other workers, and
    its row has the tokens; when they leave as well, the engine is told to stop."""
    gateway = start(tree(engines[3], 2))
    body = question("all elsewhere", 150)

    async def main() -> None:
        await linked(gateway, 2)
        before = await asked(gateway, engines[3])
        for stays in (True, False):
            mine = body.replace(b"all", b"stays" if stays else b"leaves")
            first = asyncio.create_task(one(gateway.port, mine))
            others = await elsewhere(gateway, mine, 3)
            first.cancel()
            if not stays:
                for other in others:
                    other.cancel()
            got = await answers(others)
            assert len(got) == (3 if stays else 0)
            assert all(answer.complete and answer.body.endswith(b"data: [DONE]\n\n") for answer in got)
            await at_rest(gateway)
        assert await asked(gateway, engines[3]) == before + 2

    run(main, 60.0)


async def elsewhere(gateway: Gateway, body: bytes, count: int) -> list["asyncio.Task[Answer]"]:
    """So many clients that follow, all at the worker that does not lead; who came to the other one has left."""
    tasks: dict[str, asyncio.Task[Answer]] = {}

    async def leading() -> bool:
        return int((await said(gateway.admin_port, "/admin/cache"))["leading"]) > 0

    await eventually(leading, "a leader")
    leader = await leader_here(gateway)
    stay: list[asyncio.Task[Answer]] = []
    while len(stay) < count:
        before = await calls_of(gateway)
        task = asyncio.create_task(one(gateway.port, body))

        async def come(before: set[str] = before) -> bool:
            return len(await calls_of(gateway)) == len(before) + 1

        await eventually(come, "a call that has come")
        (new,) = await calls_of(gateway) - before
        tasks[new] = task
        if f"w{leader}-" in new:
            task.cancel()
        else:
            stay.append(task)
    return stay


async def calls_of(gateway: Gateway) -> set[str]:
    """Ids of all calls that have arrived, by the journal."""
    turns = await said(gateway.admin_port, "/admin/journal?last=10000")
    return {event["call"]["id"] for _, event, _ in turns if event["type"] == "Arrived"}


async def leader_here(gateway: Gateway) -> int:
    """The worker of the call that was sent last."""
    sent: list[str] = []

    async def some() -> bool:
        turns = await said(gateway.admin_port, "/admin/journal?last=10000")
        sent[:] = [each["id"] for _, _, orders in turns for each in orders if each["type"] == "Send"]
        return bool(sent)

    await eventually(some, "a call that is sent")
    return int(sent[-1].partition("w")[2].partition("-")[0])


async def begun(gateway: Gateway) -> bool:
    """Whether an engine has begun to answer."""
    turns = await said(gateway.admin_port, "/admin/journal?last=10000")
    return any(event["type"] == "Began" for _, event, _ in turns)


def test_the_leaders_worker_is_killed(start: Start, engines: list[str]) -> None:
    """In the middle of the stream: its own clients lose their connections; those of other workers get what there was,
    and the error event, and nobody hangs. The next identical crowd is one request again."""
    gateway = start(tree(engines[3]))
    body = question("killed worker", 150)

    async def main() -> None:
        await linked(gateway)
        first, others = await flying(gateway, body, 60)
        os.kill(worker_of(gateway, await leader_of(gateway)), signal.SIGKILL)
        got = await asyncio.gather(first, *others, return_exceptions=True)
        told = [each for each in got if isinstance(each, Answer) and b"died_mid_answer" in each.body]
        assert told
        whole = [each for each in got if isinstance(each, Answer) and b"[DONE]" in each.body]
        assert not whole
        await linked(gateway)
        before = await asked(gateway, engines[3])
        again = await asyncio.gather(*[one(gateway.port, body) for _ in range(60)])
        assert {(answer.status, answer.complete) for answer in again} == {(200, True)}
        assert await asked(gateway, engines[3]) == before + 1

    run(main, 60.0)


def test_the_leaders_worker_is_killed_before_the_answer_begins(start: Start, tmp_path: Path) -> None:
    """Clients of other workers have seen nothing, so they get a whole answer: by one further request."""
    with ending(emulators := Emulators(tmp_path, 1.0)):
        gateway = start(tree(emulators.urls[0]))
        (port,) = emulators.ports
        body = question("killed early", 5)

        async def main() -> None:
            await linked(gateway)
            await ask(port, json.dumps([{"kind": "slow", "factor": 5000}]).encode(), "/emulator/faults")
            first, others = await flying(gateway, body, 60)
            leader = await leader_of(gateway)
            os.kill(worker_of(gateway, leader), signal.SIGKILL)
            await ask(port, b"[]", "/emulator/faults")
            got = await asyncio.gather(first, *others, return_exceptions=True)
            good = [each for each in got if isinstance(each, Answer) and each.status == 200]
            assert len(good) > 60 / 4
            assert {each.complete for each in good} == {True}
            assert {each.status for each in got if isinstance(each, Answer)} <= {0, 200}
            assert await asked(gateway, emulators.urls[0]) == 2

        run(main, 60.0)


def test_a_killed_engine_is_told_to_the_clients_of_all_workers(start: Start, tmp_path: Path) -> None:
    """In the middle of a stream that sixty share: each gets the error event, and none an end that looks whole."""
    with ending(emulators := Emulators(tmp_path, 0.01)):
        gateway = start(tree(emulators.urls[0]))
        body = question("killed engine", 2000)

        async def main() -> None:
            await linked(gateway)
            first, others = await flying(gateway, body, 60)
            await eventually(lambda: begun(gateway), "the stream to begin")
            emulators.kill()
            for answer in await asyncio.gather(first, *others):
                assert b"died_mid_answer" in answer.body
                assert b"[DONE]" not in answer.body

        run(main, 60.0)


def test_tenants_do_not_share_over_workers(start: Start, engines: list[str]) -> None:
    """Two tenants who ask the same at the same time cause two requests; with `isolate: false` one."""
    keys: list[dict[str, Any]] = [{"name": name, "key": f"sk-{name}"} for name in ("acme", "lab")]
    for isolate in (True, False):
        gateway = start(tree(engines[3], cache={"isolate": isolate}, keys=keys))
        body = question(f"tenants {isolate}", 40)

        async def ask_as(key: str, gateway: Gateway = gateway, body: bytes = body) -> Answer:
            async with Client(gateway.port) as client:
                client.send(post(body, key=key))
                return await client.answer()

        async def main(gateway: Gateway = gateway, isolate: bool = isolate) -> None:
            await linked(gateway)
            before = await asked(gateway, engines[3])
            got = await asyncio.gather(*[ask_as(f"sk-{name}") for name in ("acme", "lab") for _ in range(40)])
            assert {(answer.status, answer.complete) for answer in got} == {(200, True)}
            assert await asked(gateway, engines[3]) == before + (2 if isolate else 1)

        run(main, 60.0)


def test_what_is_put_out_of_use_no_worker_gives_from_another(start: Start, engines: list[str]) -> None:
    """An answer that one worker keeps the others get from there; once it is put out of use none has it, by tag as
    well, and the engine is asked anew, once."""
    gateway = start(tree(engines[0]))
    body = question("out of use", 3, stream=False)

    async def tagged() -> str:
        async with Client(gateway.port) as client:
            plain = post(body)
            client.send(plain.replace(b"Host: test\r\n", b"Host: test\r\nx-penstock-cache-tags: prices\r\n"))
            return (await client.answer()).header("x-penstock-cache") or ""

    async def main() -> None:
        await linked(gateway)
        before = await asked(gateway, engines[0])
        for times in (1, 2, 3):
            assert await tagged() == "miss"
            assert {(await one(gateway.port, body)).header("x-penstock-cache") for _ in range(40)} == {"hit"}
            assert await asked(gateway, engines[0]) == before + times
            status, _ = await order(gateway, "POST", "/admin/cache/invalidate", {"tag": "prices"})
            assert status == 200

    run(main, 60.0)
