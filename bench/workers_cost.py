"""`python -m bench.workers_cost`: what a request costs with one worker and with several, in turns.

All of the gateway is on one core, the load generator and the upstream on the other: several workers can then be no
quicker than one, and what is compared is CPU time a request, of parent and workers together. It says whether the work
itself grows with their number; how much quicker more cores are, shows a machine that has them.

`apart` is the measure of that: two gateways that know nothing of each other on the same core, each with half of the
load. What they cost beyond one is what two processes on one core cost each other (caches, switches); what two workers
cost beyond them is what being workers costs.

With `--rate R` the load is an open loop instead, R requests a second for each worker, on any core: then nobody has
more to do in a turn of its loop than another, and whether the work of a request grows with workers is seen best.
"""

import argparse
import json
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from bench.gateways import Gateway, ask
from bench.processes import descendants, start, stop
from bench.scenarios import GATEWAY_CORE, LOAD_CORE, PLAIN, TOOLS, Row, build_tools, errors, load

HASH = "sha256:c00397de4384b5bbaf14c02fe1ec7020d28d1eeab6a722c576c84b6678c41c29"
APART = "apart"
SETTLED_S, REST_S = 0.5, 3.0
"""How long after the load it is at rest, and is measured then."""
CONNECTIONS = 64
"""For each worker: with as many for all, each would have fewer at a time, and more turns of its loop a request."""


def ran_s(pid: int) -> float:
    """Seconds that a process' main thread, which has its event loop, has run; in nanoseconds, not in ticks."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def config(workers: int, port: int, upstreams: list[int]) -> str:
    """The benchmark's own gateway (bench/penstock.yaml), with so many workers."""
    replicas = [
        {"url": f"http://127.0.0.1:{upstream}", "engine": "vllm", "max_concurrent_requests": 10_000}
        for upstream in upstreams
    ]
    return json.dumps({
        "listen": f"127.0.0.1:{port}", "admin": None, "workers": workers, "log": {"level": "warning"},
        "keys": [{"name": "bench", "hash": HASH}], "upstream": {"idle": 1024, "idle_per_replica": 512},
        "pools": [{"name": "mock", "models": ["mock-model"], "strategy": "adaptive", "replicas": replicas}],
    })  # fmt: skip


def measure(kind: str, upstreams: list[int], seconds: float, folder: Path, rate: int = 0) -> Row:
    """One run: CPU microseconds a request, and requests a second. `kind`: how many workers, or `apart`."""
    workers = 1 if kind == APART else int(kind)
    paced = ["-R", str(rate * workers)] if rate else []
    gateways = [_gateway(workers, upstreams, folder) for _ in range(2 if kind == APART else 1)]
    try:
        for gateway in gateways:
            gateway.start(None if rate else GATEWAY_CORE, PLAIN)
            for _ in range(8 * workers):  # each worker knows its replicas before it is measured
                ask(gateway.port, PLAIN)
        _loads(gateways, CONNECTIONS * workers, 1, paced)
        before = {pid: ran_s(pid) for gateway in gateways for pid in descendants(gateway.pid)}
        reports = _loads(gateways, CONNECTIONS * workers, seconds, paced)
        used = {pid: ran_s(pid) - was for pid, was in before.items()}
        time.sleep(SETTLED_S)
        before = {pid: ran_s(pid) for pid in before}
        time.sleep(REST_S)
        rest_s = sum(ran_s(pid) - was for pid, was in before.items())
        parent_s = used[gateways[0].pid] if workers > 1 else 0.0
    finally:
        for gateway in gateways:
            gateway.stop()
    count = sum(int(report["ok"]) for report in reports)
    return {
        "workers": kind, "requests": count, "errors": sum(map(errors, reports)), "per_s": round(count / seconds),
        "cpu_us": round(sum(used.values()) / count * 1e6, 2), "parent_cpu_us": round(parent_s / count * 1e6, 2),
        "rest_ms_per_s": round(rest_s / REST_S * 1e3, 2),
    }  # fmt: skip


def _gateway(workers: int, upstreams: list[int], folder: Path) -> Gateway:
    port = free_port()
    file = folder / f"workers{workers}-{port}.yaml"
    file.write_text(config(workers, port, upstreams))
    return Gateway(f"workers{workers}", port, [sys.executable, "-m", "penstock", "serve", "--config", str(file)])


def _loads(gateways: list[Gateway], connections: int, seconds: float, paced: list[str]) -> list[Row]:
    """Of each at the same time."""
    with ThreadPoolExecutor(len(gateways)) as pool:
        return list(pool.map(lambda gateway: load(gateway, connections, seconds, PLAIN, *paced), gateways))


def compared(rows: list[Row]) -> dict[str, float]:
    """CPU microseconds a request by kind, the median of its runs; and how much more than the first kind's, and than
    that of two gateways apart, where that was measured."""
    kinds = list(dict.fromkeys(str(row["workers"]) for row in rows))
    medians = {kind: median(row["cpu_us"] for row in rows if row["workers"] == kind) for kind in kinds}
    found = {f"{kind}: CPU us a request": cpu_us for kind, cpu_us in medians.items()}
    found |= {
        f"{kind}: CPU ms a second at rest": median(row["rest_ms_per_s"] for row in rows if row["workers"] == kind)
        for kind in kinds
    }
    for base in dict.fromkeys([kinds[0], *([APART] if APART in kinds else [])]):
        found |= {
            f"{kind} over {base}": round(cpu_us / medians[base] - 1, 4)
            for kind, cpu_us in medians.items() if kind not in (base, kinds[0])
        }  # fmt: skip
    return found


def main() -> None:
    """Measure in turns, print each run and what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", default="1,apart,2")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rate", type=int, default=0)
    given = parser.parse_args()
    kinds = given.workers.split(",")
    build_tools()
    upstreams = [free_port(), free_port()]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        mock = start([str(TOOLS / "mock"), "-p", ",".join(map(str, upstreams))], LOAD_CORE, Path(folder) / "mock.log")
        try:
            for run in range(given.runs):
                for kind in kinds if run % 2 == 0 else kinds[::-1]:
                    rows.append(measure(kind, upstreams, given.seconds, Path(folder), given.rate))
                    print(json.dumps(rows[-1]), flush=True)
        finally:
            stop(mock)
    print(json.dumps(compared(rows) | {"at": time.strftime("%Y-%m-%d %H:%M")}))


if __name__ == "__main__":
    main()
