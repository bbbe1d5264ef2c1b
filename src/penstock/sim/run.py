"""One run: a policy over a scenario's fleet, with one seed, from the first arrival to the last end.

The Gate is the gateway's own and is turned by the same pump. Requests are taken from the workload one at a time, so a
run of millions needs no more memory than what is in flight.
"""

from collections.abc import Callable, Iterable, Iterator
from math import fsum
from typing import NamedTuple

import msgspec

from penstock.base.nouns import Call
from penstock.base.rand import Rand
from penstock.config.scenarios import MODEL, Policy, Scenario
from penstock.core.effects import BENCHMARK, Cancel, Effect, Forget, Probe, Record, Refuse, Send
from penstock.core.events import Arrived, Event, FleetSeen, Woke
from penstock.core.gate import Gate
from penstock.core.spec import GateSpec
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug
from penstock.sim.cloud import Cloud, Engine
from penstock.sim.digest import Digest
from penstock.sim.prompts import TOKEN_BYTES, seen_by_gateway
from penstock.sim.tally import Result, Tally
from penstock.workload.request import Request

MOST_WAITING = 1_000_000
WARM_UP_S = 1.0
"""Replicas are probed and read before the first arrival, as behind a gateway that has just started."""


class Outcome(NamedTuple):
    """What a run gives."""

    result: Result
    journal: str
    """A digest of every fact and order: equal digests, equal runs."""


class _Flying(NamedTuple):
    """A request that is not over."""

    request: Request
    number: int
    """Which of the run's."""
    asked: list[Engine]
    """Who got its attempts."""


class Run:
    """One simulation."""

    def __init__(self, scenario: Scenario, policy: Policy, requests: Iterable[Request], seed: int) -> None:
        self.kernel = Kernel()
        self.gate = Gate(GateSpec(pools=(policy.pool(),), max_waiting=MOST_WAITING), Rand(seed).child("gate"))
        self.pump: Pump[Event, Effect] = Pump(
            self.gate, self._perform, self.kernel.clock, self.kernel.call_at, self._observe, Woke(), raise_bug
        )
        self.cloud = Cloud(scenario.fleet, scenario.network, self.kernel, self.pump.tell)
        self.tally = Tally(scenario.slo, self.cloud.engines, self.kernel)
        self._hourly_cost = fsum(group.money_per_hour() * group.count for group in scenario.fleet)
        self._faults = scenario.faults
        self._requests: Iterator[Request] = iter(requests)
        self._flying: dict[str, _Flying] = {}
        self._number = 0
        self._exhausted = False
        self.watch: Callable[[float, Event, list[Effect]], None] | None = None
        """Sees every turn, as a reader of the journal does."""
        self._table: dict[type, Callable[..., None]] = {
            Send: self._send, Cancel: self._cancel, Record: self._record, Probe: self._probe,
            Refuse: _nothing, Forget: _nothing,
        }  # fmt: skip

    def go(self, digest: bool = False) -> Outcome:
        """From the first arrival to the last end. `digest`: also of every fact and order, which takes time."""
        digesting = Digest() if digest else None
        if digesting is not None:
            self.watch = digesting.observe
        self.pump.tell(FleetSeen(self.cloud.replicas()))
        self.cloud.plan(
            tuple(msgspec.structs.replace(fault, at_s=fault.at_s + WARM_UP_S) for fault in self._faults)
        )  # fmt: skip
        self._next()
        if not self._exhausted:
            self.kernel.run()
        return Outcome(self.tally.result(self._hourly_cost), digesting.text() if digesting is not None else "")

    # ===== clients =====

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._exhausted = True
        else:
            self.kernel.at(WARM_UP_S + request.at_s, self._arrive, request)

    def _arrive(self, request: Request) -> None:
        number, self._number = self._number, self._number + 1
        call_id = f"c{number}"
        self._flying[call_id] = _Flying(request, number, [])
        length = request.prompt_tokens * TOKEN_BYTES
        call = Call(
            call_id, MODEL, tenant=request.tenant or "anonymous", stream=True,
            priority=request.priority, prompt_tokens=request.prompt_tokens, max_tokens=request.output_tokens,
            body_bytes=length, session=request.session, prefix=seen_by_gateway(request, number), prompt_bytes=length,
            latency_s=None if request.deadline_ns is None else request.deadline_ns / 1e9,
        )  # fmt: skip
        self.tally.arrived()
        self._next()
        self.pump.tell(Arrived(call))

    # ===== orders =====

    def _perform(self, order: Effect) -> None:
        self._table[type(order)](order)

    def _send(self, order: Send) -> None:
        request, number, asked = self._flying[order.id]
        engine = self.cloud.engines[order.replica]
        asked.append(engine)  # attempts count from 1
        engine.submit(order, request, number)

    def _cancel(self, order: Cancel) -> None:
        if order.id.startswith(BENCHMARK):
            self.cloud.engines[order.id.removeprefix(BENCHMARK)].abort(order)
        else:
            self._flying[order.id].asked[order.attempt - 1].abort(order)

    def _record(self, order: Record) -> None:
        del self._flying[order.row.id]
        self.tally.over(order.row)
        if self._exhausted and not self._flying:
            self.kernel.halt()  # probes and scrapes would go on for ever

    def _probe(self, order: Probe) -> None:
        engine = self.cloud.engines[order.replica]
        if order.look == "health":
            engine.probe()
        elif order.look == "stats":
            engine.scrape()
        elif order.look == "bench":
            engine.bench(order)

    def _observe(self, now: float, event: Event, orders: list[Effect]) -> None:
        if self.watch is not None:
            self.watch(now, event, orders)


def _nothing(order: Effect) -> None:
    pass


def simulate(scenario: Scenario, policy: Policy, requests: Iterable[Request], seed: int) -> Result:
    """The numbers of one run."""
    return Run(scenario, policy, requests, seed).go().result
