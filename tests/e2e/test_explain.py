"""Explanations over real sockets: a request that was served, one that waited, one that was retried, one refused."""

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import ask, chat, eventually, holds, pool, post, ready, said, unique
from tests.helpers.wire import Client, run

pytestmark = pytest.mark.slow


def penstock(gateway: Gateway, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command that asks this gateway."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environment |= {"PENSTOCK_ADMIN": f"http://127.0.0.1:{gateway.admin_port}", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "penstock", *words], capture_output=True, text=True, timeout=30, env=environment,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def steps(found: dict[str, Any]) -> list[str]:
    """What happened, in order."""
    return [moment["what"] for moment in found["timeline"]]


async def explained(gateway: Gateway, id: str) -> dict[str, Any]:
    """A call's explanation, once it is over."""
    found: dict[str, Any] = {}

    async def over() -> bool:
        found.update(await said(gateway.admin_port, f"/admin/explain/{id}"))
        return bool(found.get("over"))

    await eventually(over, f"{id} to be over")
    return found


def test_a_served_request_is_explained(start: Start, engines: list[str]) -> None:
    """The explanation names the replica that the answer names, with every scorer's number; so does the command."""
    gateway = start({"pools": [pool(*engines[:3])]})

    async def main() -> tuple[str, str]:
        await ready(gateway, 3)
        answer = await ask(gateway.port, chat())
        id, replica = answer.header("x-request-id"), answer.header("x-penstock-replica")
        assert id is not None
        assert replica is not None
        found = await explained(gateway, id)
        (choice,) = found["choices"]
        assert (found["replica"], choice["replica"], choice["strategy"]) == (replica, replica, "adaptive")
        assert len(choice["candidates"]) == 3
        assert all(len(one["scores"]) == len(choice["scorers"]) >= 4 for one in choice["candidates"])
        assert found["profile"]["output_tokens"] == found["profile"]["max_tokens"] == 5
        assert "Hello there" not in json.dumps(found), "no prompt"
        return id, replica

    id, replica = run(main, 30.0)
    status, out, err = penstock(gateway, "explain", id)
    assert (status, err) == (0, "")
    assert out.startswith(id)
    assert f"→ {replica}" in out
    assert penstock(gateway, "explain", "--last")[1].startswith(id)
    status, out, err = penstock(gateway, "explain", "nobody")
    assert (status, out) == (1, "")
    assert "No call with that id is remembered" in err


def test_a_request_that_waited_is_explained(start: Start, engines: list[str]) -> None:
    """While it waits it says for what; afterwards how long, and what came before it. Its client's id finds it."""
    tree = pool(engines[3])
    tree["replicas"][0]["max_concurrent_requests"] = 1
    gateway = start({"pools": [tree]})
    id = unique()

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as first, Client(gateway.port) as second:
            first.send(post(chat(20)))
            await holds(gateway, "seats_taken", 1)
            second.send(post(chat(1), id=id))
            await holds(gateway, "waiting", 1)
            waiting = await said(gateway.admin_port, f"/admin/explain/{id}")
            assert (waiting["outcome"], steps(waiting)) == ("queued", ["arrived", "queued", "now"])
            assert "no free seat" in waiting["summary"]
            await asyncio.gather(first.answer(), second.answer())
        found = await explained(gateway, id)
        assert steps(found) == ["arrived", "queued", "unqueued", "chosen", "began", "over"]
        assert found["queue_s"] > 0

    run(main, 30.0)


def test_a_retried_request_is_explained(start: Start, engines: list[str], tmp_path: Path) -> None:
    """A replica that is gone but not known to be: the failed attempt, why, and the second one elsewhere."""
    victim = Emulators(tmp_path, name="victim")
    with ending(victim):
        looks = {"probe": {"interval": "1h"}, "scrape": {"interval": "1h"}}
        strategy = {"strategy": "round_robin"}
        gateway = start({"pools": [{**pool(victim.urls[0], engines[0]), **looks, **strategy}]})

        async def main() -> None:
            await ready(gateway, 2)
            victim.kill()
            found: list[dict[str, Any]] = []
            for _ in range(2):  # in turn: one of them meets the victim
                answer = await ask(gateway.port, chat())
                assert answer.status == 200
                found.append(await explained(gateway, answer.header("x-request-id") or ""))
            retried = next(one for one in found if one["attempts"] == 2)
            assert steps(retried) == ["arrived", "chosen", "lost", "chosen", "began", "over"]
            first, second = retried["choices"]
            assert first["replica"].endswith(f":{victim.ports[0]}")
            assert second["left_out"] == [{"replica": first["replica"], "reason": "tried before"}]
            assert f"attempt 1 at {first['replica']} failed" in retried["summary"].lower()

        run(main, 30.0)


def test_a_refused_request_is_explained(start: Start, engines: list[str]) -> None:
    """A queue that was full says so, with its numbers; a model that is unknown has nothing but its end."""
    tree = pool(engines[3], queue={"max": 1})
    tree["replicas"][0]["max_concurrent_requests"] = 1
    gateway = start({"pools": [tree]})

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as first, Client(gateway.port) as second:
            first.send(post(chat(20)))
            await holds(gateway, "seats_taken", 1)
            second.send(post(chat(1)))
            await holds(gateway, "waiting", 1)
            answer = await ask(gateway.port, chat())
            assert answer.status == 429
            found = await explained(gateway, answer.header("x-request-id") or "")
            assert steps(found) == ["arrived", "refused", "over"]
            assert "queue_full (1 waiting in tiny" in found["summary"]
            await asyncio.gather(first.answer(), second.answer())
        unknown = await ask(gateway.port, chat(model="none"))
        found = await explained(gateway, unknown.header("x-request-id") or "")
        assert (found["outcome"], found["choices"]) == ("model_not_found", [])
        listed = await said(gateway.admin_port, "/admin/explain?outcome=error&last=5")
        assert [call["outcome"] for call in listed] == ["model_not_found", "queue_full"]

    run(main, 30.0)


def test_top_shows_the_fleet(start: Start, engines: list[str]) -> None:
    """As a page without a terminal, as JSON, and live in a terminal until q is pressed."""
    gateway = start({"pools": [pool(*engines[:3])]})
    run(lambda: ready(gateway, 3), 30.0)
    status, out, err = penstock(gateway, "top", "--once", "--interval", "200ms")
    assert (status, err) == (0, "")
    assert all(url.removeprefix("http://") in out for url in engines[:3])
    found = json.loads(penstock(gateway, "top", "--once", "--json", "--interval", "200ms")[1])
    assert len(found["look"]["replicas"]) == 3
    assert live(gateway, b"q") == 0
    assert live(gateway, b"\x03") == 0


def live(gateway: Gateway, key: bytes) -> int:
    """The exit status of `penstock top` in a terminal of its own, where this key is pressed once it shows the fleet."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    admin = f"http://127.0.0.1:{gateway.admin_port}"
    command = [sys.executable, "-m", "penstock", "top", "--interval", "200ms", "--admin", admin]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}, start_new_session=True
    )
    os.close(theirs)
    try:
        seen, end = b"", time.monotonic() + 20
        while b"sorted by" not in seen:
            assert time.monotonic() < end, seen
            if select.select([ours], [], [], 1.0)[0]:
                seen += os.read(ours, 65536)
        if key == b"\x03":
            process.send_signal(signal.SIGINT)
        else:
            os.write(ours, key)
        end = time.monotonic() + 20  # from now on, and always reading: a full terminal would hold it up
        while process.poll() is None and time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    os.read(ours, 65536)
                except OSError:  # the terminal has closed
                    break
        return process.wait(10)
    finally:
        process.kill()
        process.wait(10)
        os.close(ours)
