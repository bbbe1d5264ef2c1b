"""`python -m bench.vllm_reality measure | replay | predict`: is a real engine what the simulator says of it?

Three steps, because an hour may lie between them and each leaves a file:

    measure ENGINE --out points.csv      short closed-loop benchmarks of one engine: several lengths and concurrencies
    penstock calibrate points.csv --out model.json
    replay ENGINE … --out seen.jsonl     a trace in open loop through a gateway over these engines, as they answered it
    predict seen.jsonl model.json        the same arrivals in the simulator, beside what was seen

Nothing of the replay goes into the model. What it hands to the simulator are arrivals and sizes: when each request was
sent, and how many tokens the engine counted in it.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import mean
from typing import NamedTuple

import uvloop
from msgspec.structs import replace

from bench.prefix_cache import gateway
from bench.processes import Witness
from penstock.base.rand import Rand
from penstock.config.costs import Cost, loaded, reader
from penstock.config.scenarios import Group, Network, Policy, Scenario
from penstock.core.route.presets import RoundRobin
from penstock.engine.measured import Point
from penstock.loadgen.client import Client, parse_target
from penstock.loadgen.exchange import Timeouts
from penstock.loadgen.preflight import model_of
from penstock.loadgen.run import Plan, Replay
from penstock.loadgen.tally import Kept, percentile
from penstock.loadgen.traces import open_trace
from penstock.sim.run import simulate
from penstock.workload.combine import Trace
from penstock.workload.request import NS, Request

LENGTHS = ((64, 32), (64, 200), (300, 100), (600, 50), (800, 250), (1300, 30), (1700, 100), (1000, 200), (150, 60))
CLIENTS = (1, 2, 4, 8, 16)
WARM_REQUESTS, MOST_REQUESTS, SPREAD = 8, 2000, 0.5
FULL_CLIENTS, FULL_AFTER_S = 32, 4.0
"""Clients who keep the engines busy, and from when on that counts: before, they all begin at once."""
TIMES = ("ttft_s", "e2e_s")
TIMES_OF_RESULT = ("ttft_", "e2e_")


class Seen(NamedTuple):
    """One request as it was answered. Times in seconds; tokens as the engine counted them."""

    at_s: float
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    e2e_s: float


def seen_by(tally: Kept) -> list[Seen]:
    """The answers that went well, by their times; those that did not are told."""
    if tally.errors:
        print(f"failed, and left out: {tally.errors}", file=sys.stderr, flush=True)
    start = min(answer.started_at for answer in tally.answers)
    return sorted(
        Seen(one.started_at - start, one.prompt_tokens or 0, one.output_tokens or one.pieces, one.ttft_s, one.e2e_s)
        for one in tally.answers
        if one.ttft_s is not None and not one.error
    )


def asked(url: str, requests: list[Request], plan: Plan) -> list[Seen]:
    """What became of these requests."""

    async def run() -> Kept:
        target, tally = parse_target(url), Kept()
        client = Client(target, timeouts=Timeouts(first_byte_s=120.0, total_s=300.0))
        named = replace(plan, default_model=await model_of(client, None))
        await Replay(requests, named, client, tally).run()
        return tally

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return seen_by(runner.run(run()))


def measured(
    url: str, lengths: Iterable[tuple[int, int]], clients: Sequence[int], seconds: float, seed: int
) -> Iterator[Point]:
    """Closed loops of so many clients, each for about so many seconds. Lengths are drawn, so that clients who began
    together do not stay so; what is told is their mean over all runs of a setting, as the engine counted."""
    asked(url, [Request(0, 64, 16)] * WARM_REQUESTS, Plan(closed=2, seed=seed))
    luck = Rand(seed).stream("lengths")
    for number, (prompt, answer) in enumerate(lengths):
        requests = [Request(0, _drawn(luck, prompt), _drawn(luck, answer)) for _ in range(MOST_REQUESTS)]
        runs = [
            asked(url, requests, Plan(closed=users, duration_s=seconds, seed=seed + 1000 * number + users))
            for users in clients
        ]
        every = [one for run in runs for one in run]
        for users, run in zip(clients, runs):
            per_token = [(one.e2e_s - one.ttft_s) / (one.output_tokens - 1) for one in run]
            yield Point(
                users, round(mean(one.prompt_tokens for one in every)), round(mean(one.output_tokens for one in every)),
                mean(one.ttft_s for one in run), mean(per_token), len(run), SPREAD,
            )  # fmt: skip


def _drawn(luck: Random, most: int) -> int:
    return round(most * (1.0 - SPREAD * luck.random()))


def requests_of(seen: Iterable[Seen]) -> list[Request]:
    """The same arrivals, for the simulator."""
    return [Request(round(one.at_s * NS), max(1, one.prompt_tokens), one.output_tokens) for one in seen]


def predicted(seen: list[Seen], model: Path, replicas: int, seats: int, round_trip_s: float) -> dict[str, float]:
    """The simulator's numbers of these arrivals over engines of this model, by their names in a result."""
    cost = loaded(Cost(file=model.name), reader(model.parent))
    scenario = Scenario(
        workload=Trace(file="seen"), fleet=(Group(count=replicas, cost=cost, seats=seats),),
        network=Network(round_trip_s=round_trip_s),
    )  # fmt: skip
    result = simulate(scenario, Policy(strategy=RoundRobin()), requests_of(seen), 1)
    return {name: getattr(result, name) for name in result.__struct_fields__ if name.startswith(TIMES_OF_RESULT)}


def beside(seen: list[Seen], told: dict[str, float]) -> Iterator[str]:
    """A table: measured, predicted, error."""
    yield "| | measured | predicted | error |\n|---|---|---|---|"
    for time in TIMES:
        values = sorted(float(getattr(one, time)) for one in seen)
        kind = time.removesuffix("_s")
        rows = {"mean": mean(values), **{f"p{share}": percentile(values, share / 100) for share in (50, 90, 95, 99)}}
        for name, found in rows.items():
            key = f"{kind}_{name}_s"
            if key in told:
                error = told[key] / found - 1
                yield f"| {kind} {name} | {found * 1e3:.1f} ms | {told[key] * 1e3:.1f} ms | {error:+.1%} |"


def _measure(asked_for: argparse.Namespace) -> None:
    with asked_for.out.open("w") as file:
        print(",".join(Point._fields), file=file)
        for point in measured(asked_for.engine[0], LENGTHS, CLIENTS, asked_for.seconds, asked_for.seed):
            print(",".join(str(value) for value in point), file=file, flush=True)
            print(point, flush=True)


def replayed(url: str, trace: list[Request], asked_for: argparse.Namespace) -> list[Seen]:
    """The trace in open loop, at the share of what the engines can serve that was asked for: that is measured first,
    with many clients in a closed loop on the same trace."""
    sizes = {"max_prompt_tokens": asked_for.max_prompt, "max_output_tokens": asked_for.max_output}
    full = Plan(closed=FULL_CLIENTS, duration_s=asked_for.full_seconds, seed=asked_for.seed + 1, **sizes)
    done = [one for one in asked(url, trace, full) if FULL_AFTER_S < one.at_s + one.e2e_s < asked_for.full_seconds]
    full_rps = len(done) / (asked_for.full_seconds - FULL_AFTER_S)
    trace_rps = len(trace) / trace[-1].at_s
    speed = asked_for.load * full_rps / trace_rps
    print(
        f"full: {full_rps:.2f} requests/s; at {asked_for.load:g} of it, the trace at {speed:.3f} of its speed",
        flush=True,
    )
    plan = Plan(speed=speed, duration_s=asked_for.seconds, repeat=True, seed=asked_for.seed, **sizes)
    return asked(url, trace, plan)


def _replay(asked_for: argparse.Namespace) -> None:
    with gateway(asked_for.engine, "round_robin", asked_for.seats) as (url, _):
        with Witness([os.getpid(), *asked_for.engine_pid]) as witness:
            seen = replayed(url, open_trace(asked_for.trace), asked_for)
        if asked_for.engine_pid:
            print(witness.told(), flush=True)
    asked_for.out.write_text("".join(json.dumps(one._asdict()) + "\n" for one in seen))
    print(f"{len(seen)} answered of those sent within {seen[-1].at_s:.0f} s")


def _predict(asked_for: argparse.Namespace) -> None:
    seen = [Seen(**json.loads(line)) for line in asked_for.seen.read_text().splitlines()]
    told = predicted(seen, asked_for.model, asked_for.replicas, asked_for.seats, asked_for.round_trip)
    print("\n".join(beside(seen, told)))


def main() -> None:
    """One of the three steps."""
    parser = argparse.ArgumentParser(prog="python -m bench.vllm_reality", description=__doc__)
    steps = parser.add_subparsers(required=True)
    measure = steps.add_parser("measure")
    measure.set_defaults(step=_measure)
    measure.add_argument("engine", nargs=1, help="its URL")
    measure.add_argument("--seconds", type=float, default=8.0, help="of one point")
    replay = steps.add_parser("replay")
    replay.set_defaults(step=_replay)
    replay.add_argument("engine", nargs="+", help="URLs")
    replay.add_argument(
        "--engine-pid", type=int, nargs="+", default=[], help="their processes here: then what others used is told"
    )
    replay.add_argument("--trace", default="azure")
    replay.add_argument("--load", type=float, default=0.5, help="share of what the engines can serve")
    replay.add_argument("--full-seconds", type=float, default=20.0, help="of finding out what they can serve")
    replay.add_argument("--seconds", type=float, default=600.0)
    replay.add_argument("--max-prompt", type=int, default=1200)
    replay.add_argument("--max-output", type=int, default=256)
    for step in (measure, replay):
        step.add_argument("--seed", type=int, default=1)
        step.add_argument("--out", type=Path, required=True)
    predict = steps.add_parser("predict")
    predict.set_defaults(step=_predict)
    predict.add_argument("seen", type=Path)
    predict.add_argument("model", type=Path)
    predict.add_argument("--replicas", type=int, default=1)
    predict.add_argument("--round-trip", type=float, default=0.001, help="seconds, gateway to engine and back")
    for step in (replay, predict):
        step.add_argument("--seats", type=int, default=64)
    asked_for = parser.parse_args()
    asked_for.step(asked_for)


if __name__ == "__main__":
    main()
