"""`python -m bench.fairness`: how long others wait when one tenant sends far more than its share, in virtual time.

Engines with the timing of the `demo` preset, two of eight seats each; nine tenants whose calls together keep a share of
their seats busy, and a tenth that sends more than all seats can take. For each workload the others' p95 time to the
first token, divided by what it is without the tenth, as the mean of the seeds:

- first come: one queue for all;
- fair: fair turns alone, no seat stays free;
- max_share ½, ¼: the same, and no tenant holds more than that share of the seats;
- default: a quarter of the seats stays free for others while a tenant holds much, and may cost 2 %;
- reserve ⅛, ¼: so many seats stay free, whatever that costs;
- oracle: the others' calls always go first, as though it were known beforehand who floods. Without cutting off running
  answers or keeping seats free there is hardly more to be had: what is above 1 there is the price of using all seats.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from msgspec.structs import replace

from penstock.base.nouns import Call, CallRow
from penstock.base.rand import Rand
from penstock.core.fair import OUTPUT_COST, jain
from penstock.core.route.presets import LeastLoaded
from penstock.core.spec import PoolSpec, ProbeSpec, QueueSpec, ScrapeSpec
from penstock.engine.batcher import EngineSpec
from penstock.engine.perf import PRESETS
from tests.helpers.arena import Arena, Visit, quantile

REPLICAS, SEATS = 2, 8
OTHERS = 9
LAST_S = 40.0
FROM_S = 15.0
"""Before, tenants have no history."""
CAPACITY = 18.0
"""Calls of the others a second that keep all seats busy: 18.4 were measured."""


class Load(NamedTuple):
    """Who sends what. Rates are calls a second; tokens are drawn evenly between the two."""

    others_per_s: float
    flood_per_s: float
    prompt: tuple[int, int] = (100, 600)
    output: tuple[int, int] = (10, 60)
    flood_prompt: tuple[int, int] = (100, 600)
    flood_output: tuple[int, int] = (10, 60)
    wave_s: float = 0.0
    """Everybody sends within 2 s of each wave; 0: at random times."""


class Found(NamedTuple):
    """What one story showed."""

    others_p95_s: float
    fairness: float
    """Jain's index, see `_index`: 1 all alike."""
    busy: float
    """Tokens made a second."""


def times(luck: Any, per_s: float, wave_s: float) -> list[float]:
    """When a tenant sends."""
    if wave_s:
        waves = int(LAST_S / wave_s)
        return [wave * wave_s + luck.uniform(0.0, 2.0) for wave in range(waves) for _ in range(round(per_s * wave_s))]
    found, at = [], luck.expovariate(per_s)
    while at < LAST_S:
        found.append(at)
        at += luck.expovariate(per_s)
    return found


def visits(load: Load, seed: int, flood: bool, shape: Callable[[Call], Call]) -> list[Visit]:
    """One story's calls."""
    made: list[Visit] = []
    for number in range(OTHERS + flood):
        floods = number == OTHERS
        luck = Rand(seed).stream(f"t{number}")
        prompt, output = (load.flood_prompt, load.flood_output) if floods else (load.prompt, load.output)
        for at in times(luck, load.flood_per_s if floods else load.others_per_s / OTHERS, load.wave_s):
            call = Call(
                f"t{number}-{len(made)}", "m", tenant=f"t{number}", stream=True, prompt_tokens=luck.randint(*prompt),
                max_tokens=output[1],
            )  # fmt: skip
            made.append(Visit(at, shape(call), luck.randint(*output)))
    return made


def _as_it_is(call: Call) -> Call:
    return call


def _one_tenant(call: Call) -> Call:
    return replace(call, tenant="all")


def _others_first(call: Call) -> Call:
    return replace(call, priority=4 if call.tenant == f"t{OTHERS}" else 0)


def play(load: Load, seed: int, flood: bool, queue: QueueSpec, shape: Callable[[Call], Call] = _as_it_is) -> Found:
    """One story."""
    pool = PoolSpec(
        name="p", models=("m",), strategy=LeastLoaded(), queue=queue,
        probe=ProbeSpec(enabled=False), scrape=ScrapeSpec(enabled=False),
    )  # fmt: skip
    arena = Arena(pool, REPLICAS, SEATS, EngineSpec(cost=PRESETS["demo"]), seed)
    arena.run(visits(load, seed, flood, shape), until=LAST_S + 120.0)
    rows = [row for row in arena.rows if row.outcome == "ok"]
    others = [row.ttft_s or 0.0 for row in rows if not row.id.startswith(f"t{OTHERS}-") and row.at >= FROM_S]
    return Found(
        quantile(others, 0.95), _index(rows), sum(_tokens(row) for row in rows if _ended(row) < LAST_S) / LAST_S
    )


def _ended(row: CallRow) -> float:
    return row.at + row.latency_s


def _tokens(row: CallRow) -> float:
    return row.usage.prompt_tokens + OUTPUT_COST * row.usage.completion_tokens if row.usage is not None else 0.0


def _index(rows: list[CallRow]) -> float:
    """Jain's index of what the tenants were served until the last call came, each held against the smaller of an equal
    share of all and what it asked for: a tenant that asks for little cannot be served much."""
    served: dict[str, float] = {}
    asked: dict[str, float] = {}
    for row in rows:
        name = row.id.partition("-")[0]
        asked[name] = asked.get(name, 0.0) + _tokens(row)
        if _ended(row) < LAST_S:
            served[name] = served.get(name, 0.0) + _tokens(row)
    total = sum(served.values())
    share, left, open_ = 0.0, total, sorted(asked.values())
    for at, wanted in enumerate(open_):  # water filling: who asks for less than an equal share gets that
        share = left / (len(open_) - at)
        if wanted > share:
            break
        left -= wanted
    return jain(served.get(name, 0.0) / min(wanted, share) for name, wanted in asked.items()) or 0.0


LOADS = {
    "waves, others 1/3 busy": Load(6.75, 7.5, wave_s=10.0),
    "random, others 60 %": Load(0.60 * CAPACITY, 2 * CAPACITY),
    "random, others 80 %": Load(0.80 * CAPACITY, 2 * CAPACITY),
    "random, others 95 %": Load(0.95 * CAPACITY, 2 * CAPACITY),
    "long answers, others 60 %": Load(0.60 * CAPACITY, 0.3 * CAPACITY, flood_output=(300, 600)),
    "long prompts, others 60 %": Load(0.60 * CAPACITY, 0.3 * CAPACITY, flood_prompt=(3000, 6000)),
}
DEFAULT = QueueSpec(timeout_s=3600.0, max=1_000_000)
LONG = replace(DEFAULT, reserve=0.0)
WAYS: dict[str, tuple[QueueSpec, Callable[[Call], Call]]] = {
    "first come": (LONG, _one_tenant),
    "fair": (LONG, _as_it_is),
    "max_share ½": (replace(LONG, max_share=0.5), _as_it_is),
    "max_share ¼": (replace(LONG, max_share=0.25), _as_it_is),
    "default": (DEFAULT, _as_it_is),
    "reserve ⅛": (replace(LONG, reserve=0.125, reserve_cost=1.0), _as_it_is),
    "reserve ¼": (replace(LONG, reserve=0.25, reserve_cost=1.0), _as_it_is),
    "oracle": (replace(LONG, ageing_s=0.0), _others_first),
}


def measure(load: Load, seeds: range) -> dict[str, dict[str, float]]:
    """For each way the mean ratio, the worst, Jain's index, and the tokens made against the fair queue's."""
    alone = {seed: play(load, seed, False, LONG).others_p95_s for seed in seeds}
    found = {way: [play(load, seed, True, *how) for seed in seeds] for way, how in WAYS.items()}
    base = mean(each.busy for each in found["fair"])
    return {
        way: {
            "ratio": round(mean(each.others_p95_s / alone[seed] for each, seed in zip(some, seeds, strict=True)), 3),
            "worst": round(max(each.others_p95_s / alone[seed] for each, seed in zip(some, seeds, strict=True)), 3),
            "p95_s": round(mean(each.others_p95_s for each in some), 3),
            "alone_p95_s": round(mean(alone.values()), 3),
            "index": round(mean(each.fairness for each in some), 3),
            "work": round(mean(each.busy for each in some) / base, 3),
        }
        for way, some in found.items()
    }


def main() -> None:
    """Measure all workloads and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.fairness", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, help="file that the numbers are appended to, as one JSON object")
    asked = parser.parse_args()
    print("others' p95 TTFT with the flood / without (Jain's index; work done against fair)")
    print("| workload | alone | " + " | ".join(WAYS) + " |")
    print("|---" * (len(WAYS) + 2) + "|")
    kept: dict[str, Any] = {}
    for name, load in LOADS.items():
        kept[name] = found = measure(load, range(asked.seeds))
        cells = [f"{one['ratio']:.2f} ({one['index']:.2f}; {one['work']:.2f})" for one in found.values()]
        print(f"| {name} | {found['fair']['alone_p95_s'] * 1000:.0f} ms | " + " | ".join(cells) + " |", flush=True)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        with asked.out.open("a") as file:
            row = {"scenario": "fairness", "at": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), "seeds": asked.seeds}
            file.write(json.dumps({**row, "found": kept}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
