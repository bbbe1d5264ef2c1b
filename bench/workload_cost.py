"""`python -m bench.workload_cost`: how many requests a second each kind of workload makes, and in how much memory.

One core, one process; the fastest of several rounds counts, because whatever else runs on the machine can only add to
it. Memory is the peak of what Python allocates while the stream is consumed and nothing is kept, in a round of its own.
"""

import argparse
import time
import tracemalloc
from collections import deque
from itertools import islice
from pathlib import Path

from penstock.config.workloads import read_workload, reader
from penstock.workload.combine import Workload

CASES = {
    "poisson, fixed lengths": "{kind: synthetic, arrivals: {kind: poisson, rate: 500}, requests: 1000000000,"
    " sizes: {kind: independent, prompt: {kind: fixed, tokens: 100}, output: {kind: fixed, tokens: 100}}}",
    "poisson, lognormal": "{kind: synthetic, arrivals: {kind: poisson, rate: 500}, requests: 1000000000}",
    "gamma, lognormal": "{kind: synthetic, arrivals: {kind: gamma, rate: 500, cv: 3}, requests: 1000000000}",
    "daily, lognormal": "{kind: synthetic, arrivals: {kind: daily, rate: 500}, requests: 1000000000}",
    "1,000 shared prompts, 100 tenants": "{kind: synthetic, arrivals: {kind: poisson, rate: 500},"
    " requests: 1000000000, shared: {groups: 1000}, tenant: {kind: zipf, count: 100}}",
    "sessions": "{kind: sessions, arrivals: {kind: poisson, rate: 100}, requests: 1000000000}",
    "trace (azure, repeated)": "{kind: loop, times: 100000, of: {kind: trace, file: azure}}",
    "trace (mooncake, repeated)": "{kind: loop, times: 100000, of: {kind: trace, file: mooncake}}",
}


def workload(name: str) -> Workload:
    """The workload of a case."""
    return Workload(read_workload(f"workload: {CASES[name]}", name).workload, 1, reader(Path()))


def requests_per_s(work: Workload, count: int, rounds: int) -> float:
    """Requests made a second, in the fastest round."""
    best_s = float("inf")
    for _ in range(rounds):
        begin_s = time.perf_counter()
        deque(islice(work, count), maxlen=0)
        best_s = min(best_s, time.perf_counter() - begin_s)
    return count / best_s


def peak_bytes(work: Workload, count: int) -> int:
    """The most that Python had allocated while so many requests went by."""
    tracemalloc.start()
    try:
        deque(islice(work, count), maxlen=0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000, help="requests a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in CASES:
        speed = requests_per_s(workload(name), options.count, options.rounds)
        peak = peak_bytes(workload(name), options.count // 4)
        print(f"{name:36} {speed:12,.0f} requests/s {peak / 1e6:8.1f} MB")


if __name__ == "__main__":
    main()
