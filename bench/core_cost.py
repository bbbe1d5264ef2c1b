"""`python -m bench.core_cost`: what the Gate's decisions about one call cost, without any I/O.

One call is three facts: Arrived, Began and Ended. They are told to a real Gate over a fleet of healthy replicas that is
half full all the time, so that scores differ and the queue stays empty. The facts are made beforehand: making them is
the body's work. Time is counted around `on()`, and the fastest of several rounds is kept, because everything else that
runs on the machine can only add to it. Promised for `adaptive`: at most 20 µs at 16 replicas, under 100 µs at 1,000.
"""

import argparse
import gc
import json
import time
from collections import deque
from pathlib import Path
from random import Random
from typing import Any, Literal

from msgspec.structs import replace

from penstock.base.leases import Question
from penstock.base.nouns import Call, EngineStats, Replica, Usage
from penstock.base.prefix import chain
from penstock.base.rand import Rand
from penstock.core.effects import Effect, Lease, Send
from penstock.core.events import Arrived, Began, Ended, Event, FleetSeen, Leased, Observed, Probed
from penstock.core.gate import Gate
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec, SharedSpec
from penstock.core.route.presets import STRATEGIES
from penstock.core.spec import ExplainSpec, GateSpec, HedgeSpec, PoolSpec

FLEETS = (2, 16, 64, 1000)
SEATS = 8
STEP_S = 1e-5
"""How far the Gate's clock moves with each call: 100,000 calls a second, so that no probe falls into a round."""
PROMISED_US = {16: 20.0, 1000: 100.0}
PLENTY = 2**31 - 1
LIMITS = LimitsSpec(
    tenants={
        "anonymous": AllowanceSpec(
            requests_per_minute=PLENTY, requests_per_day=PLENTY, tokens_per_minute=PLENTY, tokens_per_day=PLENTY,
            budget_per_day=1e9,
        )
    },
    prices={"model": PriceSpec(prompt=1.0, completion=2.0)},
)  # fmt: skip
"""What an account usually has, never reached."""
Prompts = Literal["none", "unique", "shared"]
USAGE = Usage(prompt_tokens=100, completion_tokens=50)


class Fleet:
    """A Gate with healthy replicas, half of whose seats are taken, and a stream of calls that keeps it so."""

    def __init__(
        self, strategy: str, replicas: int, hedge: bool = False, explain: int = 0, prompts: Prompts = "none",
        waiting: int = 0, limits: bool = False, shared: bool = False, tenants: int = 1,
    ) -> None:  # fmt: skip
        """`waiting`: so many calls wait all the time, because all seats are taken."""
        self._prompts = prompts
        self._names = ["anonymous"] if tenants == 1 else [f"t{number}" for number in range(tenants)]
        self._rng = Random(1)
        self._documents = [chain([self._rng.randbytes(8192)])[0] for _ in range(64)]
        chosen = STRATEGIES.spec(strategy)()
        pool = PoolSpec(
            name="pool", models=("model",), strategy=chosen, hedge=HedgeSpec() if hedge else None,  # type: ignore[arg-type]
        )  # fmt: skip
        allowed = replace(LIMITS, shared=SharedSpec()) if shared else LIMITS if limits else None
        spec = GateSpec(pools=(pool,), max_waiting=100_000, explain=ExplainSpec(calls=explain), limits=allowed)
        self._book = LeaseBook()
        self.messages = 0
        """To the store of shared limits."""
        self.gate = Gate(spec, Rand(1))
        self.now = 1000.0
        self._flying: deque[str] = deque()
        self._made = 0
        self._waiting = waiting
        self._about = replicas * SEATS + waiting if waiting else replicas * SEATS // 2
        """Calls that are here at a time."""
        members = tuple(
            Replica(id=f"r{i}", url=f"http://10.0.0.1:{i}", pool="pool", engine="vllm", max_concurrent_requests=SEATS)
            for i in range(replicas)
        )
        self._tell(FleetSeen(members))
        for i, member in enumerate(members):
            self._tell(Probed(member.id, ok=True))
            self._tell(Observed(member.id, EngineStats(running=i % SEATS, waiting=0, kv_usage=i % 10 / 10)))
        for _ in range(self._about):
            self.turn()

    def _tell(self, event: Event) -> list[Effect]:
        self.now += STEP_S
        return self.gate.on(event, self.now)

    def _leased(self, orders: list[Effect]) -> tuple[float, list[Effect]]:
        """The store answers what it is asked; the Gate's time for it, which is a call's as well, and what follows."""
        used_s, found = 0.0, list(orders)
        for order in found:
            if isinstance(order, Lease):
                self.messages += 1
                reply = self._book.exchange(Question("a", order.number, order.lasts_s, order.asks), self.now)
                event = Leased(order.number, reply.now, reply.answers)
                before = time.perf_counter()
                more = self.gate.on(event, self.now)
                used_s += time.perf_counter() - before
                found += more
        return used_s, found

    def _prefix(self) -> tuple[int, ...]:
        """How the next prompt begins: 16 blocks: more than the 13 of 8 KB."""
        if self._prompts == "none":
            return ()
        fresh = tuple([self._rng.getrandbits(32) for _ in range(16)])
        if self._prompts == "unique":
            return fresh
        return self._documents[self._made % len(self._documents)][:12] + fresh[:4]

    def turn(self) -> float:
        """One call arrives and begins; where enough are here, the oldest ends. Returns seconds in the Gate."""
        self._made += 1
        name = f"c{self._made}"
        arrived = Arrived(
            Call(
                id=name, model="model", stream=True, prompt_tokens=100, max_tokens=50, prefix=self._prefix(),
                prompt_bytes=8192, tenant=self._names[self._made % len(self._names)],
            )
        )  # fmt: skip
        if self._waiting:
            return self._turn_waiting(arrived)
        began = Began(name, 1)
        ended = Ended(self._flying[0], 1, 200, USAGE, 50) if len(self._flying) >= self._about else None
        self.now += STEP_S
        on, now, clock = self.gate.on, self.now, time.perf_counter
        before = clock()
        sent = on(arrived, now)
        if sent and type(sent[-1]) is Lease:
            used_s = clock() - before
            more_s, sent = self._leased(sent)
            before = clock() - used_s - more_s
        on(began, now)
        if ended:
            on(ended, now)
        used_s = clock() - before
        if not any(isinstance(effect, Send) for effect in sent):
            raise RuntimeError(f"the Gate did not send {name}: {sent}")
        if ended:
            self._flying.popleft()
        self._flying.append(name)
        return used_s

    def _turn_waiting(self, arrived: Arrived) -> float:
        """The same where seats are few: the call waits, and when the oldest ends another begins."""
        full = self._made > self._about
        ended = Ended(self._flying.popleft(), 1, 200, USAGE, 50) if full else None
        self.now += STEP_S
        on, now, clock = self.gate.on, self.now, time.perf_counter
        before = clock()
        sent = on(arrived, now)
        if ended:
            sent = on(ended, now)
        used_s = clock() - before
        for effect in sent:
            if isinstance(effect, Send):
                self._flying.append(effect.id)
                began = Began(effect.id, 1)
                before = clock()
                on(began, now)
                used_s += clock() - before
        return used_s


def cost_us(
    strategy: str, replicas: int, calls: int, rounds: int, hedge: bool = False, explain: int = 0,
    prompts: Prompts = "none", waiting: int = 0, limits: bool = False, shared: bool = False, tenants: int = 1,
) -> float:  # fmt: skip
    """Microseconds of one call's three facts: the mean of the fastest round."""
    fleet = Fleet(strategy, replicas, hedge, explain, prompts, waiting, limits, shared, tenants)
    for _ in range(calls // 4):
        fleet.turn()
    best = float("inf")
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        best = min(best, sum(fleet.turn() for _ in range(calls)) / calls)
    gc.unfreeze()
    return best * 1e6


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.core_cost", description=__doc__)
    parser.add_argument("--calls", type=int, default=5000, help="calls in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--prompts", choices=("none", "unique", "shared"), default="none",
        help="none: too short to be known; unique: 8 KB, each like no other; shared: 64 documents, other questions",
    )  # fmt: skip
    parser.add_argument("--waiting", type=int, default=0, help="all seats are taken, and so many calls wait")
    parser.add_argument("--explain", type=int, default=0, help="so many calls are remembered to be explained")
    parser.add_argument("--strategies", default=",".join(STRATEGIES.names()))
    parser.add_argument("--fleets", default=",".join(map(str, FLEETS)))
    parser.add_argument("--hedge", action="store_true", help="the pool hedges: every call has an alarm")
    parser.add_argument("--limits", action="store_true", help="the tenant has limits on requests, tokens and money")
    parser.add_argument("--shared", action="store_true", help="the same, shared with others: by leases")
    parser.add_argument("--tenants", type=int, default=1, help="so many tenants send by turns")
    parser.add_argument("--out", type=Path, help="file that the numbers are appended to, as one JSON object")
    return parser.parse_args()


def main() -> None:
    """Measure all strategies over all fleets and print a table."""
    asked = _asked()
    fleets = [int(size) for size in asked.fleets.split(",")]
    found: dict[str, dict[int, float]] = {}
    print("| µs a call | " + " | ".join(f"{size:,} replicas" for size in fleets) + " |")
    print("|---" * (len(fleets) + 1) + "|")
    for strategy in asked.strategies.split(","):
        costs = {
            size: round(
                cost_us(
                    strategy,
                    size,
                    asked.calls,
                    asked.rounds,
                    asked.hedge,
                    asked.explain,
                    asked.prompts,
                    asked.waiting,
                    asked.limits,
                    asked.shared,
                    asked.tenants,
                ),
                1,
            )
            for size in fleets
        }
        found[strategy] = costs
        print(f"| {strategy} | " + " | ".join(f"{cost:.1f}" for cost in costs.values()) + " |", flush=True)
    for size, promised in PROMISED_US.items():
        if size in found.get("adaptive", {}):
            cost = found["adaptive"][size]
            print(
                f"{'holds' if cost <= promised else 'MISSED'}: adaptive, {size:,} replicas: {cost} of {promised:g} µs"
            )
    if asked.out:
        keep(asked.out, found)


def keep(out: Path, found: dict[str, Any]) -> None:
    """Append the numbers to a file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a") as file:
        file.write(
            json.dumps({"scenario": "core", "at": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), **found}) + "\n"
        )


if __name__ == "__main__":
    main()
