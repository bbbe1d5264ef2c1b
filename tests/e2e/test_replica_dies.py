"""A replica is killed: what had not begun is served elsewhere, what had ends in an error event, and it returns."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import (
    ENDLESS,
    SLOW,
    Traffic,
    ask,
    at_rest,
    begun,
    chat,
    eventually,
    holds,
    pool,
    post,
    ready,
    said,
)
from tests.helpers.wire import Client, run

pytestmark = pytest.mark.slow

BREAKER = {"open": "300ms", "successes": 2}
"""A short time, so that a test sees the return."""


async def becomes(gateway: Gateway, port: int, *states: str) -> None:
    """Wait until the replica at this port is in one of these states."""

    async def so() -> bool:
        views = await said(gateway.admin_port, "/admin/fleet")
        return any(view["id"].endswith(f":{port}") and view["state"] in states for view in views)

    await eventually(so, f"a replica that is {' or '.join(states)}")


async def served(gateway: Gateway, port: int) -> int:
    """Calls that the replica at this port has served."""
    views = await said(gateway.admin_port, "/admin/fleet")
    return sum(view["served"] for view in views if view["id"].endswith(f":{port}"))


def test_killing_a_replica_under_load(start: Start, engines: list[str], tmp_path: Path) -> None:
    """SIGKILL of one of two replicas under 16 users: only begun streams end in errors; once back, it serves again."""
    with ExitStack() as stack:
        victim = Emulators(tmp_path, 0.2, name="victim")
        stack.enter_context(ending(victim))
        (port,) = victim.ports
        gateway = start({"pools": [pool(victim.urls[0], engines[0], breaker=BREAKER)]})

        async def main() -> Traffic:
            await ready(gateway, 2)
            traffic = Traffic(gateway, 16)
            async with traffic.flowing():
                await traffic.more(100)
                victim.kill()
                await traffic.more(200)
                await becomes(gateway, port, "unhealthy")
                before = await served(gateway, port)
                stack.enter_context(ending(Emulators(tmp_path, name="after", port=port)))
                await becomes(gateway, port, "healthy", "busy")

                async def again() -> bool:
                    return await served(gateway, port) > before

                await eventually(again, "calls at the replica that is back")
                await traffic.more(100)
            return traffic

        traffic = run(main, 40.0)
    wrong = [answer for answer in traffic.answers if answer.error]
    assert {answer.error for answer in wrong} <= {"stream_error died_mid_answer"}
    assert all(answer.pieces for answer in wrong), "only streams that had begun"
    assert len(wrong) <= 8, "a replica has eight seats"


def test_a_begun_stream_ends_in_an_error_event(start: Start, engines: list[str], tmp_path: Path) -> None:
    """A stream whose replica dies ends in one error event, no [DONE], and a clean end of the framing; others go on."""
    victim = Emulators(tmp_path, SLOW, name="victim")
    with ending(victim):
        gateway = start({"pools": [pool(victim.urls[0], breaker=BREAKER, queue={"unavailable_wait": "300ms"})]})

        async def main() -> None:
            await ready(gateway)
            async with Client(gateway.port) as client, Client(gateway.port) as plain:
                client.send(post(chat(ENDLESS, stream=True)))
                await begun(gateway)
                plain.send(post(chat(ENDLESS)))
                await holds(gateway, "seats_taken", 2)
                victim.kill()
                answer = await client.answer()
                *before, last = [event.removeprefix("data: ") for event in answer.body.decode().split("\n\n") if event]
                assert json.loads(last)["error"]["code"] == "died_mid_answer"
                assert before
                assert all("error" not in json.loads(event) for event in before)
                assert answer.complete
                whole = await plain.answer()
                assert whole.status in (502, 503), whole.raw
                assert str(victim.ports[0]) not in whole.body.decode(), "nothing of our insides"
            await at_rest(gateway)

        run(main, 20.0)


def test_a_dead_fleet_is_told_and_comes_back(start: Start, tmp_path: Path) -> None:
    """While no replica works calls get 503 with Retry-After in bounded time; the first one back serves at once."""
    with ExitStack() as stack:
        only = Emulators(tmp_path, name="only")
        stack.enter_context(ending(only))
        (port,) = only.ports
        tree = pool(only.urls[0], breaker=BREAKER, queue={"unavailable_wait": "300ms"}, retries={"backoff": "20ms"})
        gateway = start({"pools": [tree]})

        async def main() -> None:
            await ready(gateway)
            only.kill()
            await becomes(gateway, port, "unhealthy")
            assert (await ask(gateway.port, None, "/ready")).status == 503
            assert (await ask(gateway.port, None, "/health")).status == 200
            answer = await ask(gateway.port, chat())
            assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "no_replica")
            assert int(answer.header("retry-after") or 0) >= 1
            stack.enter_context(ending(Emulators(tmp_path, name="again", port=port)))
            await becomes(gateway, port, "healthy", "busy")
            assert (await ask(gateway.port, chat())).status == 200

        run(main, 30.0)
