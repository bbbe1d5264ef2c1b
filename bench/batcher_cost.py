"""`python -m bench.batcher_cost`: what an engine replica costs in a simulation, as CPU microseconds of a request.

One Batcher without `each_token`, woken exactly when it asks, with Poisson arrivals at rates that keep it busy. Lengths
are exponential. Time is the process's own, over the whole loop, the making of the requests left out.
"""

import argparse
import gc
import json
import time
from typing import Any, Literal, NamedTuple

from penstock.base.rand import Rand
from penstock.engine.batcher import Batcher, EngineSpec
from penstock.engine.perf import PRESETS
from penstock.engine.words import Submit, Woke


class Load(NamedTuple):
    """What one replica is asked for."""

    name: str
    requests_s: float
    prompt: int
    answer: int
    blocks: Literal["unknown", "hashed", "named"]
    """Hashed: prompts have block hashes of their own, so that every block is looked up, kept and evicted. Named: they
    are just as unlike each other, and one name does for all blocks of one."""
    kv_blocks: int = 27_000


LOADS = (
    Load("short answers, 100 tokens", 5.0, 200, 100, "unknown"),
    Load("Azure conversation's mean lengths", 2.4, 1155, 211, "unknown"),
    Load("the same, busy", 8.0, 1155, 211, "unknown"),
    Load("the same, with 72 blocks to hash", 2.4, 1155, 211, "hashed"),
    Load("the same, with one name for them", 2.4, 1155, 211, "named"),
    Load("the same, memory too small", 8.0, 1155, 211, "unknown", 2000),
)


def play(load: Load, requests: int) -> dict[str, Any]:
    """One run."""
    luck, now = Rand(1).stream("load"), 0.0
    coming = []
    for number in range(requests):
        now += luck.expovariate(load.requests_s)
        prompt = 1 + int(luck.expovariate(1 / load.prompt))
        hashes = tuple(range(number << 20, (number << 20) + prompt // 16)) if load.blocks == "hashed" else ()
        own = -1 - number if load.blocks == "named" else 0
        answer = 1 + int(luck.expovariate(1 / load.answer))
        coming.append((now, Submit(str(number), prompt, answer, hashes, own=own)))
    spec = EngineSpec(cost=PRESETS["h200-8b-fp8"], kv_blocks=load.kv_blocks, max_num_batched_tokens=8192)
    batcher, woke, turns = Batcher(spec, each_token=False), Woke(), 0
    gc.collect()
    began = time.process_time()
    for at, fact in coming:
        while (wake := batcher.next_wake()) is not None and wake <= at:
            batcher.on(woke, wake)
            turns += 1
        batcher.on(fact, at)
        turns += 1
    while (wake := batcher.next_wake()) is not None:
        batcher.on(woke, wake)
        turns += 1
    spent_s = time.process_time() - began
    counters = batcher.counters
    return {
        "load": load.name,
        "us_per_request": round(spent_s / requests * 1e6, 1),
        "turns_per_request": round(turns / requests, 2),
        "us_per_turn": round(spent_s / turns * 1e6, 1),
        "steps_per_request": round(counters.steps / requests, 1),
        "mean_batch": round(counters.generation_tokens / counters.steps, 1),
        "preemptions": counters.preemptions,
    }


def main() -> None:
    """All loads; the fastest of several runs, because everything else that runs on the machine only adds."""
    parser = argparse.ArgumentParser(prog="python -m bench.batcher_cost", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    for load in LOADS:
        runs = [play(load, asked.requests) for _ in range(asked.rounds)]
        print(json.dumps(min(runs, key=lambda run: run["us_per_request"])), flush=True)


if __name__ == "__main__":
    main()
