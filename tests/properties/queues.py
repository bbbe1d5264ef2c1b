"""What must hold of a pool's waiting calls at any moment, looked at from outside the Gate's own counts."""

from typing import Any

from penstock.base.nouns import Call
from penstock.core.gate import Gate
from penstock.core.pool import Pool


def assert_bounds(pool: Any, call: Call) -> None:
    """The bounds of a pool's queue hold for those that arrive (retried calls were admitted before)."""
    spec = pool.spec.queue
    lines = [*pool.lines.values(), *(pool.pins.lines.values() if pool.pins is not None else ())]
    fresh = [flight for line in lines for flight in line.fresh.values()]
    mine = [flight for flight in fresh if flight.call.id == call.id]
    if mine:
        assert pool.counts.calls <= spec.max
        assert pool.counts.bytes <= spec.max_bytes
        if spec.max_per_tenant is not None:
            assert pool.counts.by_tenant[call.tenant] <= spec.max_per_tenant
        if spec.max_per_priority.batch is not None and call.priority == 4:
            assert pool.counts.by_priority[4] <= spec.max_per_priority.batch
        if mine[0].pin is not None:
            assert mine[0].pin.pinned <= mine[0].pin.replica.max_queue_size


def assert_work_goes_on(pool: Pool) -> None:
    """Somebody in a line waits only where no seat of its model (or its own replica) is free, or all are held back on
    purpose."""
    if pool.holds_back or pool.full:
        return
    for model, line in pool.lines.items():
        if line.fresh:
            free = [seat.id for seat in pool.usable(model) if seat.in_flight < seat.health.limit]
            assert not free, f"{next(iter(line.fresh))} waits while {free} are free"
    for seat, line in pool.pins.lines.items() if pool.pins is not None else ():
        assert seat.in_flight >= seat.health.limit, f"{next(iter(line.fresh))} waits while its {seat.id} is free"
        assert seat.health.usable, f"{next(iter(line.fresh))} waits for {seat.id}, which takes no calls"


def assert_counted(gate: Gate) -> None:
    """Waiting calls and held seats, counted one by one, are what the counts say; nobody stands in two lines."""
    flights = gate._calls.books.flights.values()
    for pool in gate._fleet.pools.values():
        pinned = {seat: list(line) for seat, line in pool.pins.lines.items()} if pool.pins is not None else {}
        ids = [flight.call.id for line in pool.lines.values() for flight in line]
        ids += [flight.call.id for flights_there in pinned.values() for flight in flights_there]
        assert len(ids) == len(set(ids)) == pool.counts.calls
        for seat in pool.seats:
            assert seat.pinned == len(pinned.get(seat, ()))
            assert all(flight.pin is seat for flight in pinned.get(seat, ()))
        for tenant, flow in pool.fair._flows.items():
            assert flow.held == sum(flight.flow is flow for flight in flights), f"seats of {tenant}"
    for flight in flights:
        assert flight.pin is None or flight.state == "queued"
        assert flight.flow is None or flight.seat is not None


def barred(gate: Gate) -> int:
    """How many wait before a limit."""
    return sum(flight.state == "barred" for flight in gate._calls.books.flights.values())


def waited(gate: Gate, pool: str, now: float) -> bool:
    """Whether anybody waited in a pool's queue already before this turn."""
    flights = gate._calls.books.flights.values()
    return any(
        it.queued_at < now for it in flights if it.state == "queued" and it.targets[it.target].pool == pool
    )  # fmt: skip
