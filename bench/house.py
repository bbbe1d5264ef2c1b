"""A gateway over emulated engines, all processes of their own with real sockets, and who sends to them.

What `agreement` measures, and what a test of it starts. All traffic stays on 127.0.0.1, at ports that the system chose.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
import yaml

from bench.processes import core_s, cpu_s, descendants, start, stop
from penstock.loadgen.answer import Answer
from penstock.loadgen.client import Client, parse_target
from penstock.loadgen.run import Api, Plan, Replay
from penstock.loadgen.tally import Slo, Tally
from penstock.workload.request import Request

MODEL = "demo"
START_S = 30.0


class Ends(NamedTuple):
    """How long one request took, in seconds."""

    ttft_s: float
    e2e_s: float


class Kept(Tally):
    """A tally that keeps every answer beside its request."""

    def __init__(self) -> None:
        super().__init__(Slo())
        self.answers: dict[int, Answer] = {}

    def ended(self, request: Request, answer: Answer) -> None:
        """See `Tally.ended`."""
        super().ended(request, answer)
        self.answers[id(request)] = answer


def play(url: str, requests: list[Request], seed: int, api: Api = "completions") -> tuple[list[Ends], Kept]:
    """Send all requests at their times. Raises RuntimeError where one fails. Completions are for exactly the tokens."""
    tally = Kept()

    async def main() -> None:
        plan = Plan(model=MODEL, api=api, seed=seed)
        await Replay(requests, plan, Client(parse_target(url)), tally).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    if tally.errors:
        raise RuntimeError(f"requests failed: {tally.errors} {tally.said}")
    answers = [tally.answers[id(request)] for request in requests]
    return [Ends(answer.ttft_s or answer.e2e_s, answer.e2e_s) for answer in answers], tally


def config_of(folder: Path, engines: Sequence[str], seats: int, **settings: Any) -> Path:
    """The gateway's file: its defaults, but for these settings of the pool, over these engines."""
    replicas = [
        {"id": f"r{at}", "url": url, "engine": "vllm", "max_concurrent_requests": seats}
        for at, url in enumerate(engines)
    ]
    pool = {"name": "agreement", "models": [MODEL], "strategy": "adaptive", "replicas": replicas, **settings}
    tree = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "log": {"access": False}, "pools": [pool]}
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    return file


class House(NamedTuple):
    """Where everything listens."""

    gateway: str
    engines: list[str]


@contextmanager
def house(folder: Path, speeds: Sequence[float], seats: int, **settings: Any) -> Iterator[House]:
    """Engines of these speeds and their gateway, started anew; its pool has these settings."""
    running: list[subprocess.Popen[bytes]] = []

    def run(name: str, *words: str) -> Path:
        log = folder / f"{name}.log"
        log.unlink(missing_ok=True)
        running.append(start([sys.executable, "-m", "penstock", *words], None, log))
        return log

    try:
        logs = [
            run(f"engine{at}", "emulate", "--port", "0", "--preset", "demo", "--speed", str(speed))
            for at, speed in enumerate(speeds)
        ]
        engines = [said(log, r"emulated vLLM on (http://127\.0\.0\.1:\d+)") for log in logs]
        log = run("gateway", "serve", "--config", str(config_of(folder, engines, seats, **settings)))
        gateway = said(log, r"serves on (http://127\.0\.0\.1:\d+)")
        admin = said(log, r"admin API and metrics: (http://127\.0\.0\.1:\d+)")
        until_well(admin, len(speeds))
        yield House(gateway, engines)
    finally:
        for process in reversed(running):
            stop(process)


def said(log: Path, pattern: str) -> str:
    """What a process says of itself once it serves. Raises RuntimeError where it does not."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        found = re.search(pattern, log.read_text())
        if found:
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"{log} does not say {pattern}: {log.read_text()[-2000:]}")


def until_well(admin: str, count: int) -> None:
    """Until the gateway calls all its replicas healthy. Raises RuntimeError where it does not."""
    until, states = time.monotonic() + START_S, list[str]()
    while time.monotonic() < until:
        with urllib.request.urlopen(f"{admin}/admin/fleet", timeout=5) as answer:
            states = [view["state"] for view in json.load(answer)]
        if states == ["healthy"] * count:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the replicas are {states}")


class Machine:
    """What ran on the machine while the block did: ours, and everybody else's."""

    def __enter__(self) -> "Machine":
        self._cores = range(os.cpu_count() or 1)
        self._before = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        ours, busy, stolen = (after - before for after, before in zip(self._read(), self._before, strict=True))
        self.row = {
            "cpu_s": round(ours, 1), "others_cpu_s": round(max(0.0, busy - ours), 1), "stolen_s": round(stolen, 1)
        }  # fmt: skip

    def _read(self) -> tuple[float, float, float]:
        cores = [core_s(core) for core in self._cores]
        return sum(cpu_s(descendants(os.getpid()))), sum(busy for busy, _ in cores), sum(stolen for _, stolen in cores)
