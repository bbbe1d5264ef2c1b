"""`python -m bench.simulator_cost`: what a simulated request costs in CPU time and memory, from trace to result.

Two cases: Azure's conversation trace over 8 replicas, and 500 requests a second for an hour over 100. Each runs in a
process of its own, so that its peak of memory is its own; reading, or making up, the requests is counted with the rest.
Promised: at most 5 s and 4 minutes on one core, the second in at most 2 GB that do not grow with what is over.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bench.processes import PAGE_BYTES
from penstock.config.scenarios import Policy, Scenario, read_scenario
from penstock.config.workloads import reader
from penstock.core.route.presets import STRATEGIES
from penstock.sim.run import Run
from penstock.workload.combine import Workload
from penstock.workload.request import Request

MARKS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the requests at whose arrival memory is read."""
FLAT_MB = 8.0
"""Growth from half of the requests to all of them that still counts as none: the allocator's own noise."""


class Case(NamedTuple):
    """One case and what is promised of it."""

    name: str
    scenario: str
    requests: int
    seconds: float
    megabytes: float | None


AZURE = Case(
    "azure", """
workload: {kind: loop, times: 10, of: {kind: trace, file: azure}}
fleet: [{count: 8, cost: h200-8b-fp8, seats: 32}]
""", 19_366, 5.0, None,
)  # fmt: skip
"""The shipped sample is the trace's first 2,000 requests; `--trace` names the whole file."""
HOUR = Case(
    "hour", """
workload:
  kind: synthetic
  arrivals: {kind: poisson, rate: 500}
  requests: 1800000
  sizes: {kind: independent, output: {kind: lognormal, median: 65, sigma: 0.93, high: 4096}}
fleet: [{count: 100, cost: h200-8b-fp8, seats: 32}]
""", 1_800_000, 240.0, 2048.0,
)  # fmt: skip
"""Prompts as the workload's default has them (mean 1,370 tokens); answers of 100 tokens in the mean."""
CASES = {case.name: case for case in (AZURE, HOUR)}


def resident_mb() -> float:
    """What this process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


class Watched:
    """The requests of a run; notes how much memory there is when some of them arrive."""

    def __init__(self, requests: Iterator[Request], expected: int) -> None:
        self._requests = requests
        self._at = [int(share * expected) for share in MARKS]
        self.resident: list[float] = []
        self.count = self.prompt_tokens = self.output_tokens = 0

    def __iter__(self) -> Iterator[Request]:
        for request in self._requests:
            self.count += 1
            self.prompt_tokens += request.prompt_tokens
            self.output_tokens += request.output_tokens
            yield request
            if self._at and self.count >= self._at[0]:
                del self._at[0]
                self.resident.append(round(resident_mb(), 1))


def scenario_of(case: Case, trace: Path | None) -> tuple[Scenario, Workload]:
    """The case's scenario and its workload; a trace file takes the place of the shipped sample."""
    text = case.scenario
    if trace is not None and case is AZURE:
        text = text.replace(
            "{kind: loop, times: 10, of: {kind: trace, file: azure}}", f"{{kind: trace, file: {trace}}}"
        )
    scenario = read_scenario(text, case.name)
    return scenario, Workload(scenario.workload, 1, reader(Path()))


def measure(case: Case, strategy: str, requests: int, trace: Path | None, digest: bool = False) -> dict[str, Any]:
    """One run, in this process."""
    scenario, workload = scenario_of(case, trace)
    watched = Watched(islice(iter(workload), requests), requests)
    policy = Policy(strategy=STRATEGIES.spec(strategy)())  # type: ignore[arg-type]
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    run = Run(scenario, policy, watched, 1)
    outcome = run.go(digest=digest)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    found: dict[str, Any] = {
        "case": case.name, "strategy": strategy, "replicas": sum(group.count for group in scenario.fleet),
        "requests": watched.count, "cpu_s": round(cpu_s, 2), "wall_s": round(wall_s, 2),
        "us_per_request": round(cpu_s / watched.count * 1e6, 1),
        "events_per_request": round(run.kernel.done / watched.count, 2),
        "resident_mb": watched.resident,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        "prompt_mean": round(watched.prompt_tokens / watched.count), "ok": outcome.result.ok,
        "output_mean": round(watched.output_tokens / watched.count, 1),
        "virtual_s": round(outcome.result.duration_s, 1), "ttft_p95_s": round(outcome.result.ttft_p95_s, 4),
    }  # fmt: skip
    return {**found, "journal": outcome.journal} if digest else found


def verdicts(case: Case, found: dict[str, Any]) -> Iterator[str]:
    """What was promised, scaled to the requests that were made, and whether it holds. Memory is not scaled."""
    seconds = case.seconds * found["requests"] / case.requests
    yield _said("CPU", found["cpu_s"], seconds, "s")
    yield _said("wall", found["wall_s"], seconds, "s")
    if case.megabytes is not None:
        yield _said("peak", found["peak_mb"], case.megabytes, "MB")
        _, half, _, whole = found["resident_mb"]
        yield _said("growth over the second half", round(whole - half, 1), FLAT_MB, "MB")


def _said(what: str, value: float, bound: float, unit: str) -> str:
    return f"{'holds' if value <= bound else 'MISSED'}: {what} {value:g} of {bound:.4g} {unit}"


def interpreter() -> dict[str, Any]:
    """Which Python this is, and whether it was built with profile-guided optimisation: worth a fifth or more."""
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return {
        "python": platform.python_version(), "optimised_build": "--enable-optimizations" in flags,
        "compiler": platform.python_compiler(), "machine": platform.machine(),
    }  # fmt: skip


def main() -> None:
    """Run the cases, each in a process of its own; one JSON object a line, then what of the promises holds."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulator_cost", description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help="a comma between them")
    parser.add_argument("--strategies", default="adaptive,round_robin")
    parser.add_argument("--requests", type=int, help="at most so many of each case; the promise is scaled down")
    parser.add_argument("--trace", type=Path, help="the whole of Azure's trace; else its sample, ten times")
    parser.add_argument("--digest", action="store_true", help="of every fact and order, which takes time")
    parser.add_argument("--here", action="store_true", help="in this process, so that a profiler sees it")
    asked = parser.parse_args()
    print(json.dumps(interpreter()), flush=True)
    for name in asked.cases.split(","):
        case = CASES[name]
        requests = min(case.requests, asked.requests or case.requests)
        for strategy in asked.strategies.split(","):
            if asked.here:
                found = measure(case, strategy, requests, asked.trace, asked.digest)
            else:
                found = _elsewhere(name, strategy, requests, asked)
            print(json.dumps(found), flush=True)
            for verdict in verdicts(case, found):
                print(verdict, flush=True)


def _elsewhere(name: str, strategy: str, requests: int, asked: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.simulator_cost", "--here", "--cases", name, "--strategies", strategy]
    command += ["--requests", str(requests), *(["--trace", str(asked.trace)] if asked.trace else [])]
    command += ["--digest"] if asked.digest else []
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, Any] = json.loads(lines[1])
    return found


if __name__ == "__main__":
    main()
