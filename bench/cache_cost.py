"""`python -m bench.cache_cost`: what the cache costs a call where it is on, without any I/O.

The digest of a body, by its size; and the Gate's part: the facts of one call that is sent, kept, given again, or given
what another brings, beside one without a cache. The fastest of several rounds is kept, because everything else that
runs on the machine can only add to it.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial

from penstock.base.contents import Content
from penstock.base.nouns import Call, Replica, Usage
from penstock.base.rand import Rand
from penstock.core.cache.spec import CacheSpec
from penstock.core.events import Arrived, Ended, Event, FleetSeen, Probed
from penstock.core.gate import Gate
from penstock.core.spec import GateSpec, PoolSpec
from penstock.gateway.cache.content import content_of
from penstock.gateway.client.peek import peek
from penstock.gateway.client.wishes import Wishes

SIZES = (200, 2_000, 20_000, 200_000)
SPEC = CacheSpec()
USAGE = Usage(prompt_tokens=100, completion_tokens=50)


def fastest_us(work: Callable[[], object], count: int, rounds: int) -> float:
    """Microseconds of one of them, in the fastest round."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(count):
            work()
        best = min(best, (time.process_time() - began) / count)
    return best * 1e6


def body_of(size: int) -> bytes:
    """A chat of about so many bytes."""
    messages = [{"role": "user", "content": "Tell me about pumps. " * (size // 80)} for _ in range(4)]
    body = {"model": "m", "messages": messages, "temperature": 0, "stream": True}
    return json.dumps(body, separators=(",", ":")).encode()


class House:
    """A Gate, and calls that are told to it."""

    def __init__(self, cache: CacheSpec | None) -> None:
        pool = PoolSpec(name="pool", models=("m",))
        self.gate = Gate(GateSpec(pools=(pool,), cache=cache), Rand(1))
        self.now = 1000.0
        self.number = 0
        self.cached = cache is not None
        self.tell(FleetSeen((Replica(id="a", url="http://a", pool="pool", max_concurrent_requests=64),)))
        self.tell(Probed("a", ok=True))

    def tell(self, event: Event) -> None:
        """A fact, a little later."""
        self.now += 1e-5
        self.gate.on(event, self.now)

    def arrives(self, digest: str) -> str:
        """A call; its id."""
        self.number += 1
        name = f"c{self.number}"
        content = Content(digest, fixed=True)
        call = Call(name, "m", stream=True, prompt_tokens=100, max_tokens=50)
        if self.cached:
            call = Call(name, "m", stream=True, prompt_tokens=100, max_tokens=50, content=content)
        self.tell(Arrived(call))
        return name

    def sent(self) -> None:
        """One like no other: it is sent, answered, and kept where there is a cache."""
        name = self.arrives(str(self.number))
        self.tell(Ended(name, 1, 200, USAGE, 50, kept_bytes=1000) if self.cached else Ended(name, 1, 200, USAGE, 50))

    def hit(self) -> None:
        """One that was asked before."""
        self.tell(Ended(self.arrives("known"), 0, 200, USAGE, 50))

    def joins(self) -> None:
        """One that runs already."""
        self.tell(Ended(self.arrives("runs"), 0, 200, USAGE, 50))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache_cost", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    for size in SIZES:
        body, wishes = body_of(size), Wishes()
        count = max(20, asked.count * 200 // size)
        us = fastest_us(
            partial(content_of, "/v1/chat/completions", body, peek(body), wishes, SPEC), count, asked.rounds
        )
        print(f"digest of a body of {len(body):,} bytes: {us:.1f} µs")
    off, on = House(None), House(SPEC)
    on.tell(Ended(on.arrives("known"), 1, 200, USAGE, 50, kept_bytes=1000))
    print(f"Gate, without a cache: {fastest_us(off.sent, asked.count, asked.rounds):.1f} µs")
    print(f"Gate, a miss that is kept: {fastest_us(on.sent, asked.count, asked.rounds):.1f} µs")
    on.tell(Ended(on.arrives("known"), 1, 200, USAGE, 50, kept_bytes=1000))
    print(f"Gate, a hit: {fastest_us(on.hit, asked.count, asked.rounds):.1f} µs")
    on.arrives("runs")
    print(f"Gate, a coalesced call: {fastest_us(on.joins, asked.count, asked.rounds):.1f} µs")


if __name__ == "__main__":
    main()
