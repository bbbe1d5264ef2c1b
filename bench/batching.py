"""`python -m bench.batching`: embeddings of many clients, each alone and in groups, over real sockets.

So many clients on one connection each ask `penstock serve` over one emulated engine for one embedding after the other,
with `batching` and without, in turns, so that both meet the same machine. Told are answers a second, the median and the
95th percentile of their times, and CPU time a request of the gateway and of the emulator. The clients share the
machine.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench.processes import cpu_s
from penstock.loadgen.client import Client, Target
from tests.helpers.arena import quantile
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import ready, said

PATH = "/v1/embeddings"
WAYS: dict[str, dict[str, Any]] = {
    "alone": {},
    "groups of 8": {"batching": {}},
    "groups of 32": {"batching": {"size": 32}},
}
"""Way -> settings of the pool."""


def body(client: int, turn: int) -> bytes:
    """A request for one embedding of some twenty words."""
    text = f"client {client} asks for the {turn}th time " + "for the meaning of these few words " * 2
    return json.dumps({"model": "tiny", "input": text}).encode()


async def drive(port: int, clients: int, seconds: float) -> list[float]:
    """What each answer took. Raises RuntimeError when one is none."""
    until = time.perf_counter() + seconds
    took: list[float] = []

    async def one(number: int) -> None:
        caller = Client(Target("127.0.0.1", port))
        turn = 0
        while time.perf_counter() < until:
            began = time.perf_counter()
            answer = await caller.ask("POST", PATH, body(number, turn))
            if answer.error:
                raise RuntimeError(answer.error)
            took.append(time.perf_counter() - began)
            turn += 1
        caller.close()

    await asyncio.gather(*map(one, range(clients)))
    return took


def measure(way: str, clients: int, seats: int, seconds: float, preset: str) -> dict[str, float]:
    """One way, with a gateway and an engine of its own."""
    with tempfile.TemporaryDirectory() as name, ending(Emulators(Path(name), 1.0, preset=preset)) as (engines,):
        assert isinstance(engines, Emulators)
        replicas = [{"url": engines.urls[0], "engine": "vllm", "max_concurrent_requests": seats}]
        pool = {"name": "p", "replicas": replicas, **WAYS[way]}
        with ending(Gateway(Path(name), {"pools": [pool]})) as (gateway,):
            assert isinstance(gateway, Gateway)

            async def main() -> tuple[list[float], list[float], int]:
                await ready(gateway, 1)
                await drive(gateway.port, clients, seconds / 4)
                before = [sum(cpu_s([pid])) for pid in (gateway.pid, engines.pid)]
                took = await drive(gateway.port, clients, seconds)
                used = [sum(cpu_s([pid])) - was for pid, was in zip((gateway.pid, engines.pid), before, strict=True)]
                return took, used, len(await said(engines.ports[0], "/emulator/seen"))

            took, used, _ = uvloop.run(main())
    return {
        "per_s": len(took) / seconds, "p50_ms": median(took) * 1e3, "p95_ms": quantile(took, 0.95) * 1e3,
        "gateway_us": used[0] / len(took) * 1e6, "engine_us": used[1] / len(took) * 1e6,
    }  # fmt: skip


def main() -> None:
    """Measure in turns and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.batching", description=__doc__)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--seats", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="fast", help="the emulated engine's timing")
    parser.add_argument("--out", type=Path, help="file that the numbers are appended to, as one JSON object")
    asked = parser.parse_args()
    kept: dict[str, dict[str, dict[str, float]]] = {}
    print("| clients | way | answers/s | p50 ms | p95 ms | gateway CPU µs | engine CPU µs |\n" + "|---" * 7 + "|")
    for clients in map(int, asked.clients.split(",")):
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(asked.rounds):
            for way, rows in found.items():
                rows.append(measure(way, clients, asked.seats, asked.seconds, asked.preset))
        kept[str(clients)] = {
            way: {name: round(median(row[name] for row in rows), 1) for name in rows[0]} for way, rows in found.items()
        }
        for way, row in kept[str(clients)].items():
            cells = " | ".join(f"{row[name]:.{1 if name.endswith('ms') else 0}f}" for name in row)
            print(f"| {clients} | {way} | {cells} |", flush=True)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        with asked.out.open("a") as file:
            told = {"scenario": "batching", "at": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), "found": kept}
            file.write(json.dumps({**told, "rounds": asked.rounds, "load_average": os.getloadavg()[0]}) + "\n")


if __name__ == "__main__":
    main()
