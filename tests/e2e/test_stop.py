"""`kill -TERM`: what streams is finished within bounds, new work is refused, and the exit status is 0."""

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Gateway
from tests.helpers.traffic import ENDLESS, Traffic, begun, chat, engine, eventually, holds, pool, post, ready
from tests.helpers.wire import Client, run

pytestmark = pytest.mark.slow


def events(body: bytes) -> list[str]:
    """The data of a stream's events."""
    return [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]


async def streaming(gateway: Gateway, client: Client, tokens: int, number: int = 1) -> None:
    """Ask for a stream, and wait until it has begun: it is the gateway's n-th."""
    client.send(post(chat(tokens, stream=True)))
    await begun(gateway, number)


def test_streams_finish(start: Start, engines: list[str]) -> None:
    """All live streams come to their [DONE], idle connections close at once, new ones get 503; the status is 0."""
    gateway = start({"pools": [pool(engines[3])]})

    async def main() -> None:
        await ready(gateway)
        clients = [Client(gateway.port) for _ in range(6)]
        async with asyncio.TaskGroup() as opening:
            for client in clients:
                opening.create_task(client.__aenter__())
        idle = clients.pop()
        for number, client in enumerate(clients, 1):
            await streaming(gateway, client, 60, number)
        gateway.tell(signal.SIGTERM)
        assert await idle.closed() == b""
        async with Client(gateway.port) as new:
            new.send(post(chat(1)))
            assert (await new.answer()).status == 503
        for client in clients:
            answer = await client.answer()
            assert answer.complete
            assert events(answer.body)[-1] == "[DONE]"
            assert len(events(answer.body)) >= 60
            assert await client.closed() == b""
        await _leave([*clients, idle])

    run(main, 20.0)
    assert gateway.wait() == 0
    assert "stopping" in gateway.log()


async def _leave(clients: list[Client]) -> None:
    for client in clients:
        await client.__aexit__(None, None, None)


def test_new_work_is_refused_with_503(start: Start, engines: list[str]) -> None:
    """A request whose head was half here when the signal came is answered 503 with Retry-After, and the rest closes."""
    gateway = start({"pools": [pool(engines[3])]})

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as busy, Client(gateway.port) as late:
            await streaming(gateway, busy, 60)
            whole = post(chat(5))
            late.send(whole[:30])
            await asyncio.sleep(0.1)  # nothing tells when the gateway has read half a head
            gateway.tell(signal.SIGTERM)
            gateway.await_logged("stopping")
            late.send(whole[30:])
            answer = await late.answer()
            assert answer.status == 503
            assert json.loads(answer.body)["error"]["code"] == "shutting_down"
            assert int(answer.header("retry-after") or 0) >= 1
            assert answer.header("connection") == "close"
            assert events((await busy.answer()).body)[-1] == "[DONE]"

    run(main, 20.0)
    assert gateway.wait() == 0


def test_endless_streams_are_cut_with_an_error(start: Start, engines: list[str]) -> None:
    """After the drain time what still streams ends in an error event without [DONE], the engine is freed, status 0."""
    gateway = start({"pools": [pool(engines[3])], "timeouts": {"drain": "700ms"}})
    port = int(engines[3].rpartition(":")[2])

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as client, Client(gateway.port) as plain:
            await streaming(gateway, client, ENDLESS)
            plain.send(post(chat(ENDLESS)))
            await eventually(lambda: _running(port, 2), "both at the engine")
            before = time.monotonic()
            gateway.tell(signal.SIGTERM)
            answer = await client.answer()
            assert 0.6 < time.monotonic() - before < 3
            *_, last = events(answer.body)
            assert json.loads(last)["error"]["code"] == "cut_by_shutdown"
            assert answer.complete, "the framing ends, so that the client reads the error and not a broken connection"
            whole = await plain.answer()
            assert (whole.status, json.loads(whole.body)["error"]["code"]) == (503, "cut_by_shutdown")
            await eventually(lambda: _running(port, 0), "a free engine", 2.0)

    run(main, 20.0)
    assert gateway.wait() == 0


async def _running(port: int, count: int) -> bool:
    now = await engine(port)
    return now["running"] + now["waiting"] == count


def test_waiting_calls_are_served_or_refused(start: Start, engines: list[str]) -> None:
    """A call that waits for a seat when the signal comes is still served within the drain time."""
    tree = pool(engines[3])
    tree["replicas"][0]["max_concurrent_requests"] = 1
    gateway = start({"pools": [tree]})

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as first, Client(gateway.port) as second:
            await streaming(gateway, first, 30)
            second.send(post(chat(3)))
            await holds(gateway, "waiting", 1)
            gateway.tell(signal.SIGTERM)
            assert (await first.answer()).complete
            assert (await second.answer()).status == 200

    run(main, 20.0)
    assert gateway.wait() == 0


def test_a_second_signal_ends_at_once(start: Start, engines: list[str]) -> None:
    """Who is impatient sends the signal again, and does not wait for streams."""
    gateway = start({"pools": [pool(engines[3])]})

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as client:
            await streaming(gateway, client, ENDLESS)
            gateway.tell(signal.SIGTERM)
            gateway.await_logged("stopping")
            gateway.tell(signal.SIGINT)
            assert gateway.wait(5) == 0

    run(main, 20.0)
    assert "a second signal" in gateway.log()


def test_stopping_under_load_loses_no_begun_answer(start: Start, engines: list[str]) -> None:
    """Of steady traffic every answer that had begun is completed; what comes after is refused, nothing else."""
    gateway = start({"pools": [pool(*engines[:3])]})

    async def main() -> Traffic:
        await ready(gateway, 3)
        traffic = Traffic(gateway, users=8)
        async with traffic.flowing():
            await traffic.more(100)
            gateway.tell(signal.SIGTERM)
            await asyncio.to_thread(gateway.wait)
        return traffic

    traffic = run(main, 30.0)
    assert gateway.wait() == 0
    refusals = {"refused", "closed_early", "reset", "connect_failed", "503 shutting_down"}
    assert set(traffic.errors()) <= refusals, "each of these says that no answer had begun"
    assert {"refused", "503 shutting_down"} & set(traffic.errors())


def test_ctrl_c_is_as_good(start: Start, engines: list[str]) -> None:
    """SIGINT, as the terminal sends it, lets a stream finish, too, and the status is 0."""
    gateway = start({"pools": [pool(engines[3])]})

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as client:
            await streaming(gateway, client, 20)
            gateway.tell(signal.SIGINT)
            assert events((await client.answer()).body)[-1] == "[DONE]"

    run(main, 20.0)
    assert gateway.wait() == 0


def test_signals_while_it_starts(tmp_path: Path, engines: list[str]) -> None:
    """A signal in any moment of the start ends the process, and never leaves the ports taken."""
    for pause_s in (0.05, 0.3, 0.5):
        gateway = Gateway(tmp_path, {"pools": [pool(engines[0])]}, name=f"early{pause_s}")
        try:
            time.sleep(pause_s)
            gateway.tell(signal.SIGTERM)
            assert gateway.wait() in (0, -signal.SIGTERM)
        finally:
            gateway.stop()
