"""`python -m bench run | report | upstream`: measure, show kept measurements again, or run the upstream by itself."""

import argparse
import datetime
import fcntl
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.gateways import UPSTREAMS, WORK, Gateway, Missing, make
from bench.processes import cpu_s, descendants, listening, raise_file_limit, rss_kib, start, stop, threads
from bench.report import tables
from bench.scenarios import (
    ALONE,
    GATEWAY_CORE,
    LOAD_CORE,
    NOT_DIRECT,
    ONCE,
    PLAIN,
    SCENARIOS,
    Row,
    build_tools,
    load,
    upstream_command,
)

LOCK = WORK / "lock"
Keep = Callable[[str, str, int, Row], None]


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure; the first two words of the README say how")
    run.add_argument("--gateways", default="direct,nginx,penstock,envoy")
    run.add_argument(
        "--scenarios",
        default="requests,requests8k,requests400k,latency,paced,fast,streams",
        help=f"of {', '.join(SCENARIOS)}",
    )
    run.add_argument("--reps", type=int, default=3, help="repetitions, interleaved among the gateways")
    run.add_argument("--secs", type=float, default=5.0, help="seconds of one measurement")
    run.add_argument("--out", type=Path, help="file that measurements are appended to, one JSON object a line")
    report = commands.add_parser("report", help="tables of kept measurements")
    report.add_argument("files", nargs="+", type=Path)
    commands.add_parser("upstream", help="the mock upstream in the foreground")
    return parser.parse_args()


def main() -> None:
    """Do what was asked for."""
    asked = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if asked.command == "report":
        print(tables([json.loads(line) for file in asked.files for line in file.read_text().splitlines()]), end="")
        return
    if not alone():
        sys.exit("another benchmark runs here: two at once would measure each other")
    build_tools()
    raise_file_limit()
    if asked.command == "upstream":
        command = upstream_command()
        os.execv(command[0], command)
    measure(asked)


def alone() -> bool:
    """Whether no other benchmark runs from this checkout; holds that until we end."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    try:
        fcntl.flock(os.open(LOCK, os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def measure(asked: argparse.Namespace) -> None:
    """Run the asked scenarios over the asked gateways and print the tables."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    out: Path = asked.out or WORK / f"{stamp}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []

    def keep(gateway: str, scenario: str, rep: int, numbers: Row) -> None:
        row = {"gateway": gateway, "scenario": scenario, "rep": rep, "at": stamp, **numbers}
        rows.append(row)
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row)[:200], file=sys.stderr, flush=True)

    keep("machine", "machine", 0, machine())
    gateways = [gateway for name in asked.gateways.split(",") if (gateway := _find(name, keep))]
    scenarios = asked.scenarios.split(",")
    upstream = None if listening(UPSTREAMS[0]) else start(upstream_command(), LOAD_CORE, WORK / "upstream.log")
    try:
        together = [name for name in scenarios if name not in ALONE]
        if together:
            run_group(gateways, together, asked.reps, asked.secs, keep)
        for name in (name for name in scenarios if name in ALONE):
            for gateway in gateways:
                if gateway.name != "direct":
                    run_group([gateway], [name], 1, asked.secs, keep)
    finally:
        for gateway in gateways:
            gateway.stop()
        if upstream:
            stop(upstream)
    print(tables(rows))
    print(f"kept in {out}")


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "cpu": model.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _find(name: str, keep: Keep) -> Gateway | None:
    try:
        return make(name)
    except Missing as missing:
        keep(name, "start", 0, {"failed": str(missing)})
        return None


def run_group(gateways: list[Gateway], scenarios: list[str], reps: int, secs: float, keep: Keep) -> None:
    """All scenarios over gateways that are alive together, interleaved, the direction alternating."""
    alive = [gateway for gateway in gateways if _started(gateway, keep)]
    for rep in range(reps):
        for gateway in alive if rep % 2 == 0 else reversed(alive):
            for name in scenarios:
                if (name in ONCE and rep > 0) or (gateway.name == "direct" and name in NOT_DIRECT):
                    continue
                try:
                    keep(gateway.name, name, rep, SCENARIOS[name](gateway, secs))
                except Exception as error:
                    keep(gateway.name, name, rep, {"failed": f"{type(error).__name__}: {error}"[:400]})
                time.sleep(0.3)
    for gateway in alive:
        gateway.stop()


def _started(gateway: Gateway, keep: Keep) -> bool:
    try:
        numbers = gateway.start(GATEWAY_CORE, PLAIN)
        if numbers:
            keep(gateway.name, "start", 0, {**numbers, **idle(gateway)})
            load(gateway, 64, 2, PLAIN)
    except Exception as error:
        gateway.stop()
        keep(gateway.name, "start", 0, {"failed": str(error)[:400]})
        return False
    return True


def idle(gateway: Gateway, seconds: float = 2.0) -> Row:
    """What it holds and uses while nobody asks."""
    time.sleep(1.0)
    before = sum(cpu_s(descendants(gateway.pid)))
    time.sleep(seconds)
    pids = descendants(gateway.pid)
    used_s = sum(cpu_s(pids)) - before
    return {
        "idle_rss_kib": rss_kib(pids),
        "threads": threads(pids),
        "processes": len(pids),
        "idle_cpu_ms_per_s": round(used_s * 1e3 / seconds, 1),
    }


if __name__ == "__main__":
    main()
