"""`python -m bench.workers_cost`: what a request costs with one worker and with several, in turns.

All of the gateway is on one core, the load generator and the upstream on the other: several workers can then be no
quicker than one, and what is compared is CPU time a request, of parent and workers together. It says whether the work
itself grows with their number; how much quicker more cores are, shows a machine that has them.
"""

import argparse
import json
import socket
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.gateways import Gateway, ask
from bench.processes import cpu_s, descendants, start, stop
from bench.scenarios import GATEWAY_CORE, LOAD_CORE, PLAIN, TOOLS, Row, build_tools, errors, load

HASH = "sha256:c00397de4384b5bbaf14c02fe1ec7020d28d1eeab6a722c576c84b6678c41c29"
CONNECTIONS = 64
"""For each worker: with as many for all, each would have fewer at a time, and more turns of its loop a request."""


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


def measure(workers: int, upstreams: list[int], seconds: float, folder: Path) -> Row:
    """One run: CPU microseconds a request, and requests a second."""
    port = free_port()
    file = folder / f"workers{workers}.yaml"
    file.write_text(config(workers, port, upstreams))
    command = [sys.executable, "-m", "penstock", "serve", "--config", str(file)]
    gateway = Gateway(f"workers{workers}", port, command)
    gateway.start(GATEWAY_CORE, PLAIN)
    pid = gateway.pid
    try:
        for _ in range(8 * workers):  # each worker knows its replicas before it is measured
            ask(port, PLAIN)
        load(gateway, CONNECTIONS * workers, 1, PLAIN)
        before = {pid: sum(cpu_s([pid])) for pid in descendants(gateway.pid)}
        report = load(gateway, CONNECTIONS * workers, seconds, PLAIN)
        used = {pid: sum(cpu_s([pid])) - was for pid, was in before.items()}
    finally:
        gateway.stop()
    count = int(report["ok"])
    parent_s = used[pid] if workers > 1 else 0.0
    return {
        "workers": workers, "requests": count, "errors": errors(report), "per_s": round(count / seconds),
        "cpu_us": round(sum(used.values()) / count * 1e6, 2), "parent_cpu_us": round(parent_s / count * 1e6, 2),
    }  # fmt: skip


def compared(rows: list[Row]) -> dict[str, float]:
    """CPU microseconds a request by number of workers, the median of its runs; and how much more than with one."""
    counts = sorted({row["workers"] for row in rows})
    medians = {count: median(row["cpu_us"] for row in rows if row["workers"] == count) for count in counts}
    first = medians[counts[0]]
    return {
        **{f"{count} workers, CPU us a request": cpu_us for count, cpu_us in medians.items()},
        **{f"{count} workers, over {counts[0]}": round(medians[count] / first - 1, 4) for count in counts[1:]},
    }


def main() -> None:
    """Measure in turns, print each run and what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    counts = [int(count) for count in given.workers.split(",")]
    build_tools()
    upstreams = [free_port(), free_port()]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        mock = start([str(TOOLS / "mock"), "-p", ",".join(map(str, upstreams))], LOAD_CORE, Path(folder) / "mock.log")
        try:
            for run in range(given.runs):
                for count in counts if run % 2 == 0 else counts[::-1]:
                    rows.append(measure(count, upstreams, given.seconds, Path(folder)))
                    print(json.dumps(rows[-1]), flush=True)
        finally:
            stop(mock)
    print(json.dumps(compared(rows) | {"at": time.strftime("%Y-%m-%d %H:%M")}))


if __name__ == "__main__":
    main()
