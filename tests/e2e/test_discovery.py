"""A fleet behind a DNS name grows and shrinks under load, and its name server fails, without an error for anybody."""

import pytest

from tests.e2e.conftest import Start
from tests.helpers.dns import NameServer
from tests.helpers.processes import Gateway
from tests.helpers.traffic import Traffic, eventually, ready, said, seen, states
from tests.helpers.wire import run

pytestmark = pytest.mark.slow

NAME = "_llm._tcp.test"


def records(*urls: str) -> list[str]:
    """SRV records that stand for these engines."""
    return [f"0 1 {url.rpartition(':')[2]} localhost." for url in urls]


async def is_fleet(gateway: Gateway, *urls: str) -> None:
    """Wait until exactly these serve."""
    wanted = {f"localhost:{url.rpartition(':')[2]}" for url in urls}

    async def so() -> bool:
        return {id for id, state in (await states(gateway)).items() if state in ("healthy", "busy")} == wanted

    await eventually(so, f"a fleet of {wanted}", 20.0)


def test_a_fleet_behind_a_name_grows_and_shrinks_under_load(start: Start, engines: list[str]) -> None:
    """From one engine to three, through an outage of the name server, to one: everybody gets his answers, the new ones
    get load, those that have left get none, and the outage is shown."""
    first, second, third = engines[:3]

    async def main() -> None:
        async with NameServer({(NAME, "SRV"): records(first)}, ttl_s=1) as names:
            discover = {
                "kind": "dns", "name": NAME, "type": "srv", "nameservers": [names.address], "missing_after": "1s",
                "replica": {"engine": "vllm"}, "timeout": "500ms",
            }  # fmt: skip
            tree = {
                "name": "tiny", "models": ["tiny"], "strategy": "round_robin", "discover": [discover],
                "slow_start": {"window": 0}, "probe": {"interval": "200ms", "timeout": "1s"},
            }  # fmt: skip
            gateway = start({"pools": [tree]})
            await ready(gateway)
            traffic = Traffic(gateway, 8)
            async with traffic.flowing():
                await traffic.more(30)
                names.records[NAME, "SRV"] = records(first, second, third)
                await is_fleet(gateway, first, second, third)
                await traffic.more(60)

                names.silent = True

                async def is_shown() -> bool:
                    (source,) = await said(gateway.admin_port, "/admin/sources")
                    return bool(source["error"]) and len(source["found"]) == 3

                await eventually(is_shown, "the outage to be shown")
                await traffic.more(60)
                await is_fleet(gateway, first, second, third)

                names.silent = False
                names.records[NAME, "SRV"] = records(third)
                await is_fleet(gateway, third)
                await traffic.more(30)
                calls = len(await seen(port_of(first), port_of(second)))
                await traffic.more(60)
                assert len(await seen(port_of(first), port_of(second))) == calls
            assert traffic.errors() == []

    run(main, 50.0)


def test_engines_are_asked_who_they_are(start: Start, engines: list[str]) -> None:
    """Without a file, from URLs alone: engine, version and longest context stand in the fleet's view, and the engine's
    own numbers are read."""

    async def main() -> None:
        options = ("--url", engines[0], "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        gateway = start(None, *options)
        await ready(gateway)

        async def is_known() -> bool:
            (view,) = await said(gateway.admin_port, "/admin/fleet")
            return view["engine"] == "vllm" and view["stats"] is not None

        await eventually(is_known, "the engine to be known")
        (view,) = await said(gateway.admin_port, "/admin/fleet")
        assert view["version"]
        assert view["max_model_len"] > 0
        assert view["models"] == ["tiny"]

    run(main, 20.0)


def port_of(url: str) -> int:
    """The port of a URL."""
    return int(url.rpartition(":")[2])
