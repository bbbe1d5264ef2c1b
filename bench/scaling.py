"""`python -m bench.scaling DATA`: who scales best: attainment of the SLO against replica-hours, policy by policy.

The worlds stand in `scaling_worlds`, the opponents in `scaling_rivals`, who knows all beforehand in `scaling_plan`.
Each policy is played with several targets: more head-room costs more replica-hours, so what is compared is the curve.
Forecasts have learnt from the seven days before those that are judged.

Usually a run is quick: `scaling_quick` says what is left out. `--full` simulates every request, a week in minutes.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from bench.scaling_plan import Planned, plan
from bench.scaling_quick import Calls, Found, Quick, calls_of
from bench.scaling_rivals import CpuScaling, hpa_cpu, hpa_queue
from bench.scaling_worlds import WORLDS, World, masked, world_of
from penstock.base.rand import Rand
from penstock.config.scenarios import Fault, Policy, Scale, Scenario
from penstock.core.scale.forecast import ForecastSpec
from penstock.core.scale.governor import Governor
from penstock.core.scale.history import DAY, Past
from penstock.core.scale.spec import Targets, UtilisationTarget
from penstock.core.scale.words import Remembered
from penstock.core.spec import ProbeSpec, ScrapeSpec
from penstock.sim.run import Run
from penstock.sim.scaling import Scaling

MIN, MAX = 2, 40
LOOK_S = 5.0
TRAINING_DAYS = 7
TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
KNOBS: dict[str, tuple[float, ...]] = {
    "penstock": TARGETS, "forecast": TARGETS, "penstock_calm": TARGETS, "forecast_calm": TARGETS,
    "forecast_fifth_calm": TARGETS,
    "hpa_queue": (0.1, 0.25, 0.5, 1.0, 2.0, 5.0), "hpa_cpu": (0.1, 0.14, 0.18, 0.21, 0.22, 0.23, 0.24, 0.7),
    "clairvoyant": (0.6, 0.7, 0.8, 0.9, 1.0, 1.1), "fixed": (8, 10, 12, 14, 16, 18),
}  # fmt: skip
"""Who (`calm`: without its panic window) -> what is turned: the target of a metric, the share of seats that a plan
fills, or a number of replicas."""
FORECASTS = {
    "forecast": ForecastSpec(), "forecast_calm": ForecastSpec(), "forecast_fifth_calm": ForecastSpec(buffer=0.2),
}  # fmt: skip
NOTHING_LEARNT = "azure"


def ours(target: float, forecast: ForecastSpec | None, look_s: float) -> Scale:
    """Penstock's default policy with another target, its band as wide in proportion."""
    band = UtilisationTarget(target=target, up=target * 0.8 / 0.7, down=target * 0.5 / 0.7)
    return Scale(min=MIN, max=MAX, look_s=look_s, targets=Targets(utilisation=band), forecast=forecast)


def scale_of(who: str, knob: float, look_s: float) -> Scale | None:
    """What a policy does; None: it does not scale."""
    if who in ("penstock", "penstock_calm", *FORECASTS):
        scale = ours(knob, FORECASTS.get(who), look_s)
        return replace(scale, panic=None) if who.endswith("_calm") else scale
    made: dict[str, Callable[[], Scale]] = {
        "hpa_queue": lambda: hpa_queue(knob, MIN, MAX), "hpa_cpu": lambda: hpa_cpu(knob, MIN, MAX),
    }  # fmt: skip
    return made[who]() if who in made else None


# ===== quick runs =====


def quick(world: World, calls: Calls, who: str, knob: float, past: Past | None) -> Found:
    """One of them."""
    run, scale = Quick(calls, world.group, world.slo), scale_of(who, knob, LOOK_S)
    if scale is not None:
        return run.scaled(scale, past if who in FORECASTS else None, cpu=who == "hpa_cpu")
    return run.fixed(int(knob)) if who == "fixed" else run.planned(plan(calls.at, calls.takes, world.group, knob))


def learn(name: str, data: Path, seed: int, rate: float) -> Past | None:
    """What is known after the days before those that are judged."""
    if name == NOTHING_LEARNT:
        return None
    world = world_of(name, data, 0.0, TRAINING_DAYS, rate)
    found = Quick(calls_of(world.requests(seed), world.group), world.group, world.slo)
    kept = found.scaled(ours(0.7, ForecastSpec(worst_error=0.0), LOOK_S)).kept
    assert kept is not None
    kept = masked(kept, data) if name == "week" else kept
    return replace(kept, first=kept.first - TRAINING_DAYS * DAY)  # a run begins at its own 0


def numbers_of(found: Found) -> dict[str, float]:
    """As `--full` has them."""
    waits = sorted(found.waits)
    return {
        "requests": found.requests, "failed": found.failed, "goodput": round(found.good / found.requests, 6),
        "queue_p95_s": round(waits[int(0.95 * (len(waits) - 1))], 3), "cost": round(found.hours, 2),
        "ups": found.ups, "downs": found.downs,
    }  # fmt: skip


# ===== full runs =====


class Learnt(Scaling):
    """One that remembers the days before."""

    past: Past | None = None

    def begin(self, start: float, faults: tuple[Fault, ...]) -> None:
        """See `Scaling`."""
        super().begin(start, faults)
        if self.past is not None:
            self._pump.tell(Remembered("sim", self.past))


def full(world: World, who: str, knob: float, seed: int, past: Past | None) -> Run:
    """A run of every request, that has not begun."""
    scale = scale_of(who, knob, LOOK_S)
    policy = Policy(probe=ProbeSpec(interval_s=15.0), scrape=ScrapeSpec(interval_s=5.0, stale_after_s=30.0))
    fixed = {"count": int(knob), "startup_s": 0.0} if who == "fixed" else {}
    fleet = (replace(world.group, **fixed),)
    assert world.workload is not None, "made-up worlds are quick only"
    scenario = Scenario(workload=world.workload, fleet=fleet, policy=policy, scale=scale, slo=world.slo)
    run = Run(scenario, policy, world.requests(seed), seed)
    parts = (run.cloud, run.lifecycle, run.gate, run.kernel, Rand(seed))
    if scale is not None and who == "hpa_cpu":
        run.scaling = CpuScaling(scale, *parts)
    elif scale is not None:
        run.scaling = learnt = Learnt(scale, *parts)
        learnt.past = past if who in FORECASTS else None
    elif who == "clairvoyant":
        calls = calls_of(world.requests(seed), world.group)
        run.scaling = Planned(plan(calls.at, calls.takes, world.group, knob), *parts)
    return run


def full_numbers(run: Run) -> dict[str, float]:
    """What came out of it."""
    result = run.go().result
    shown = ("requests", "failed", "goodput", "ttft_p95_s", "ttft_p99_s", "queue_p95_s", "cost")
    numbers = {key: round(float(getattr(result, key)), 6) for key in shown}
    if run.scaling is not None and not isinstance(run.scaling, Planned):
        (view,) = run.scaling.governor.views(run.kernel.clock())
        numbers |= {"ups": view.ups, "downs": view.downs}
    return numbers


# ===== all =====


def outlook(governor: Governor | None, now: float) -> list[dict[str, Any]]:
    """What a forecast last said of itself."""
    views = [] if governor is None else governor.views(now)
    return [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in msgspec.to_builtins(one).items()}
        for view in views
        if view.forecast is not None
        for one in view.forecast.ahead
    ]


def told(one: dict[str, Any]) -> str:
    """A line for people."""
    return (
        f"{one['world']:6} {one['how']:5} {one['who']:14} {one['knob']:<5g} n={one['requests']:8.0f} "
        f"good={100 * one['goodput']:.2f} % hours={one['cost']:8.1f} wait p95={one['queue_p95_s']:6.2f} s "
        f"failed={one['failed']:.0f} changes={one.get('ups', 0)}+{one.get('downs', 0)} cpu={one['cpu_s']:.0f} s"
    )


def measured(asked: argparse.Namespace, name: str, seed: int) -> None:
    """All runs of one world and seed."""
    world = world_of(name, asked.data, TRAINING_DAYS, asked.days, asked.rate)
    whos = [who for who in asked.who.split(",") if not (who in FORECASTS and name == NOTHING_LEARNT)]
    past = learn(name, asked.data, seed, asked.rate) if FORECASTS.keys() & set(whos) else None
    calls = None if asked.full else calls_of(world.requests(seed), world.group)
    for who in whos:
        for knob in [float(one) for one in asked.knobs.split(",")] if asked.knobs else KNOBS[who]:
            since, governor = time.process_time(), None
            if calls is None:
                numbers = full_numbers(full(world, who, knob, seed, past))
            else:
                found = quick(world, calls, who, knob, past)
                numbers, governor = numbers_of(found), found.governor
            one: dict[str, Any] = {"world": name, "how": "full" if asked.full else "quick", "who": who, "knob": knob}
            one |= {"seed": seed, "days": world.days, "rate": asked.rate} | numbers
            one |= {"outlook": said} if (said := outlook(governor, world.days * 86400.0)) else {}
            one["cpu_s"] = round(time.process_time() - since, 1)
            print(told(one), flush=True)
            if asked.out:
                with asked.out.open("a") as file:
                    file.write(json.dumps(one) + "\n")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the traces")
    parser.add_argument("--worlds", default=",".join(WORLDS))
    parser.add_argument("--who", default=",".join(KNOBS))
    parser.add_argument("--knobs", default="", help="other values than those of the comparison")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--days", type=float, default=7.0, help="that are judged")
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second of the week, in the mean of 14 days")
    parser.add_argument("--full", action="store_true", help="simulate every request")
    parser.add_argument("--out", type=Path, help="file that the runs are appended to, one JSON object a line")
    asked = parser.parse_args()
    for name in asked.worlds.split(","):
        for seed in asked.seeds.split(","):
            measured(asked, name, int(seed))


if __name__ == "__main__":
    main()
