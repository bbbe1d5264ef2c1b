"""Regions over real sockets: calls go to their own, and on to the next when it is gone."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import chat, post, ready
from tests.helpers.wire import Client, run

pytestmark = pytest.mark.slow

WORLD = {
    "here": "eu", "header": "anybody", "places": {"eu": {}, "us": {}, "ap": {}},
    "round_trips": {"eu": {"us": "70ms", "ap": "216ms"}, "us": {"ap": "167ms"}},
}  # fmt: skip


async def served_by(gateway: Gateway, region: str) -> tuple[int, str | None]:
    """Status of a call that says it comes from there, and the replica that answered it."""
    head, _, body = post(chat(3)).partition(b"\r\n\r\n")
    told = f"\r\nX-Penstock-Region: {region}" if region else ""
    async with Client(gateway.port) as client:
        client.send(head + told.encode() + b"\r\n\r\n" + body)
        got = await client.answer()
        return got.status, got.header("x-penstock-replica")


def test_calls_stay_at_home_and_go_on_when_it_is_gone(start: Start, engines: list[str], tmp_path: Path) -> None:
    """Each call is answered in its region, one that says nothing in the gateway's; when the replica in the US is
    killed, calls from there go to Europe, which is nearer to them than Asia, and none fails."""
    with ExitStack() as stack:
        victim = Emulators(tmp_path, 1.0, name="victim")
        stack.enter_context(ending(victim))
        urls = {"eu": engines[0], "us": victim.urls[0], "ap": engines[1]}
        replicas = [{"url": url, "id": name, "region": name, "engine": "vllm"} for name, url in urls.items()]
        pool = {"name": "tiny", "models": ["tiny"], "strategy": "regional", "replicas": replicas}
        gateway = start({"regions": WORLD, "pools": [pool]})

        async def main() -> None:
            await ready(gateway, 3)
            for region, replica in (("us", "us"), ("ap", "ap"), ("", "eu"), ("mars", "eu"), ("eu", "eu")):
                assert await served_by(gateway, region) == (200, replica)
            victim.kill()
            assert [await served_by(gateway, "us") for _ in range(5)] == [(200, "eu")] * 5

        run(main, 60.0)
