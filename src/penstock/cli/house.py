"""A gateway that runs for a while, over a pool of emulated replicas that it starts as processes: for live tests.

All of it is on loopback, in a folder of its own, and ends with the block that opened it.
"""

import asyncio
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from penstock.cli.admin import Admin, AdminError
from penstock.cli.demo import end_with_parent, free_port

POOL = "live"
SEATS = 8
LOOK_S = 0.25
START_S = 60.0
"""Until a gateway and its first fleet must be there."""
STOP_S = 40.0
WAIT_S = 300.0
"""How long a call may wait: nothing is to be lost by waiting."""


class House:
    """A gateway that runs, and its pool."""

    def __init__(self, folder: Path, first: int, most: int, spot: bool) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.notices = folder / "notices"
        self.data_port, admin_port = free_port(), free_port()
        self._desk = Admin(f"http://127.0.0.1:{admin_port}")
        file = folder / "gateway.yaml"
        file.write_text(yaml.safe_dump(self._tree(first, most, spot)))
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "serve", "--config", str(file)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
                preexec_fn=end_with_parent if sys.platform == "linux" else None,
            )  # fmt: skip

    def _tree(self, first: int, most: int, spot: bool) -> dict[str, Any]:
        words = [
            sys.executable, "-m", "penstock", "emulate", "--port", "{port}", "--model", POOL,
            "--max-num-seqs", str(SEATS), "--end-with", str(os.getpid()),
        ]  # fmt: skip
        scale: dict[str, Any] = {
            "min": first, "max": most, "interval": "1s", "look": "250ms",
            "up": {"stabilisation": "0s", "period": "2s"},
            "down": {"stabilisation": "60s", "cooldown": "60s"},
            "actuator": {
                "kind": "process", "command": shlex.join(words), "directory": str(self.folder / "state"),
                "at_exit": "stop", "stop": "20s",
            },
            "replica": {"engine": "vllm", "max_concurrent_requests": SEATS},
        }  # fmt: skip
        if spot:
            scale["spot"] = {"base": 0.0, "notice": "15s", "notices": {"file": str(self.notices), "every": "1s"}}
        return {
            "listen": f"127.0.0.1:{self.data_port}", "admin": self._desk.url.removeprefix("http://"),
            "log": {"level": "warning"}, "max_waiting": 40_000,
            "limits": {"connections": 30_000},
            "pools": [
                {
                    "name": POOL, "models": [POOL], "scale": scale,
                    "probe": {"interval": "250ms", "timeout": "2s"},
                    "queue": {"timeout": f"{WAIT_S:g}s", "waiting_room": f"{WAIT_S:g}s", "max": 20_000},
                }
            ],
        }  # fmt: skip

    async def view(self) -> dict[str, Any]:
        """The pool as the admin API tells it. Raises AdminError."""
        (found,) = await asyncio.to_thread(self._desk.read, "/admin/pools")
        return dict(found)

    async def ready(self, count: int) -> None:
        """Wait for so many ready replicas. Raises OSError where they do not come."""
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if (await self.view())["states"]["ready"] >= count:
                    return
            except AdminError:
                pass
            await pause(LOOK_S)
        said = (self.folder / "log").read_text(errors="replace")[-2000:]
        raise OSError(f"the gateway and its {count} replicas were not there within {START_S:g} s; it said:\n{said}")

    def numbers(self) -> dict[str, int]:
        """The pool's processes: replica -> process number."""
        file = self.folder / "state" / POOL / "processes.json"
        return {name: entry["pid"] for name, entry in json.loads(file.read_text())["units"].items()}

    async def stop(self) -> None:
        """End the gateway, which ends its replicas; they end with this process at the latest."""
        self._desk.close()
        self._process.terminate()
        until = time.monotonic() + STOP_S
        while self._process.poll() is None and time.monotonic() < until:
            await pause(LOOK_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(5)


async def pause(seconds: float) -> None:
    """Let time go by."""
    never = asyncio.Event()
    try:
        async with asyncio.timeout(seconds):
            await never.wait()
    except TimeoutError:
        pass


@asynccontextmanager
async def opened(folder: Path, first: int, most: int, *, spot: bool = False) -> AsyncIterator[House]:
    """A house whose first fleet is there, for as long as the block runs. Raises OSError where it does not come up."""
    house = House(folder, first, most, spot)
    try:
        await house.ready(first)
        yield house
    finally:
        await house.stop()
