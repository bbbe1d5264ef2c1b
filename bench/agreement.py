"""`python -m bench.agreement`: a gateway over emulated engines, all with real sockets, beside the simulation of it.

Three engines in processes of their own, one of them at half speed, behind `penstock serve` with its defaults. The same
arrivals are sent by `penstock load`'s own code and played by the simulator; what is compared is the p50 and p95 of the
time to the first token and of the whole answer. Capacity is what the simulator says such a fleet answers a second while
every seat is taken and calls wait.

Nothing of the simulation is fitted to the runs. It is told one number that is measured before them, the network's round
trip: how much longer than the engine's model a lone request takes. How late an emulator itself is under load is
measured without a gateway.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from msgspec.structs import replace

from bench.__main__ import machine
from bench.gateways import WORK
from bench.house import Ends, Machine, config_of, house, play
from penstock.base.rand import Rand
from penstock.config.scenarios import Group, Network, Policy, Scenario, policy_of
from penstock.core.spec import QueueSpec
from penstock.engine.batcher import Batcher
from penstock.engine.words import Emit, Finish, Order, Submit, Woke
from penstock.loadgen.tally import percentile
from penstock.sim.prompts import own_text, seen_by_engine
from penstock.sim.run import simulate
from penstock.workload.arrivals import Poisson
from penstock.workload.lengths import Fixed, Independent, LogNormal
from penstock.workload.prefixes import Shared
from penstock.workload.request import NS, Request
from penstock.workload.synthetic import Synthetic

SPEEDS = (0.8, 0.8, 0.4)
"""Of the `demo` engine, whose step takes 18 ms at least: 22.5 and 45 ms."""
SEATS = 16
FLEET = tuple(Group(cost="demo", speed=speed, seats=SEATS, max_model_len=32_768) for speed in SPEEDS)
BOUNDS = {0.3: 0.10, 0.6: 0.10, 0.9: 0.20}
"""Load -> how far apart the two may be."""
NUMBERS = ("ttft_p50_s", "ttft_p95_s", "e2e_p50_s", "e2e_p95_s")
PREDICTIONS = range(1, 10)
"""Seeds of the simulated Gate. A prediction is the median over them, as a measurement is the median of its runs."""
FLOOD = 10_000
"""Requests, far more than there are seats: the tail in which seats are free again is short beside the whole."""
LATE_MS = 5.0
"""A run whose sender was later (p99) does not count: the machine was shared, and late requests are others."""
MOST_RUNS = 6
LONE_EVERY_S, LONE = 1.0, 30
Row = dict[str, Any]


def requests_of(rate: float, seconds: float | None, seed: int, count: int | None = None) -> list[Request]:
    """Arrivals by chance, prompts that partly begin alike, answers of some 40 tokens."""
    spec = Synthetic(
        arrivals=Poisson(rate=rate),
        sizes=Independent(
            prompt=LogNormal(median=200, sigma=0.8, high=2000), output=LogNormal(median=40, sigma=0.6, high=200)
        ),
        shared=Shared(groups=8, tokens=Fixed(tokens=256)),
        duration_s=seconds,
        requests=count,
    )
    return list(spec.stream(Rand(seed), lambda name: ()))


# ===== the simulation =====


def scenario_of(policy: Policy, round_trip_s: float) -> Scenario:
    """The live fleet as the simulator is told of it; requests are handed to the run."""
    nothing = Synthetic(arrivals=Poisson(rate=1.0), requests=1)
    return Scenario(workload=nothing, fleet=FLEET, policy=policy, network=Network(round_trip_s=round_trip_s))


def capacity_per_s(policy: Policy) -> float:
    """Answers a second while every seat is taken and calls wait, says the simulator."""
    patient = replace(policy, queue=QueueSpec(timeout_s=3600.0, max=1_000_000))
    result = simulate(scenario_of(patient, 0.0), patient, requests_of(1e6, None, 1, FLOOD), 1)
    assert result.ok == FLOOD
    return FLOOD / result.duration_s


def predicted(requests: list[Request], policy: Policy, round_trip_s: float) -> list[Row]:
    """What the simulator says, for each seed of the Gate."""
    found = []
    for seed in PREDICTIONS:
        result = simulate(scenario_of(policy, round_trip_s), policy, requests, seed)
        found.append({name: getattr(result, name) for name in NUMBERS} | {"replicas": list(result.replicas.values())})
    return found


def alone(requests: list[Request], group: Group) -> list[Ends]:
    """What one engine's model makes of these arrivals: no gateway, no network."""
    batcher = Batcher(group.engine(), each_token=False)
    first, last = dict[str, float](), dict[str, float]()

    def take(orders: Iterable[Order], at: float) -> None:
        for order in orders:
            if isinstance(order, Emit):
                first.setdefault(order.id, at)
            else:
                assert isinstance(order, Finish)
                last[order.id] = at

    for number, request in enumerate(requests):
        while (wake := batcher.next_wake()) is not None and wake <= request.at_s:
            take(batcher.on(Woke(), wake), wake)
        blocks = seen_by_engine(request, batcher.spec.block_size)
        own = own_text(number)
        fact = Submit(str(number), request.prompt_tokens, request.output_tokens, blocks, "length", own)
        take(batcher.on(fact, request.at_s), request.at_s)
    while (wake := batcher.next_wake()) is not None:
        take(batcher.on(Woke(), wake), wake)
    return [
        Ends(first[str(number)] - request.at_s, last[str(number)] - request.at_s)
        for number, request in enumerate(requests)
    ]


# ===== numbers =====


def percentiles(ends: list[Ends]) -> Row:
    """The four that are compared."""
    first, last = sorted(end.ttft_s for end in ends), sorted(end.e2e_s for end in ends)
    return {
        "ttft_p50_s": percentile(first, 0.5), "ttft_p95_s": percentile(first, 0.95),
        "e2e_p50_s": percentile(last, 0.5), "e2e_p95_s": percentile(last, 0.95),
    }  # fmt: skip


def later(live: list[Ends], model: list[Ends]) -> Row:
    """By how much requests came later than the model says, in milliseconds."""
    found: Row = {}
    for name, some in (
        ("ttft", [one.ttft_s - other.ttft_s for one, other in zip(live, model, strict=True)]),
        ("e2e", [one.e2e_s - other.e2e_s for one, other in zip(live, model, strict=True)]),
    ):
        ordered = sorted(some)
        for share in (0.05, 0.5, 0.95, 0.99):
            found[f"{name}_later_p{share * 100:.0f}_ms"] = round(percentile(ordered, share) * 1e3, 2)
    return found


# ===== what is measured =====


def lone(folder: Path) -> Row:
    """Requests that meet nobody, through the gateway: what sockets, parsing and wake-ups add to the engines' model."""
    few = [request for request in requests_of(100.0, None, 99, 1000) if request.output_tokens < 30][:LONE]
    requests = [replace(each, at_ns=int(at * LONE_EVERY_S * NS), blocks=()) for at, each in enumerate(few)]
    with house(folder, SPEEDS, SEATS) as at:
        live, tally = play(at.gateway, requests, 99)
    served = [FLEET[int(tally.answers[id(request)].replica[1:])] for request in requests]
    return later(live, [alone([request], group)[0] for request, group in zip(requests, served, strict=True)])


def crowd(folder: Path, rate: float, seconds: float) -> Row:
    """One emulated engine under load and without a gateway: how late its own clock, text and sockets make it."""
    requests = requests_of(rate, seconds, 98)
    with house(folder, SPEEDS, SEATS) as at, Machine() as meter:
        live, _ = play(at.engines[0], requests, 98)
    model = alone(requests, FLEET[0])
    apart = {name: round(percentiles(live)[name] / percentiles(model)[name] - 1, 4) for name in NUMBERS}
    return {"requests": len(requests), **later(live, model), "apart": apart, **meter.row}


def run(folder: Path, requests: list[Request], seed: int) -> Row:
    """One live run."""
    with house(folder, SPEEDS, SEATS) as at, Machine() as meter:
        live, tally = play(at.gateway, requests, seed)
    replicas = [tally.replicas[f"r{number}"].requests for number in range(len(SPEEDS))]
    late_ms = round(tally.lateness.percentiles(0.99)[0] * 1e3, 2)
    return {**percentiles(live), "replicas": replicas, "sender_late_p99_ms": late_ms, **meter.row}


def beside(load: float, live: list[Row], simulated: list[Row]) -> list[Row]:
    """The medians of both, how far apart they are, and how far luck alone takes the simulation's seeds."""
    rows = []
    for name in NUMBERS:
        measured, said = median(row[name] for row in live), median(row[name] for row in simulated)
        lows = min(row[name] for row in simulated) / said - 1, max(row[name] for row in simulated) / said - 1
        apart = said / measured - 1
        rows.append(
            {
                "load": load, "number": name, "live_s": round(measured, 4), "simulated_s": round(said, 4),
                "apart": round(apart, 4), "holds": abs(apart) <= BOUNDS[load],
                "live_runs_s": [round(row[name], 4) for row in live],
                "seeds_from_to": [round(low, 4) for low in lows],
            }
        )  # fmt: skip
    return rows


def table(rows: list[Row]) -> str:
    """For people."""
    lines = ["| load | number | live | simulated | apart | bound | luck of the simulation |", "|---" * 7 + "|"]
    for row in rows:
        (low, high), missed = row["seeds_from_to"], "" if row["holds"] else " **missed**"
        lines.append(
            f"| {row['load']:.0%} | {row['number'][:-2]} | {row['live_s'] * 1e3:,.0f} ms "
            f"| {row['simulated_s'] * 1e3:,.0f} ms | {row['apart']:+.1%}{missed} | {BOUNDS[row['load']]:.0%} "
            f"| {low:+.1%} … {high:+.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what was asked for; several calls may append to one file, of which the last one makes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=__doc__)
    parser.add_argument("--steps", default="noise,0.3,0.6,0.9", help="noise, or shares of the capacity")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--secs", type=float, default=80.0, help="of arrivals, each run")
    parser.add_argument("--out", type=Path, default=WORK / "agreement.jsonl")
    parser.add_argument("--report", action="store_true", help="show what the file has, measure nothing")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends with us
    folder = WORK / "agreement"
    folder.mkdir(parents=True, exist_ok=True)

    def keep(row: Row) -> None:
        with asked.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), file=sys.stderr, flush=True)

    for step in asked.steps.split(",") if not asked.report else ():
        measure(step, folder, asked.runs, asked.secs, keep)
    rows = [json.loads(line) for line in asked.out.read_text().splitlines()]
    print(table([row for row in rows if row["kind"] == "beside"]))


def measure(step: str, folder: Path, runs: int, seconds: float, keep: Callable[[Row], None]) -> None:
    """One step of it."""
    policy = policy_of(str(config_of(folder, ["http://127.0.0.1:1"] * len(SPEEDS), SEATS)), {})
    capacity = capacity_per_s(policy)
    if step == "noise":
        keep({"kind": "machine", "at": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), **machine()})
        keep({"kind": "capacity", "per_s": round(capacity, 3)})
        keep({"kind": "lone", **lone(folder)})
        share = FLEET[0].speed / sum(group.speed for group in FLEET)
        for load in (0.6, 0.9):
            keep({"kind": "crowd", "load": load, **crowd(folder, load * capacity * share, 60.0)})
        return
    load = float(step)
    round_trip_s = lone(folder)["ttft_later_p50_ms"] / 1e3
    requests = requests_of(load * capacity, seconds, 1)
    live: list[Row] = []
    for seed in range(1, MOST_RUNS + 1):
        row = run(folder, requests, seed)
        counts = row["sender_late_p99_ms"] <= LATE_MS
        keep({"kind": "live", "load": load, "counts": counts, "requests": len(requests), **row})
        if counts:
            live.append(row)
        if len(live) == runs:
            break
    else:
        sys.exit(f"of {MOST_RUNS} runs only {len(live)} had a sender in time: something else uses this machine")
    simulated = predicted(requests, policy, round_trip_s)
    keep({"kind": "simulated", "load": load, "round_trip_s": round_trip_s, "seeds": simulated})
    for row in beside(load, live, simulated):
        keep({"kind": "beside", **row})


if __name__ == "__main__":
    main()
