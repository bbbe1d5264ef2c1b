"""Several gateways of one run, over the same engines: each a Gate with a pump of its own that knows its own calls.

They share what gateways share live: the engines, who is in the fleet, and, if the scenario says so, a store of limits,
to which messages take their time. Each looks at replicas for itself.
"""

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from penstock.base.errors import ConfigError
from penstock.base.leases import Question
from penstock.base.rand import Rand
from penstock.config.scenarios import Gateways
from penstock.core.effects import Carry, Effect, Lease, Probe, Record, Return
from penstock.core.events import Arrived, Event, FleetSeen, Leased, Metered, Woke
from penstock.core.gate import Gate
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.spec import SharedSpec
from penstock.core.spec import GateSpec
from penstock.core.split import part
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug

Tell = Callable[[Event], None]


class LimitStore:
    """The store of shared limits, and the way to it."""

    def __init__(self, round_trip_s: float, kernel: Kernel) -> None:
        self._way_s = round_trip_s / 2
        self._kernel = kernel
        self._book = LeaseBook()

    def ask(self, peer: str, order: Lease | Return, tell: Tell) -> None:
        """A gateway's message leaves; what is answered it is told."""
        self._kernel.at(self._kernel.now + self._way_s, self._asked, (peer, order, tell))

    def _asked(self, what: tuple[str, Lease | Return, Tell]) -> None:
        peer, order, tell = what
        now = self._kernel.now
        reply = self._book.exchange(Question(peer, order.number, order.lasts_s, order.asks), now)
        if isinstance(order, Lease):
            self._kernel.at(now + self._way_s, tell, Leased(order.number, reply.now, reply.answers))


class Peers:
    """All gateways of a run that has several. It is told facts as the pump of one is."""

    def __init__(
        self, spec: Gateways, gate: GateSpec, kernel: Kernel, rand: Rand,
        perform: Callable[[Effect], None], probe: Callable[[Probe, Tell | None], None],
        observe: Callable[[float, Event, list[Effect]], None],
    ) -> None:  # fmt: skip
        """`perform`: does what needs no gateway's name; `probe` looks, and tells who asked. Raises ConfigError."""
        _check(gate)
        self._spec = spec
        self._perform = perform
        self._probe = probe
        self._store: LimitStore | None = None
        if spec.limits == "shared" and gate.limits is not None:
            self._store = LimitStore(spec.store_round_trip_s, kernel)
            gate = replace(gate, limits=replace(gate.limits, shared=SharedSpec()))
        self.gates = [Gate(gate, rand.child(f"gate/{number}")) for number in range(spec.count)]
        self._pumps: list[Pump[Event, Effect]] = [
            Pump(each, partial(self._ordered, number), kernel.clock, kernel.call_at, observe, Woke(), raise_bug)
            for number, each in enumerate(self.gates)
        ]
        self._lots = rand.stream("gateways")
        self._sessions = rand.child("sessions")
        self._homes: dict[str, int] = {}
        """Call, or group of calls -> whose it is."""

    def tell(self, event: Event) -> None:
        """To whom it concerns."""
        if isinstance(event, Arrived):
            call = event.call
            uniform = self._sessions.stream(call.session).random if call.session else self._lots.random
            home = self._homes[call.id] = int(uniform() * len(self._pumps))
            self._pumps[home].tell(event)
        elif isinstance(event, FleetSeen | Metered):
            for number, pump in enumerate(self._pumps):
                pump.tell(self._as_seen_by(number, event))
        elif (name := getattr(event, "id", "")) in self._homes:
            self._pumps[self._homes[name]].tell(event)

    def _as_seen_by(self, number: int, event: FleetSeen | Metered) -> FleetSeen | Metered:
        if isinstance(event, Metered) or self._spec.seats == "whole":
            return event
        return FleetSeen(
            tuple(
                replace(one, max_concurrent_requests=part(one.max_concurrent_requests, number, self._spec.count))
                for one in event.replicas
            )
        )

    def _ordered(self, number: int, order: Effect) -> None:
        if isinstance(order, Probe):
            self._probe(order, self._pumps[number].tell)
        elif isinstance(order, Lease | Return):
            if self._store is not None:
                self._store.ask(f"g{number}", order, self._pumps[number].tell)
        else:
            if isinstance(order, Carry):
                self._homes[order.id] = number
                if not order.aboard:
                    del self._homes[order.id]
            elif isinstance(order, Record):
                del self._homes[order.row.id]
            self._perform(order)


def _check(gate: GateSpec) -> None:
    if gate.cache is not None:
        raise ConfigError(["several gateways with a `cache` are not simulated: leave out one of them"])
    if any(pool.benchmark.enabled for pool in gate.pools):
        raise ConfigError(["several gateways that benchmark their replicas are not simulated: leave out one of them"])
