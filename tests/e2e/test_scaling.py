"""A pool that scales itself, with real processes: it grows and shrinks with its load, and survives what is killed."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Gateway, until
from tests.helpers.traffic import Traffic, ask, chat, eventually, ready, said
from tests.helpers.wire import run

pytestmark = pytest.mark.slow

COMMAND = f"{shlex.quote(sys.executable)} -m penstock emulate --port {{port}} --model tiny --preset fast --speed 0.2"


def pool(folder: Path, **scale: Any) -> dict[str, Any]:
    """A pool of emulated engines that it starts by itself."""
    return {
        "name": "tiny", "models": ["tiny"],
        "probe": {"interval": "200ms", "timeout": "1s"}, "scrape": {"interval": "500ms"},
        "queue": {"waiting_room": "30s", "unavailable_wait": "30s"},
        "retries": {"budget_min_per_s": 100},
        "scale": {
            "min": 1, "max": 3, "interval": "300ms", "look": "100ms",
            "up": {"stabilisation": "0s", "period": "1s"},
            "down": {"stabilisation": "2s", "period": "500ms", "cooldown": "1s"},
            "panic": {"stable_window": "2s"},
            "actuator": {
                "kind": "process", "command": COMMAND, "directory": str(folder / "state"), "at_exit": "stop",
                "stop": "3s",
            },
            "replica": {"engine": "vllm", "max_concurrent_requests": 4},
            **scale,
        },
    }  # fmt: skip


def processes(folder: Path) -> dict[str, int]:
    """The replicas that are written down, with their numbers."""
    file = folder / "state" / "tiny" / "processes.json"
    return {name: entry["pid"] for name, entry in json.loads(file.read_text())["units"].items()}


def alive(pid: int) -> bool:
    """Whether a process goes on."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture(autouse=True)
def none_left(tmp_path: Path) -> Iterator[None]:
    """Whatever a test leaves running is ended."""
    yield
    if (tmp_path / "state").exists():
        for pid in processes(tmp_path).values():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


async def has(gateway: Gateway, count: int, within_s: float = 30.0) -> None:
    """Wait until the pool has exactly so many replicas, all ready."""

    async def so() -> Any:
        (view,) = await said(gateway.admin_port, "/admin/pools")
        states = {state: number for state, number in view["states"].items() if number}
        return states == ({"ready": count} if count else {}) or (False, states)

    async def yes() -> bool:
        return await so() is True

    await eventually(yes, f"{count} ready replicas", within_s)


def test_it_grows_with_its_load_and_shrinks_after_it(start: Start, tmp_path: Path) -> None:
    """From one replica to three under 24 users and back to one when they are gone, and no call is lost."""
    gateway = start({"pools": [pool(tmp_path)]})

    async def main() -> Traffic:
        await has(gateway, 1)
        traffic = Traffic(gateway, 24)
        async with traffic.flowing():
            await has(gateway, 3)
            await traffic.more(50)
        await has(gateway, 1)
        return traffic

    traffic = run(main, 90.0)
    assert traffic.errors() == []
    assert "-> 3 replicas: utilisation is" in gateway.log()
    assert gateway.stop() == 0
    assert processes(tmp_path) == {}


def test_killed_replicas_are_replaced(start: Start, tmp_path: Path) -> None:
    """SIGKILL of two of three replicas under load: others are started in their place, and only begun streams break."""
    gateway = start({"pools": [pool(tmp_path, min=3)]})

    async def replaced() -> None:
        async def so() -> bool:
            return sorted(processes(tmp_path)) == ["tiny-3", "tiny-4", "tiny-5"]

        await eventually(so, "other replicas", 30.0)
        await has(gateway, 3)

    async def main() -> Traffic:
        await has(gateway, 3)
        traffic = Traffic(gateway, 8)
        async with traffic.flowing():
            await traffic.more(10)
            for pid in list(processes(tmp_path).values())[:2]:
                os.kill(pid, signal.SIGKILL)
            await replaced()
            await traffic.more(30)
        return traffic

    traffic = run(main, 90.0)
    assert set(traffic.errors()) <= {"stream_error died_mid_answer"}
    assert sorted(processes(tmp_path)) == ["tiny-3", "tiny-4", "tiny-5"]


def test_a_gateway_that_is_killed_loses_no_replica(start: Start, tmp_path: Path) -> None:
    """After SIGKILL of the gateway its replicas go on; the next one finds the same processes and starts none."""
    first = start({"pools": [pool(tmp_path, min=2)]})

    async def up() -> None:
        await has(first, 2)

    run(up, 60.0)
    before = processes(tmp_path)
    first.kill()
    assert all(map(alive, before.values()))
    second = start({"pools": [pool(tmp_path, min=2)]})

    async def again() -> bytes:
        await has(second, 2)
        return (await ask(second.port, chat(3))).body

    assert b"choices" in run(again, 60.0)
    assert processes(tmp_path) == before
    assert second.stop() == 0
    assert second.log().count("found running") == 2
    until(lambda: not any(map(alive, before.values())), 5.0, lambda: f"the end of {before}")


def test_from_none_and_back(start: Start, tmp_path: Path) -> None:
    """With `min: 0` a call starts the first replica and is answered by it; when nothing comes it goes again."""
    gateway = start({"pools": [pool(tmp_path, min=0)]})

    async def main() -> int:
        await has(gateway, 0)
        answer = await ask(gateway.port, chat(3))
        await has(gateway, 0)
        return answer.status

    assert run(main, 60.0) == 200


def test_a_pool_that_leaves_the_file(start: Start, tmp_path: Path) -> None:
    """A pool that is taken out of the file ends its replicas; the rest goes on."""
    rest = {"name": "rest", "models": ["other"], "replicas": [{"url": "http://127.0.0.1:9"}]}
    gateway = start({"pools": [pool(tmp_path, min=2), rest]})

    async def main() -> None:
        await ready(gateway, 2)
        pids = processes(tmp_path).values()
        gateway.write({**gateway.tree, "pools": [rest]})

        async def gone() -> bool:
            return not any(map(alive, pids)) and await said(gateway.admin_port, "/admin/pools") == []

        await eventually(gone, "the end of its replicas", 20.0)

    run(main, 60.0)


def test_a_mass_interruption_loses_no_call(start: Start, tmp_path: Path) -> None:
    """All spot replicas, three of four, get a notice of fifteen seconds at once, by a file: they drain, others are
    started in their place beside them, and no call is lost; who has to go is gone when its notice is over."""
    notices = tmp_path / "notices"
    spot = {"base": 0.25, "notice": "15s", "notices": {"file": str(notices), "every": "1s"}}
    gateway = start({"pools": [pool(tmp_path, min=4, max=8, spot=spot)]})

    async def replaced() -> None:
        async def so() -> bool:
            return sorted(processes(tmp_path)) == ["tiny-1", "tiny-5", "tiny-6", "tiny-7"]

        await eventually(so, "other replicas", 40.0)
        await has(gateway, 4)

    async def main() -> Traffic:
        await has(gateway, 4)
        traffic = Traffic(gateway, 8)
        async with traffic.flowing():
            await traffic.more(10)
            notices.write_text("".join(f"tiny-{number}\n" for number in (2, 3, 4)))
            await replaced()
            await traffic.more(30)
        return traffic

    traffic = run(main, 120.0)
    assert traffic.errors() == []
    assert "its provider takes it back in 15 s" in gateway.log()
