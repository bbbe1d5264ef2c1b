"""What playbooks are written with: short ways to say a fact or to expect an order. Decides nothing and hides no time.

The house that the tests live in: one pool `main` serving the model `m`, no probes and no scrapes, so that nothing but
the facts of the test happens, and `least_connections`, whose choice is always plain to see (fewest in flight, then id).
"""

from collections.abc import Sequence
from typing import Any

from penstock.base.nouns import Call, CallRow, EngineStats, Replica, Usage
from penstock.base.rand import Rand
from penstock.core.effects import Effect, Probe, Record, Refuse, Send
from penstock.core.events import Arrived, Event, FleetSeen, Woke
from penstock.core.gate import Gate
from penstock.core.health import Health
from penstock.core.load import Seat
from penstock.core.route.presets import LeastConnections
from penstock.core.spec import BreakerSpec, GateSpec, HedgeSpec, PanicSpec, PoolSpec, ProbeSpec, RetrySpec, ScrapeSpec

QUIET = ProbeSpec(enabled=False)
STEADY = RetrySpec(jitter=0.0)
"""Retries whose pauses are the same every time."""


def call(id: str = "c1", **fields: Any) -> Call:
    """A call for the model `m`."""
    return Call(id, **{"model": "m", **fields})


def arrived(id: str = "c1", **fields: Any) -> Arrived:
    """A call for the model `m` is here."""
    return Arrived(call(id, **fields))


def replica(id: str, **fields: Any) -> Replica:
    """A replica with one seat in the pool `main`."""
    return Replica(id=id, **{"url": f"http://{id}", "pool": "main", "max_concurrent_requests": 1, **fields})


def fleet(*ids: str, **fields: Any) -> FleetSeen:
    """The fleet is these replicas, all alike."""
    return FleetSeen(tuple(replica(each, **fields) for each in ids))


def pool(name: str = "main", **fields: Any) -> PoolSpec:
    """A pool that serves `m`, looks at nothing by itself, pauses without jitter, and never panics."""
    plain: dict[str, Any] = {
        "models": ("m",),
        "strategy": LeastConnections(),
        "probe": QUIET,
        "scrape": ScrapeSpec(enabled=False),
        "retries": STEADY,
        "panic": PanicSpec(below=0.0),
    }
    return PoolSpec(name=name, **{**plain, **fields})


def gate(*pools: PoolSpec, seed: int = 1, **fields: Any) -> Gate:
    """A Gate of these pools (of `main`, if none is named), without replicas."""
    return Gate(GateSpec(pools=pools or (pool(),), **fields), Rand(seed))


def two_pools(**fields: Any) -> Gate:
    """`main` serves m, `spare` serves n, and m falls back to n."""
    made = gate(pool(**fields), pool("spare", models=("n",)), fallback={"m": ("n",)})
    made.on(FleetSeen((replica("a"), replica("s", pool="spare"))), 0.0)
    return made


def house(*ids: str, seats: int = 1, **fields: Any) -> Gate:
    """A Gate of the pool `main` with these replicas in it; `fields` are the pool's."""
    made = gate(pool(**fields))
    made.on(fleet(*ids, max_concurrent_requests=seats), 0.0)
    return made


def tell(machine: Gate, *facts: Event, now: float) -> list[Effect]:
    """Tell several facts at one time; all their orders."""
    return [order for fact in facts for order in machine.on(fact, now)]


def send(id: str, attempt: int, to: str, model: str = "m", queue_s: float = 0.0) -> Send:
    """The order to make an attempt, with the default timeouts."""
    return Send(id, attempt, to, model, 5.0, 600.0, 120.0, queue_s)


def record(id: str = "c1", outcome: str = "ok", status: int = 200, **fields: Any) -> Record:
    """The order to keep the row of a call that arrived at 0.0 for the model `m` and made one attempt at `a`. What was
    relayed of an answer that did not come to its end is billed."""
    if outcome == "ok":  # without a Began the answer began with its end
        fields.setdefault("ttft_s", fields.get("latency_s", 0.0))
    elif relayed := fields.get("relayed_tokens"):
        fields.setdefault("billed", Usage(0, relayed))
    row: dict[str, Any] = {
        "client_id": "", "at": 0.0, "tenant": "anonymous", "key": "", "model": "m", "path": "/v1/chat/completions",
        "pool": "main", "replica": "a", "stream": False, "priority": 2, "attempts": 1, "latency_s": 0.0,
        "ttft_s": None, "queue_s": 0.0, "usage": None, "relayed_tokens": 0,
    }  # fmt: skip
    return Record(CallRow(id=id, outcome=outcome, status=status, **{**row, **fields}))


def kinds(orders: Sequence[Effect]) -> list[str]:
    """What kinds of orders these are."""
    return [type(order).__name__ for order in orders]


def sends(orders: Sequence[Effect]) -> list[tuple[str, str]]:
    """Which call is sent where."""
    return [(order.id, order.replica) for order in orders if isinstance(order, Send)]


def refusals(orders: Sequence[Effect]) -> list[tuple[str, str, int]]:
    """Which call is refused how."""
    return [(order.id, order.label, order.status) for order in orders if isinstance(order, Refuse)]


def looks(orders: Sequence[Effect]) -> list[tuple[str, str]]:
    """Which replica is looked at how."""
    return [(order.replica, order.look) for order in orders if isinstance(order, Probe)]


def states(machine: Gate, now: float = 0.0) -> dict[str, str]:
    """The state of every replica."""
    return {view.id: view.state for view in machine.replicas(now)}


def nothing_held(machine: Gate) -> bool:
    """Whether no call holds anything any more."""
    return not any(machine.counts().values())


def seat(id: str = "a", order: int = 0, in_flight: int = 0, **fields: Any) -> Seat:
    """A healthy seat of eight, for the parts of routing."""
    described = replica(id, **{"max_concurrent_requests": 8, **fields})
    made = Seat(described, Health(BreakerSpec(), QUIET, described.max_concurrent_requests), order)
    made.in_flight = in_flight
    return made


def stats(**fields: Any) -> EngineStats:
    """What an engine said of itself."""
    return EngineStats(**fields)


USED = Usage(prompt_tokens=10, completion_tokens=5)


# ===== hedges =====

HEDGE = HedgeSpec(delay_s=0.5, budget=1.0)
"""Half a second, and every call may have one."""


def hedging(*ids: str, seats: int = 1, **fields: Any) -> Gate:
    """The house, with hedges."""
    return house(*ids, seats=seats, hedge=HEDGE, **fields)


def hedged(*ids: str, **fields: Any) -> Gate:
    """A Gate in which c1 runs at `a` since 0.0 and at `b` since 0.5."""
    machine = hedging(*(ids or ("a", "b")), **fields)
    assert machine.on(arrived("c1"), 0.0) == [send("c1", 1, "a")]
    assert machine.next_wake() == 0.5
    assert machine.on(Woke(), 0.5) == [send("c1", 2, "b")]
    assert machine.counts()["seats_taken"] == 2
    return machine


def row(orders: Sequence[Effect]) -> CallRow:
    """The one row among these orders."""
    (found,) = (order.row for order in orders if isinstance(order, Record))
    return found
