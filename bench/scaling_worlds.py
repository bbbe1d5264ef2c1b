"""The worlds that `bench.scaling` plays policies in: what comes, over which replicas, and what a good answer is.

- `azure`: an hour of conversations. Too short to learn from: nothing is forecast.
- `week`: the last seven days of the fourteen of ServeGen's m-mid, scaled to two requests a second in the mean of all.
- `office`: made up, and only to show what habits are worth: office hours, weaker weekends, days of different size.

A replica has four seats in all of them, and takes two minutes (azure) or three to start; some nine are busy in the
mean.

Windows of m-mid in which nobody asked anything are gaps of the record: traffic goes on there as in the window before,
for everybody alike, and a forecast's history has a gap there.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from functools import cache
from math import exp
from pathlib import Path
from statistics import median
from typing import NamedTuple

from msgspec.structs import replace

from penstock.base.rand import Rand
from penstock.config.scenarios import Group, Slo
from penstock.config.workloads import reader
from penstock.core.scale.history import Past
from penstock.workload.combine import Spec, Trace, Workload
from penstock.workload.request import NS, Request
from penstock.workload.servegen import ServeGen

WORLDS = ("azure", "week", "office")
DAY_S = 86400.0
RATES, LENGTHS = "servegen_m-mid/client_rates.csv.gz", "servegen_m-mid/client_lengths_quantiles.csv.gz"
AZURE = "azure_llm_2023_conv/AzureLLMInferenceTrace_conv.csv.gz"
STEP_S = 600
"""Width of a window of ServeGen's rates."""
GAP = 0.01
"""A window with less than this share of the median rate is a gap of the record."""
SLOW = Group(count=8, cost="demo", speed=0.2, seats=4, hourly_cost=1.0, startup_s=180.0)


class World(NamedTuple):
    """Where policies are tried."""

    workload: Spec | None
    """None: made up."""
    group: Group
    slo: Slo
    data: Path
    first_day: float
    days: float

    def requests(self, seed: int) -> Iterator[Request]:
        """What comes."""
        if self.workload is None:
            return office(Rand(seed), self.first_day, self.days)
        files = reader(self.data)
        return iter(Workload(self.workload, seed, lambda name: [filled(files(name))] if name == RATES else files(name)))


def world_of(name: str, data: Path, first_day: float = 7.0, days: float = 7.0, rate: float = 2.0) -> World:
    """A world by its name; days and rate are for those that last for days."""
    if name == "azure":
        group = Group(count=8, cost="demo", speed=1.0, seats=4, hourly_cost=1.0, startup_s=120.0)
        return World(Trace(file=AZURE), group, Slo(ttft_s=2.0, per_token_s=0.1), data, 0.0, 1 / 24)
    slo = Slo(ttft_s=3.0, per_token_s=0.2)
    if name == "office":
        return World(None, SLOW, slo, data, first_day, days)
    rates = totals(rows_of(filled([(data / RATES).read_bytes()])))
    part = [value for at, value in rates.items() if first_day * DAY_S <= at < (first_day + days) * DAY_S]
    scaled = rate * (sum(part) / len(part)) / (sum(rates.values()) / len(rates))
    spec = ServeGen(
        rates=RATES, lengths=LENGTHS, rate=scaled, from_s=first_day * DAY_S, duration_s=days * DAY_S, skip_gaps=False
    )
    return World(spec, SLOW, slo, data, first_day, days)


# ===== made up =====


def office(rand: Rand, first_day: float, days: float) -> Iterator[Request]:
    """Poisson arrivals, 0.4 a second at night and up to 4 in office hours; weekends have two fifths of it. Each day has
    a size of its own, within a quarter or so; answers are exponential, 105 tokens in the mean."""
    sizes = rand.stream("sizes")
    size = [exp(sizes.gauss(0.0, 0.12)) for _ in range(60)]
    draw, most, at = rand.stream("arrivals"), 8.0, first_day * DAY_S
    end = (first_day + days) * DAY_S
    while (at := at + draw.expovariate(most)) < end:
        day = int(at // DAY_S)
        rate = size[day] * (0.4 if day % 7 >= 5 else 1.0) * (0.4 + 3.6 * busy(at / 3600.0 % 24.0))
        if draw.random() * most < rate:
            yield Request(int((at - first_day * DAY_S) * NS), 500, 1 + int(draw.expovariate(1 / 105)))


def busy(hour: float) -> float:
    """How busy an office is, 0 to 1: it fills within half an hour from eight, and empties from half past five."""
    return min(1.0, max(0.0, 2.0 * (hour - 8.0)), max(0.0, 2.0 * (18.0 - hour)))


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


def gaps_of(rates: dict[int, float]) -> list[int]:
    """Starts of windows in which next to nothing was recorded."""
    least = GAP * median(rates.values())
    return [at for at in range(0, max(rates) + STEP_S, STEP_S) if rates.get(at, 0.0) < least]


def filled(pieces: Iterable[bytes]) -> bytes:
    """The table with its gaps filled by what each client did in the last window before."""
    packed = b"".join(pieces)
    rows = rows_of(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
    gaps = frozenset(gaps_of(totals(rows)))
    by_time: dict[int, list[dict[str, str]]] = {}
    for row in rows:
        by_time.setdefault(int(float(row["t_s"])), []).append(row)
    kept: list[dict[str, str]] = []
    last: list[dict[str, str]] = []
    for at in range(0, max(by_time) + STEP_S, STEP_S):
        last = last if at in gaps else by_time[at]
        kept += [{**row, "t_s": str(at)} for row in last]
    kept.sort(key=lambda row: (int(row["client_id"]), int(row["t_s"])))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(kept)
    return out.getvalue().encode()


@cache
def gap_windows(data: Path) -> frozenset[int]:
    """Numbers of the five-minute windows, from the record's beginning, that are gaps."""
    gaps = gaps_of(totals(rows_of(gzip.decompress((data / RATES).read_bytes()))))
    return frozenset(number for at in gaps for number in (at // 300, at // 300 + 1))


def masked(past: Past, data: Path) -> Past:
    """What was learnt from the record's beginning on, without what was filled in."""
    gaps = gap_windows(data)

    def without(values: tuple[float | None, ...]) -> tuple[float | None, ...]:
        return tuple(None if past.first + at in gaps else value for at, value in enumerate(values))

    return replace(past, calls=without(past.calls), rates=without(past.rates))
