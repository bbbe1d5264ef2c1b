"""`python -m bench.flights`: how much later an answer is because other workers are asked first.

One client, one request at a time over eight connections, questions that nobody has asked before, at an engine that
answers at once. In turn a question that can be cached and one that cannot (its answer is drawn): what differs is the
digest and index of the cache, and from two workers on the question to the one that has the key's register. Client and
engine are in this process, on the same cores as the workers: nothing else may run.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.helpers.counting import Counting
from tests.helpers.processes import Gateway, ending
from tests.helpers.traffic import eventually, post, ready
from tests.helpers.wire import Client, run

CONNECTIONS = 8
WARM = 100
LONGEST_S = 600.0


def question(number: int, *, cacheable: bool) -> bytes:
    """A request that was never made before."""
    text = f"question {number} at {time.time_ns()}"
    body: dict[str, Any] = {"model": "tiny", "max_tokens": 1, "messages": [{"role": "user", "content": text}]}
    return post(json.dumps(body | ({"temperature": 0} if cacheable else {})).encode())


async def measured(gateway: Gateway, count: int) -> dict[bool, list[float]]:
    """Seconds of each answer, by whether it can be cached."""
    took: dict[bool, list[float]] = {True: [], False: []}
    clients = [Client(gateway.port) for _ in range(CONNECTIONS)]
    try:
        for client in clients:
            await client.__aenter__()
        for number in range(count):
            for cacheable in (True, False):
                client, data = clients[number % CONNECTIONS], question(number, cacheable=cacheable)
                began = time.perf_counter()
                client.send(data)
                await client.answer()
                took[cacheable].append(time.perf_counter() - began)
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)
    return {kind: times[WARM:] for kind, times in took.items()}


async def one_run(workers: int, count: int, folder: Path) -> dict[str, float]:
    """Medians in microseconds."""
    async with Counting(0.0) as engine:
        replica = {"url": engine.url, "engine": "generic", "models": ["tiny"], "max_concurrent_requests": 64}
        tree = {
            "pools": [{"name": "tiny", "models": ["tiny"], "replicas": [replica], "probe": {"interval": "30s"}}],
            "cache": {}, "workers": workers, "log": {"access": False},
        }  # fmt: skip
        with ending(gateway := Gateway(folder, tree, name=f"workers{workers}-{time.time_ns()}")):
            await ready(gateway)
            await eventually(lambda: _acquainted(gateway, workers), "workers that know each other")
            took = await measured(gateway, count)
    drawn, cacheable = (round(median(took[kind]) * 1e6) for kind in (False, True))
    return {"workers": workers, "drawn_us": drawn, "cacheable_us": cacheable, "later_us": cacheable - drawn}


async def _acquainted(gateway: Gateway, workers: int) -> bool:
    async with Client(gateway.admin_port) as client:
        client.send(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{gateway.admin_port}\r\n\r\n".encode())
        page = (await client.answer()).body.decode()
    return workers == 1 or f"penstock_cache_workers_linked{{}} {workers * (workers - 1)}.0" in page


def main() -> None:
    """Measure in turns, and print each run and the medians of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2000)
    given = parser.parse_args()
    kinds = [int(each) for each in given.workers.split(",")]
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(given.runs):
            for workers in kinds if turn % 2 == 0 else kinds[::-1]:
                rows.append(run(lambda workers=workers: one_run(workers, given.requests, Path(folder)), LONGEST_S))  # type: ignore[misc]
                print(json.dumps(rows[-1]), flush=True)
    for workers in kinds:
        later = [row["later_us"] for row in rows if row["workers"] == workers]
        print(json.dumps({"workers": workers, "later_us": median(later), "at": time.strftime("%Y-%m-%d %H:%M")}))


if __name__ == "__main__":
    main()
