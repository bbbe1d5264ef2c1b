"""`python -m bench.field DATA`: every strategy on ten workloads, in virtual time, beside what could be had at best.

The scenarios stand in `bench/workloads`; paths of traces in them are seen from DATA (`azure_llm_2023_conv/…`). Each
has a `speed` around its workload, which was chosen by `--knee` and before any other strategy was looked at: the load at
which `round_robin` answers about nine of ten requests within the SLO, on a seed that is not used afterwards.

What is held against each other is goodput; where it does not tell the best ones apart (all above 99.9 %), TTFT p95.
"""

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from penstock.config.scenarios import Scenario, open_scenario
from penstock.config.workloads import reader
from penstock.core.route.presets import STRATEGIES
from penstock.sim.opponents import MARK, OPPONENTS
from penstock.sim.oracle import bound, least_work
from penstock.sim.run import simulate
from penstock.sim.tally import Result
from penstock.workload.combine import Speed, Workload
from penstock.workload.request import Request

FOLDER = Path(__file__).parent / "workloads"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
TRIED = (
    "round_robin", "random", "weighted_round_robin", "least_connections", "least_loaded", "least_response_time",
    "p2c_peak_ewma", "consistent_hash", "prefix_aware", "adaptive_classic", "adaptive",
)  # fmt: skip
OPPOSED = tuple(MARK + name for name in OPPONENTS)
KNEE_SEED = 11
KNEE_GOODPUT = 0.9
SHOWN = (
    "requests", "failed", "goodput", "ttft_p50_s", "ttft_p95_s", "ttft_p99_s", "e2e_p50_s", "e2e_p95_s", "queue_p95_s",
    "per_token_p50_s", "prefix_hits", "output_tokens_per_s", "load_max_mean", "duration_s",
)  # fmt: skip


def at_load(name: str, load: float, seats: int | None = None) -> Scenario:
    """A scenario with its workload so many times as fast, and with so many seats a replica."""
    scenario = open_scenario(str(FOLDER / f"{name}.yaml"))
    assert isinstance(scenario.workload, Speed)
    fleet = scenario.fleet if seats is None else tuple(replace(group, seats=seats) for group in scenario.fleet)
    workload = replace(scenario.workload, factor=scenario.workload.factor * load)
    return replace(scenario, workload=workload, fleet=fleet)


def coming(scenario: Scenario, data: Path, seed: int) -> Iterator[Request]:
    """Its requests."""
    return iter(Workload(scenario.workload, seed, reader(data)))


def played(
    name: str, who: str, seed: int, load: float, data: Path, seats: int | None = None
) -> Result | dict[str, float]:  # fmt: skip
    """One run."""
    scenario = at_load(name, load, seats)
    requests = coming(scenario, data, seed)
    if who == "bound":
        return bound(scenario, requests)
    if who == "oracle":
        return least_work(scenario, requests, seed)
    if who.startswith(MARK):
        trial = OPPONENTS[who.removeprefix(MARK)].trial(scenario, scenario.policy)
        return simulate(trial.scenario, trial.policy, map(trial.shape, requests) if trial.shape else requests, seed)
    strategy: Any = STRATEGIES.spec(who)()
    return simulate(scenario, replace(scenario.policy, strategy=strategy), requests, seed)


def row(name: str, who: str, seed: int, load: float, data: Path, seats: int | None = None) -> dict[str, Any]:
    """One run as a line of the results."""
    since = time.process_time()
    found = played(name, who, seed, load, data, seats)
    numbers = found if isinstance(found, dict) else {key: getattr(found, key) for key in SHOWN}
    outcomes = {} if isinstance(found, dict) else found.outcomes
    head = {"workload": name, "load": load, "who": who, "seed": seed, "cpu_s": round(time.process_time() - since, 2)}
    head |= {} if seats is None else {"seats": seats}
    return head | {key: round(value, 6) for key, value in numbers.items() if key in SHOWN} | {"outcomes": outcomes}


def told(one: dict[str, Any]) -> str:
    """A line for people."""
    return (
        f"{one['workload']:22} x{one['load']:<5.3g} {one.get('seats', ''):4} {one['who']:24} {one['seed']:3} "
        f"n={one['requests']:6.0f} "
        f"good={one['goodput']:.4f} ttft p50={one['ttft_p50_s']:.3f} p95={one['ttft_p95_s']:.3f} "
        f"tok={one['per_token_p50_s'] * 1000:.1f}ms hits={one['prefix_hits']:.3f} "
        f"failed={one['failed']:.0f} cpu={one['cpu_s']:.1f}"
    )


def knee(name: str, data: Path) -> float:
    """The load at which round robin's goodput is nearest to what is wanted, within a fiftieth."""
    low, high, load = 0.0, 0.0, 1.0
    best = (1.0, load)
    for _ in range(8):
        one = row(name, "round_robin", KNEE_SEED, load, data)
        print(told(one), flush=True)
        best = min(best, (abs(one["goodput"] - KNEE_GOODPUT), load))
        if best[0] < 0.02:
            break
        if one["goodput"] > KNEE_GOODPUT:
            low = load
        else:
            high = load
        load = load * 1.4 if not high else load / 1.6 if not low else (low + high) / 2
    print(f"{name}: round_robin is at its knee at {best[1]:.3g} times the file's load", flush=True)
    return best[1]


def main() -> None:
    """Look for the loads, or measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.field", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the traces")
    parser.add_argument("--knee", action="store_true", help="look for the loads, with round_robin alone")
    parser.add_argument("--workloads", default=",".join(NAMES))
    parser.add_argument("--who", default=",".join(("bound", "oracle", *TRIED)))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--load", type=float, default=1.0, help="times the file's")
    parser.add_argument("--seats", default="", help="of each replica, instead of the files', e.g. 8,32,64,128")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file that the runs are appended to, one JSON object a line")
    asked = parser.parse_args()
    names = asked.workloads.split(",")
    if asked.knee:
        for name in names:
            knee(name, asked.data)
        return
    everybody = [
        who
        for part in asked.who.split(",")
        for who in ([MARK + it for it in OPPONENTS] if part == "opponents" else [part])
    ]
    runs = [
        (name, who, int(seed), asked.load, asked.data, int(seats) if seats else None)
        for name in names
        for seats in asked.seats.split(",")
        for who in everybody
        for seed in asked.seeds.split(",")
    ]
    with ProcessPoolExecutor(asked.jobs) as pool:
        for one in pool.map(row, *zip(*runs)):
            print(told(one), flush=True)
            if asked.out:
                with asked.out.open("a") as file:
                    file.write(json.dumps(one) + "\n")


if __name__ == "__main__":
    main()
