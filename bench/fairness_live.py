"""`python -m bench.fairness_live`: one tenant floods a gateway over real sockets, and how long the others wait.

The first workload of `bench.fairness` (waves: nine tenants whose calls keep two engines of eight seats busy for a third
of the time, and a tenth that sends more than there is room for), with the same times and lengths by seed, from one
client process to `penstock serve` over two emulated engines with the `demo` timing. All of that shares the machine, so
it wants a quiet one; how late the client was itself is told beside.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import uvloop
from msgspec.structs import replace

from bench.fairness import FROM_S, LOADS, OTHERS, REPLICAS, SEATS, Load, visits
from penstock.base.nouns import Call
from penstock.loadgen.answer import Answer
from penstock.loadgen.client import Client, Target
from tests.helpers.arena import Visit, quantile
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import CHAT, ready

WAVES = LOADS["waves, others 1/3 busy"]
FLOOD = f"t{OTHERS}"
NAMES = ("all", *(f"t{number}" for number in range(OTHERS + 1)))


class Told(NamedTuple):
    """What one story showed."""

    others_p95_s: float
    late_p95_s: float
    """How much later than planned the client sent."""
    calls: int


def body(visit: Visit) -> bytes:
    """A chat request of about so many tokens that begins like no other, for an answer of exactly so many."""
    text = f"{visit.call.id} " + "word " * (visit.call.prompt_tokens * 4 // 5)
    return json.dumps(
        {
            "model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": visit.output_tokens,
            "stream": True, "ignore_eos": True,
        }
    ).encode()  # fmt: skip


async def replay(port: int, todo: list[Visit]) -> tuple[list[tuple[Visit, Answer]], list[float]]:
    """Send each call at its time; the answers, and how late each was sent."""
    callers = {name: Client(Target("127.0.0.1", port), key=f"sk-{name}") for name in NAMES}
    bodies = [body(visit) for visit in todo]
    found: list[tuple[Visit, Answer]] = []
    late: list[float] = []
    began = time.perf_counter() + 0.5

    async def one(visit: Visit, data: bytes) -> None:
        await asyncio.sleep(began + visit.at - time.perf_counter())
        late.append(time.perf_counter() - began - visit.at)
        found.append((visit, await callers[visit.call.tenant].ask("POST", CHAT, data)))

    async with asyncio.timeout(200), asyncio.TaskGroup() as group:
        for visit, data in zip(todo, bodies, strict=True):
            group.create_task(one(visit, data))
    for caller in callers.values():
        caller.close()
    return found, late


def play(
    load: Load,
    seed: int,
    flood: bool,
    shape: Callable[[Call], Call],
    from_s: float = FROM_S,
    reserve: float | None = None,
) -> Told:
    """One story, with a gateway and engines of its own. Raises RuntimeError when a call fails."""
    todo = visits(load, seed, flood, shape)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ending(Emulators(folder, *[1.0] * REPLICAS, preset="demo")) as (engines,):
            assert isinstance(engines, Emulators)
            replicas = [{"url": url, "engine": "vllm", "max_concurrent_requests": SEATS} for url in engines.urls]
            pool: dict[str, Any] = {"name": "p", "replicas": replicas, "strategy": "least_loaded"}
            pool["queue"] = {"timeout": "1h"} if reserve is None else {"timeout": "1h", "reserve": reserve}
            keys = [{"name": name, "key": f"sk-{name}"} for name in NAMES]
            with ending(Gateway(folder, {"pools": [pool], "keys": keys, "log": {"access": False}})) as (gateway,):
                assert isinstance(gateway, Gateway)

                async def main() -> tuple[list[tuple[Visit, Answer]], list[float]]:
                    await ready(gateway, REPLICAS)
                    return await replay(gateway.port, todo)

                found, late = uvloop.run(main())
    return judged(found, late, from_s)


def judged(found: list[tuple[Visit, Answer]], late: list[float], from_s: float) -> Told:
    """What a story showed of everybody but the flood, once tenants have a history. Raises RuntimeError when a call
    failed."""
    wrong = next((answer.error for _, answer in found if answer.error), None)
    if wrong is not None:
        raise RuntimeError(wrong)
    others = [
        answer.ttft_s or 0.0
        for visit, answer in found
        if not visit.call.id.startswith(f"{FLOOD}-") and visit.at >= from_s
    ]
    return Told(quantile(others, 0.95), quantile(late, 0.95), len(found))


def _one_tenant(call: Call) -> Call:
    return replace(call, tenant="all")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.fairness_live", description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--reserve", type=float, help="the queue's `reserve` beside the flood; else the default")
    parser.add_argument("--out", type=Path, help="file that the numbers are appended to, as one JSON object")
    asked = parser.parse_args()
    rows: list[dict[str, float]] = []
    print("| seed | alone | with the flood | ratio | first come | ratio | client late, p95 |")
    print("|---|---|---|---|---|---|---|")
    for seed in map(int, asked.seeds.split(",")):
        alone = play(WAVES, seed, False, lambda call: call)
        fair = play(WAVES, seed, True, lambda call: call, reserve=asked.reserve)
        mixed = play(WAVES, seed, True, _one_tenant)
        row = {
            "seed": seed, "alone_p95_s": alone.others_p95_s, "fair_p95_s": fair.others_p95_s,
            "first_come_p95_s": mixed.others_p95_s, "late_p95_s": max(alone.late_p95_s, fair.late_p95_s),
            "load_average": os.getloadavg()[0],
        }  # fmt: skip
        if asked.reserve is not None:
            row["reserve"] = asked.reserve
        rows.append({name: round(value, 4) for name, value in row.items()})
        ratios = fair.others_p95_s / alone.others_p95_s, mixed.others_p95_s / alone.others_p95_s
        print(
            f"| {seed} | {alone.others_p95_s * 1e3:.0f} ms | {fair.others_p95_s * 1e3:.0f} ms | {ratios[0]:.3f} |"
            f" {mixed.others_p95_s * 1e3:.0f} ms | {ratios[1]:.2f} | {row['late_p95_s'] * 1e3:.1f} ms |", flush=True,
        )  # fmt: skip
    print(f"mean ratio: {mean(one['fair_p95_s'] / one['alone_p95_s'] for one in rows):.3f}")
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        with asked.out.open("a") as file:
            told = {"scenario": "fairness_live", "at": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), "found": rows}
            file.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
