"""`python -m bench.scaling DATA`: who scales best: attainment of the SLO against replica-hours, policy by policy.

Two worlds, simulated request by request: `azure` (an hour of conversations, replicas that take two minutes to start) and
`week` (seven days of ServeGen's m-mid, scaled to two requests a second; three minutes; forecasts have learnt from the
seven days before). In both a replica has four seats, so that some nine are busy in the mean. Each policy is played with
several targets: more head-room costs more replica-hours, and what is compared is the curve.

Windows of m-mid in which nobody asked anything are gaps of the record: traffic goes on there as in the window before, for
everybody alike, and the forecast's history has a gap there.
"""

import argparse
import csv
import gzip
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from bench.scaling_plan import Planned, plan
from bench.scaling_rivals import cpu_scale, hpa_cpu, hpa_queue
from penstock.config.scenarios import Group, Policy, Scale, Scenario, Slo
from penstock.config.workloads import reader
from penstock.core.scale.forecast import ForecastSpec
from penstock.core.scale.history import DAY, Past
from penstock.core.scale.spec import Targets, UtilisationTarget
from penstock.core.scale.words import Remember, Remembered
from penstock.core.spec import ProbeSpec, ScrapeSpec
from penstock.sim.run import Run
from penstock.sim.scaling import Scaling
from penstock.workload.combine import Spec, Trace, Workload
from penstock.workload.request import Request
from penstock.workload.servegen import ServeGen

DAY_S = 86400.0
RATES, LENGTHS = "servegen_m-mid/client_rates.csv.gz", "servegen_m-mid/client_lengths_quantiles.csv.gz"
AZURE = "azure_llm_2023_conv/AzureLLMInferenceTrace_conv.csv.gz"
GAP = 0.01
"""A window with less than this share of the median rate is a gap of the record."""
MIN, MAX = 2, 40
TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
KNOBS: dict[str, tuple[float, ...]] = {
    "penstock": TARGETS, "forecast": TARGETS, "hpa_queue": (0.1, 0.25, 0.5, 1.0, 2.0, 5.0),
    "hpa_cpu": (0.1, 0.14, 0.18, 0.21, 0.24, 0.7), "clairvoyant": (0.7, 0.8, 0.9, 1.0, 1.1), "fixed": (6, 9, 12, 15, 18),
}  # fmt: skip
"""Who -> what is turned: the target of a metric, the share of seats that a plan fills, or a number of replicas."""


class World(NamedTuple):
    """Where policies are tried."""

    workload: Spec
    group: Group
    slo: Slo
    data: Path

    def requests(self, seed: int) -> Iterator[Request]:
        """What comes."""
        files = reader(self.data)
        return iter(Workload(self.workload, seed, lambda name: [filled(files(name))] if name == RATES else files(name)))


def world_of(name: str, data: Path, first_day: float, days: float, rate: float) -> World:
    """A world by its name; the rest is for `week`."""
    if name == "azure":
        group = Group(count=8, cost="demo", speed=1.0, seats=4, hourly_cost=1.0, startup_s=120.0)
        return World(Trace(file=AZURE), group, Slo(ttft_s=2.0, per_token_s=0.1), data)
    group = Group(count=8, cost="demo", speed=0.2, seats=4, hourly_cost=1.0, startup_s=180.0)
    rates = mean_rates(data)
    part = [value for at, value in rates.items() if first_day * DAY_S <= at < (first_day + days) * DAY_S]
    scaled = rate * (sum(part) / len(part)) / (sum(rates.values()) / len(rates))
    spec = ServeGen(
        rates=RATES, lengths=LENGTHS, rate=scaled, from_s=first_day * DAY_S, duration_s=days * DAY_S, skip_gaps=False
    )
    return World(spec, group, Slo(ttft_s=3.0, per_token_s=0.2), data)


# ===== gaps of the record =====


def rows_of(data: bytes) -> list[dict[str, str]]:
    """A table of ServeGen's."""
    return list(csv.DictReader(io.StringIO(data.decode())))


def totals(rows: list[dict[str, str]]) -> dict[int, float]:
    """Window's start -> requests a second of all clients."""
    found: dict[int, float] = {}
    for row in rows:
        at = int(float(row["t_s"]))
        found[at] = found.get(at, 0.0) + float(row["rate_rps"])
    return found


def gaps_of(rates: dict[int, float], step: int = 600) -> list[int]:
    """Starts of windows in which next to nothing was recorded."""
    least = GAP * median(rates.values())
    return [at for at in range(0, max(rates) + step, step) if rates.get(at, 0.0) < least]


def filled(pieces: Any) -> bytes:
    """The table with its gaps filled by what each client did in the last window before."""
    packed = b"".join(pieces)
    rows = rows_of(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
    gaps = frozenset(gaps_of(totals(rows)))
    by_time: dict[int, list[dict[str, str]]] = {}
    for row in rows:
        by_time.setdefault(int(float(row["t_s"])), []).append(row)
    kept: list[dict[str, str]] = []
    last: list[dict[str, str]] = []
    for at in range(0, max(by_time) + 600, 600):
        if at not in gaps:
            last = by_time[at]
        kept += [{**row, "t_s": str(at)} for row in last]
    kept.sort(key=lambda row: (int(row["client_id"]), int(float(row["t_s"]))))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(kept)
    return out.getvalue().encode()


@cache
def mean_rates(data: Path) -> dict[int, float]:
    """Of the filled table."""
    return totals(rows_of(filled([(data / RATES).read_bytes()])))


@cache
def gap_windows(data: Path) -> frozenset[int]:
    """Numbers of the five-minute windows, from the record's beginning, that are gaps."""
    gaps = gaps_of(totals(rows_of(gzip.decompress((data / RATES).read_bytes()))))
    return frozenset(number for at in gaps for number in (at // 300, at // 300 + 1))


# ===== policies =====


def ours(target: float, forecast: ForecastSpec | None) -> Scale:
    """Penstock's default policy with another target, its band as wide in proportion."""
    band = UtilisationTarget(target=target, up=target * 0.8 / 0.7, down=target * 0.5 / 0.7)
    return Scale(min=MIN, max=MAX, look_s=5.0, targets=Targets(utilisation=band), forecast=forecast)


class Learnt(Scaling):
    """One that remembers the days before, and whose memory can be read."""

    past: Past | None = None
    kept: Past | None = None

    def begin(self) -> None:
        """See `Scaling`."""
        super().begin()
        if self.past is not None:
            self._pump.tell(Remembered("sim", self.past))

    def _perform(self, order: Any) -> None:
        if isinstance(order, Remember):
            self.kept = order.past
        super()._perform(order)


def run_of(world: World, who: str, knob: float, seed: int, past: Past | None, forecast: ForecastSpec) -> Run:
    """A run that has not begun."""
    count = int(knob) if who == "fixed" else world.group.count
    scale = {
        "penstock": lambda: ours(knob, None), "forecast": lambda: ours(knob, forecast),
        "hpa_queue": lambda: hpa_queue(knob, MIN, MAX), "hpa_cpu": lambda: hpa_cpu(knob, MIN, MAX),
    }.get(who, lambda: None)()  # fmt: skip
    policy = Policy(probe=ProbeSpec(interval_s=15.0), scrape=ScrapeSpec(interval_s=5.0, stale_after_s=30.0))
    fleet = (replace(world.group, count=count),)
    scenario = Scenario(workload=world.workload, fleet=fleet, policy=policy, scale=scale, slo=world.slo)
    run = Run(scenario, policy, world.requests(seed), seed)
    parts = (run.cloud, run.lifecycle, run.gate, run.kernel)
    if who == "hpa_cpu" and scale is not None:
        run.scaling = cpu_scale(scale, *parts)
    elif scale is not None:
        learnt = Learnt(scale, *parts)
        learnt.past = past
        run.scaling = learnt
    elif who == "clairvoyant":
        run.scaling = Planned(plan(world.requests(seed), world.group, knob), *parts)
    return run


SHOWN = ("requests", "failed", "goodput", "ttft_p50_s", "ttft_p95_s", "ttft_p99_s", "queue_p95_s", "cost")


def row(
    name: str, who: str, knob: float, seed: int, data: Path, days: float, rate: float, past: Path | None, forecast: str
) -> dict[str, Any]:
    """One run as a line of the results."""
    since = time.process_time()
    world = world_of(name, data, 7.0, days, rate)
    known = None if past is None else shifted(msgspec.json.decode(past.read_bytes(), type=Past), 7 * DAY)
    spec = msgspec.json.decode(forecast.encode(), type=ForecastSpec)
    run = run_of(world, who, knob, seed, known if who == "forecast" else None, spec)
    result = run.go().result
    head: dict[str, Any] = {"world": name, "who": who, "knob": knob, "seed": seed, "days": days, "rate": rate}
    if who == "forecast":
        head["forecast"] = msgspec.to_builtins(spec)
    numbers = {key: round(float(getattr(result, key)), 6) for key in SHOWN}
    return head | numbers | changes(run) | {"cpu_s": round(time.process_time() - since, 1)}


def changes(run: Run) -> dict[str, float]:
    """How often the number was changed, up and down, and what a forecast last said."""
    if run.scaling is None or isinstance(run.scaling, Planned):
        return {}
    view = run.scaling.governor.views(run.kernel.clock())[0]
    found: dict[str, Any] = {"ups": view.ups, "downs": view.downs}
    if view.forecast is not None:
        found["outlook"] = msgspec.to_builtins(view.forecast)
    return found


def shifted(past: Past, by: int) -> Past:
    """The same so many windows earlier: a run begins at its own 0."""
    return replace(past, first=past.first - by)


def learn(data: Path, rate: float, out: Path) -> None:
    """Play the first seven days with the default policy, and keep what a forecast would have learnt."""
    world = world_of("week", data, 0.0, 7.0, rate)
    run = run_of(world, "forecast", 0.7, 1, None, ForecastSpec(worst_error=0.0))
    run.go()
    assert isinstance(run.scaling, Learnt)
    assert run.scaling.kept is not None
    kept, gaps = run.scaling.kept, gap_windows(data)

    def masked(values: tuple[float | None, ...]) -> tuple[float | None, ...]:
        return tuple(None if kept.first + at in gaps else value for at, value in enumerate(values))

    out.write_bytes(msgspec.json.encode(replace(kept, calls=masked(kept.calls), rates=masked(kept.rates))))


def told(one: dict[str, Any]) -> str:
    """A line for people."""
    return (
        f"{one['world']:6} {one['who']:12} {one['knob']:<5g} seed {one['seed']} n={one['requests']:8.0f} "
        f"good={100 * one['goodput']:.2f} % hours={one['cost']:8.1f} ttft p95={one['ttft_p95_s']:.2f} "
        f"p99={one['ttft_p99_s']:.2f} failed={one['failed']:.0f} changes={one.get('ups', 0)}+{one.get('downs', 0)} "
        f"cpu={one['cpu_s']:.0f} s"
    )


def main() -> None:
    """Learn, or measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the traces")
    parser.add_argument("--world", default="azure", choices=("azure", "week"))
    parser.add_argument("--who", default=",".join(KNOBS))
    parser.add_argument("--knobs", default="", help="other values than those of the comparison")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--days", type=float, default=7.0, help="of the week")
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second of the week, in the mean of 14 days")
    parser.add_argument(
        "--learn", type=Path, help="play the first week, write what was learnt here, and measure nothing"
    )
    parser.add_argument("--past", type=Path, help="what was learnt")
    parser.add_argument("--forecast", default="{}", help="settings of the forecast, JSON, as the struct's fields")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file that the runs are appended to, one JSON object a line")
    asked = parser.parse_args()
    if asked.learn:
        learn(asked.data, asked.rate, asked.learn)
        return
    runs = [
        (asked.world, who, knob, int(seed), asked.data, asked.days, asked.rate, asked.past, asked.forecast)
        for who in asked.who.split(",")
        for knob in ([float(one) for one in asked.knobs.split(",")] if asked.knobs else KNOBS[who])
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
