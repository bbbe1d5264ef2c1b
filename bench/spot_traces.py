"""`python -m bench.spot_traces FOLDER`: a pool that is partly spot, through recorded availability and preemptions.

FOLDER has `spot_runs.csv.gz` (or `.csv`): the run-length encoded series of github.com/skypilot-org/spot-traces ("Can't
Be Late", NSDI '24), with the columns kind, nodes, start_date, zone_and_gpu, t_s, duration_s, available. They are not
part of this project; a day of each, the one with most changes, is played. What a zone could give is scaled to the spot
part of a pool of ten; a fall gives notices, a request beyond it is refused.

Three pools meet the same day: three tenths on demand and the rest spot; the same without a word before a replica goes;
and all on demand. Told are requests that failed, money against all on demand, and how soon answers began.
"""

import argparse
import csv
import gzip
import json
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import fsum
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from penstock.base.rand import Rand
from penstock.config.markets import Market, Offer
from penstock.config.scenarios import Group, Network, Policy, Scale, Scenario
from penstock.config.workloads import reader
from penstock.core.route.presets import LeastLoaded
from penstock.core.scale.spot import SpotSpec
from penstock.core.spec import ProbeSpec, QueueSpec, ScrapeSpec
from penstock.sim.run import Run
from penstock.workload.arrivals import Poisson
from penstock.workload.lengths import Independent
from penstock.workload.request import Request
from penstock.workload.synthetic import Synthetic

REPLICAS, SPOT = 10, 7
PRICE, SPOT_PRICE = 1.0, 0.3
"""An hour; spot at 70 % less, as AWS has offered it for long."""
STARTUP_S = 180.0
DAY_S = 86_400.0
NOTICE_S = 120.0
"""Amazon EC2's."""


class Change(NamedTuple):
    """From a time on so many nodes."""

    at_s: float
    nodes: int


class Series(NamedTuple):
    """Zones that are one pool's, and how many nodes they have at most."""

    name: str
    zones: tuple[tuple[str, str, str], ...]
    """kind, start_date, zone_and_gpu."""
    most: int


FEBRUARY = ("availability", "aws-02-15-2023")
SERIES = (
    Series("us-east-1 a c d f, V100", tuple((*FEBRUARY, f"us-east-1{zone}_v100_1") for zone in "acdf"), 4),
    Series("us-west-2 a b c, V100", tuple((*FEBRUARY, f"us-west-2{zone}_v100_1") for zone in "abc"), 3),
    Series("us-east-1f, 4 V100 held", (("preemption", "aws-08-03-2023", "us-east-1f_v100_1"),), 4),
    Series("us-west-2c, 4 V100 held", (("preemption", "aws-08-03-2023", "us-west-2c_v100_1"),), 4),
)  # fmt: skip


def read(folder: Path) -> dict[tuple[str, str, str], list[Change]]:
    """All series: kind, start_date, zone -> its changes in time."""
    path = next(path for path in (folder / "spot_runs.csv.gz", folder / "spot_runs.csv") if path.exists())
    found: dict[tuple[str, str, str], list[Change]] = {}
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for row in csv.DictReader(file):
            key = (row["kind"], row["start_date"], row["zone_and_gpu"])
            found.setdefault(key, []).append(Change(float(row["t_s"]), int(row["available"])))
    return found


def together(zones: Iterable[list[Change]]) -> list[Change]:
    """What several zones have in all, from time to time."""
    each = [sorted(changes) for changes in zones]
    times = sorted({change.at_s for changes in each for change in changes})
    sums: list[Change] = []
    for at_s in times:
        nodes = sum(max((one for one in changes if one.at_s <= at_s), default=Change(0.0, 0)).nodes for changes in each)
        if not sums or sums[-1].nodes != nodes:
            sums.append(Change(at_s, nodes))
    return sums


def day_of(changes: list[Change], length_s: float = DAY_S) -> tuple[float, list[Change]]:
    """The day with most falls, from one of them on: when it begins, and its changes from then."""
    falls = [after.at_s for before, after in pairwise(changes) if after.nodes < before.nodes]
    last = changes[-1].at_s - length_s
    starts = [at for at in falls if at <= last] or [changes[0].at_s]
    start = max(starts, key=lambda at: sum(at <= fall < at + length_s for fall in falls))
    before = max((change for change in changes if change.at_s < start), default=changes[0])
    inside = [
        Change(change.at_s - start, change.nodes) for change in changes if start <= change.at_s < start + length_s
    ]
    return start, [Change(0.0, before.nodes), *(Change(at_s + 600.0, nodes) for at_s, nodes in inside)]


def offers(day: list[Change], most: int) -> tuple[Offer, ...]:
    """Spot replicas that can be had: the zones' share of all that they have at most, of the pool's spot part."""
    return tuple(Offer(at_s=at_s, replicas=round(SPOT * nodes / most)) for at_s, nodes in day)


def scenario(market: Market, spot: bool) -> Scenario:
    """Ten replicas, as many as `min` wants, through this market."""
    return Scenario(
        workload=Synthetic(duration_s=1.0, arrivals=Poisson(rate=1.0)),
        fleet=(Group(count=REPLICAS, cost="h200-8b-fp8", seats=16, hourly_cost=PRICE, startup_s=STARTUP_S),),
        policy=Policy(
            strategy=LeastLoaded(), queue=QueueSpec(timeout_s=120.0), probe=ProbeSpec(interval_s=10.0),
            scrape=ScrapeSpec(interval_s=30.0, stale_after_s=60.0),
        ),
        network=Network(),
        scale=Scale(
            min=REPLICAS, max=2 * REPLICAS, interval_s=15.0, look_s=5.0, market=market,
            spot=SpotSpec(base=0.3, hourly_cost=SPOT_PRICE) if spot else None,
        ),
        seeds=(1,),
    )  # fmt: skip


def requests(rate: float, length_s: float, seed: int) -> Iterator[Request]:
    """Calls with long answers, so that some are under way when a replica goes."""
    made = Synthetic(arrivals=Poisson(rate=rate), sizes=Independent(), duration_s=length_s)
    for request in made.stream(Rand(seed).child("workload"), reader(Path())):
        yield replace(request, output_tokens=min(16_000, request.output_tokens * 20))


def play(market: Market, spot: bool, rate: float, length_s: float, seed: int) -> dict[str, Any]:
    """One pool through one day."""
    made = scenario(market, spot)
    run = Run(made, made.policy, requests(rate, length_s, seed), seed)
    result = run.go().result
    assert run.scaling is not None
    (view,) = run.scaling.governor.views(run.kernel.clock())
    spent = fsum(view.spent.values())
    return {
        "requests": result.requests, "failed": result.failed, "ttft_p95_s": round(result.ttft_p95_s, 3),
        "e2e_mean_s": round(result.e2e_mean_s, 1), "notices": view.notices,
        "cost_share": round(spent / (REPLICAS * PRICE * run.kernel.clock() / 3600), 3),
        "spot_share_of_money": round(view.spent.get("spot", 0.0) / spent, 3),
    }  # fmt: skip


def measure(folder: Path, rate: float, hours: float, seed: int) -> Iterator[dict[str, Any]]:
    """Every series, each pool."""
    known = read(folder)
    for series in SERIES:
        start, day = day_of(together(known[zone] for zone in series.zones), hours * 3600.0)
        falls = sum(after.nodes < before.nodes for before, after in pairwise(day))
        market = Market(offers=offers(day, series.most), notice_s=NOTICE_S)
        unsaid = replace(market, notice_s=0.0)
        for pool, given, spot in (
            ("spot", market, True),
            ("spot, no notice", unsaid, True),
            ("on demand", market, False),
        ):
            began = time.process_time()
            found = play(given, spot, rate, hours * 3600.0, seed)
            cpu_s = round(time.process_time() - began, 1)
            yield {
                "series": series.name,
                "from_day": round(start / DAY_S, 2),
                "falls": falls,
                "pool": pool,
                **found,
                "cpu_s": cpu_s,
            }


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    names = ("series", "pool", "falls", "notices", "requests", "failed", "cost_share", "ttft_p95_s")
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows)])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.spot_traces", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, default=0.5, help="requests a second")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file that the rows are appended to, as JSON lines")
    options = parser.parse_args()
    rows = []
    for row in measure(options.folder, options.rate, options.hours, options.seed):
        rows.append(row)
        print(json.dumps(row), flush=True)
        if options.out is not None:
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
