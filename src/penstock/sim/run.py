"""One run: a policy over a scenario's fleet, with one seed, from the first arrival to the last end.

The Gate is the gateway's own and is turned by the same pump. Requests are taken from the workload one at a time, so a
run of millions needs no more memory than what is in flight.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from penstock.base.nouns import Call, CallRow
from penstock.base.rand import Rand
from penstock.config.scenarios import MODEL, Gateways, Policy, Scenario
from penstock.core.effects import BENCHMARK, Adopt, Cancel, Carry, Effect, Forget, Probe, Record, Refuse, Send
from penstock.core.events import Arrived, Event, Woke
from penstock.core.gate import Gate
from penstock.core.scale.window import Window
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug
from penstock.sim.answers import Answers, content_of
from penstock.sim.carriage import Carriages
from penstock.sim.clients import AHEAD_S, Played
from penstock.sim.cloud import Cloud, Engine
from penstock.sim.digest import Digest
from penstock.sim.gateways import Peers
from penstock.sim.lifecycle import Lifecycle
from penstock.sim.places import Places
from penstock.sim.prompts import TOKEN_BYTES, seen_by_gateway
from penstock.sim.scaling import Scaling
from penstock.sim.served import Served
from penstock.sim.stress import Stress, Watcher
from penstock.sim.tally import Result, Tally
from penstock.workload.request import Request

PATH = "/v1/chat/completions"
"""Of what is streamed to its client; the others come whole."""
COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"
MOST_WAITING = 1_000_000
WARM_UP_S = 1.0
"""Replicas are probed and read before the first arrival, as behind a gateway that has just started."""


class Outcome(NamedTuple):
    """What a run gives."""

    result: Result
    journal: str
    """A digest of every fact and order: equal digests, equal runs."""
    stress: Stress | None = None
    """Where somebody watched for that."""


class _Flying(NamedTuple):
    """A request that is not over."""

    request: Request
    number: int
    """Which of the run's."""
    asked: list[Engine]
    """Who got its attempts."""
    origin: str
    """The region that it comes from."""


class Run:
    """One simulation."""

    def __init__(self, scenario: Scenario, policy: Policy, requests: Iterable[Request], seed: int) -> None:
        self.kernel = Kernel()
        regions = scenario.regions
        self.places = None if regions is None else Places(regions, Rand(seed).child("places"))
        self.served = Served(scenario, policy)
        self._name = None if self.served.plain else self.served.name
        self.gate, self.pump = self._gates(scenario.gateways, policy, Rand(seed))
        spec, tell = scenario.clients, self.pump.tell
        luck = Rand(seed).child("clients")
        self.clients = None if spec is None else Played(spec, self.kernel, tell, self._ask, luck)
        heard = tell if self.clients is None else self.clients.heard
        self.answers = None if self.gate.spec.cache is None else Answers(self.kernel, heard)
        heard = heard if self.answers is None else self.answers.heard
        self._flying: dict[str, _Flying] = {}
        grouping = any(pool.batching is not None for pool in self.served.pools)
        self.carriages = Carriages(self._flying, heard) if grouping else None
        self.cloud = Cloud(
            scenario.fleet, scenario.network, self.kernel, heard if self.carriages is None else self.carriages.heard,
            self.places, self.served.adapters,
        )  # fmt: skip
        self.lifecycle = Lifecycle(self.cloud, self.kernel, tell)
        scale = scenario.scale
        around = (self.cloud, self.lifecycle, self.gate, self.kernel, Rand(seed).child("scaling"))
        self.scaling = None if scale is None else Scaling(scale, *around)
        self._flow = self.scaling.flow if self.scaling is not None and self.scaling.flow.watching else None
        place = self.served.place if self.served.several else None
        self.tally = Tally(scenario.slo, self.cloud.engines, self.kernel, place)
        self._faults = scenario.faults
        self.watcher: Watcher | None = None
        self._requests: Iterator[Request] = iter(requests)
        self._number = 0
        self._exhausted = False
        self.watch: Callable[[float, Event, list[Effect]], None] | None = None
        """Sees every turn, as a reader of the journal does."""
        self._come, self._ahead_s = (self._told, AHEAD_S) if spec and spec.closed else (self._arrive, 0.0)
        self._table: dict[type, Callable[..., None]] = {
            Send: self._send, Cancel: self._cancel, Record: self._record, Probe: self._probe,
            Refuse: _nothing if self.clients is None else self.clients.refused, Forget: _nothing,
        }  # fmt: skip
        if self.answers is not None:
            self._table |= self.answers.table() | {Adopt: self._adopt}
        if self.carriages is not None:
            self._table |= {Carry: self.carriages.carry}

    def _gates(self, several: Gateways | None, policy: Policy, rand: Rand) -> tuple[Gate, Pump[Event, Effect] | Peers]:
        """Who decides (of several, the first), and who is told."""
        spec, kernel = self.served.spec(policy, MOST_WAITING), self.kernel
        if several is not None:
            luck = rand.child("gateways")
            peers = Peers(several, spec, kernel, luck, self._perform, self._probe, self._observe)
            return peers.gates[0], peers
        gate = Gate(spec, rand.child("gate"))
        return gate, Pump(gate, self._perform, kernel.clock, kernel.call_at, self._observe, Woke(), raise_bug)

    def watched(self, scenario: Scenario) -> "Run":
        """Itself, with somebody who watches how the fleet stands it."""
        self.watcher = Watcher(scenario, self.kernel, WARM_UP_S, self._window, self.lifecycle.spending)
        if self.scaling is not None:
            self.scaling.decided = self.watcher.decided
        return self

    def _window(self) -> Window:
        window = self.gate.window(self.served.main, self.kernel.clock())
        assert window is not None
        return window

    def go(self, digest: bool = False) -> Outcome:
        """From the first arrival to the last end. `digest`: also of every fact and order, which takes time."""
        digesting = Digest() if digest else None
        if digesting is not None:
            self.watch = digesting.observe
        faults = tuple(msgspec.structs.replace(fault, at_s=fault.at_s + WARM_UP_S) for fault in self._faults)
        self.lifecycle.begin(WARM_UP_S, faults)
        if self.scaling is not None:
            self.scaling.begin(WARM_UP_S, faults)
            self.scaling.bugs.begin(faults)
        self.cloud.plan(faults)
        if self.watcher is not None:
            self.watcher.begin()
        self._next()
        if not self._exhausted:
            self.kernel.run()
        hourly_cost = self.lifecycle.hourly_cost(self.tally.began_at or 0.0, self.tally.ended_at)
        groups, calls = (0, 0) if self.carriages is None else (self.carriages.groups, self.carriages.calls)
        result = self.tally.result(hourly_cost, self.cloud.adapter_loads(), groups, calls)
        stress = None if self.watcher is None else self.watcher.stress(result.duration_s)
        return Outcome(result, digesting.text() if digesting is not None else "", stress)

    # ===== clients =====

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._exhausted = True
        else:
            self.kernel.at(WARM_UP_S - self._ahead_s + request.at_s, self._come, request)

    def _arrive(self, request: Request) -> None:
        number, self._number = self._number, self._number + 1
        self._next()
        if self.clients is None:
            self._ask(request, number, f"c{number}", True)
        else:
            self.clients.came(request, number)

    def _told(self, request: Request) -> None:
        """In closed loop: the workload has it, and the clients know when its time comes."""
        assert self.clients is not None
        number, self._number = self._number, self._number + 1
        self._next()
        self.clients.told(request, number, WARM_UP_S + request.at_s)

    def _ask(self, request: Request, number: int, call_id: str, first: bool) -> None:
        origin = "" if self.places is None else self.places.origin(request)
        self._flying[call_id] = _Flying(request, number, [], origin)
        length = request.prompt_tokens * TOKEN_BYTES
        # by place: so many names would cost every request most of a microsecond (the order is Call's)
        model = MODEL if self._name is None else self._name(request)
        path, streams, most = PATH, True, request.output_tokens  # type: tuple[str, bool, int | None]
        if request.alike:  # what their parameters are, and what bounds they set, nobody says
            path, streams, most = COMPLETIONS if request.output_tokens else EMBEDDINGS, False, None
        call = Call(
            call_id, model, path, "", request.tenant or "anonymous", "", "", streams, True,
            request.priority, request.prompt_tokens, most, length,
            request.session, "", seen_by_gateway(request, number), length,
            None if request.deadline_ns is None else request.deadline_ns / 1e9, "standard", 1, origin,
            UNSET if self.answers is None else content_of(request),
        )  # fmt: skip
        if first:
            self.tally.arrived()
        else:
            self.tally.client_retries += 1
        self.pump.tell(Arrived(call, request.alike))

    # ===== orders =====

    def _perform(self, order: Effect) -> None:
        self._table[type(order)](order)

    def _send(self, order: Send) -> None:
        engine = self.cloud.engines[order.replica]
        flying = self._flying.get(order.id)
        if flying is None:
            self._send_group(order, engine)
            return
        request, number, asked, origin = flying
        asked.append(engine)  # attempts count from 1
        if self.answers is not None:
            order = self.answers.own(order)
        way_s = None if self.places is None else self.places.way_s(origin, engine.replica.region)
        engine.submit(order, request, number, way_s)

    def _send_group(self, order: Send, engine: Engine) -> None:
        assert self.carriages is not None
        origin = self._flying[self.carriages.first(order.id)].origin
        way_s = None if self.places is None else self.places.way_s(origin, engine.replica.region)
        self.carriages.send(order, engine, way_s)

    def _cancel(self, order: Cancel) -> None:
        if order.id.startswith(BENCHMARK):
            self.cloud.engines[order.id.removeprefix(BENCHMARK)].abort(order)
        elif self.carriages is not None and order.id not in self._flying:
            self.carriages.cancel(order)
        else:
            engine = self._flying[order.id].asked[order.attempt - 1]
            engine.abort(order if self.answers is None else self.answers.own(order))

    def _adopt(self, order: Adopt) -> None:
        assert self.answers is not None
        gone = self._flying.get(order.id)
        if gone is not None:  # else it had none that run
            self._flying[order.by] = self._flying[order.by]._replace(asked=gone.asked)
        self.answers.adopt(order)

    def _record(self, order: Record) -> None:
        row: CallRow | None = order.row
        del self._flying[order.row.id]
        if self.answers is not None:
            self.answers.over(order)
        if self.clients is not None:
            row = self.clients.over(order.row)
        if row is not None:
            self.tally.over(row)
            if self.watcher is not None:
                self.watcher.over(row)
        if self._exhausted and not self._flying and (self.clients is None or not self.clients.pending):
            self.kernel.halt()  # probes and scrapes would go on for ever

    def _probe(self, order: Probe, tell: Callable[[Event], None] | None = None) -> None:
        engine = self.cloud.engines[order.replica]
        if order.look == "health":
            engine.probe(order.timeout_s, tell)
        elif order.look == "stats":
            engine.readings.scrape(tell)
        elif order.look == "bench":
            engine.bench(order)

    def _observe(self, now: float, event: Event, orders: list[Effect]) -> None:
        if self._flow is not None:
            self._flow.observe(now, event, orders)
        if self.watch is not None:
            self.watch(now, event, orders)


def _nothing(order: Effect) -> None:
    pass


def simulate(scenario: Scenario, policy: Policy, requests: Iterable[Request], seed: int) -> Result:
    """The numbers of one run."""
    return Run(scenario, policy, requests, seed).go().result
