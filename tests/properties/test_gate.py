"""What holds whatever happens: the Gate against random sequences of facts, checked after every single one."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from penstock.base.errors import REFUSALS, Label
from penstock.base.nouns import Call, EngineStats, Replica, Usage
from penstock.base.rand import Rand
from penstock.core import spec as parts
from penstock.core.effects import Cancel, Effect, Forget, Probe, Record, Refuse, Send
from penstock.core.events import (
    Arrived,
    Began,
    ClientGone,
    Ended,
    Event,
    Failed,
    FleetSeen,
    Listed,
    Observed,
    Probed,
    Reconfigured,
    Woke,
)
from penstock.core.gate import Gate
from tests.helpers.anything import ATTEMPTS, MAX_WAITING, replicas, specs

UPSTREAM: list[Label] = [row.label for row in REFUSALS.values() if row.type == "upstream_error"]  # type: ignore[misc]
MODELS = ["m", "n", "alias", "open-1", "open-2", "unknown", ""]
TENANTS = ["t1", "t2"]


class GateMachine(RuleBasedStateMachine):
    """A world that tells the Gate anything at any time, and keeps its own books of what the Gate ordered."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.count = 0
        self.open: dict[str, Call] = {}
        self.out: dict[str, tuple[int, str]] = {}
        """Call -> (attempt, replica) that is under way."""
        self.begun: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.allowed: dict[str, int] = {}
        self.recorded: set[str] = set()
        self.fleet: dict[str, Replica] = {}

    @initialize(spec=specs(), fleet=replicas(), seed=st.integers(0, 9))
    def start(self, spec: parts.GateSpec, fleet: tuple[Replica, ...], seed: int) -> None:
        self.gate = Gate(spec, Rand(seed))
        self.spec = spec
        self.tell_fleet(fleet)

    # ===== telling =====

    def tell(self, fact: Event) -> None:
        before = self.gate.counts()["waiting"]
        arriving = isinstance(fact, Arrived)
        for order in self.gate.on(fact, self.now):
            self.perform(order)
        waiting = self.gate.counts()["waiting"]
        if arriving and waiting > before:
            assert waiting <= MAX_WAITING, "an arrival passed the bound over all pools"
            for pool in self.gate._fleet.pools.values():
                assert_bounds(pool, fact.call)  # type: ignore[union-attr]

    def perform(self, order: Effect) -> None:
        if isinstance(order, Probe):
            assert order.replica in self.fleet, "looks at who is not in the fleet"
            return
        if isinstance(order, Forget):
            assert order.replica not in {seat.id for seat in self.gate._fleet.seats.values()}
            return
        if isinstance(order, Record):
            row = order.row
            assert row.id not in self.recorded, "a second record"
            assert row.id not in self.out, "over, with an attempt left behind"
            assert row.attempts == self.attempts.get(row.id, 0)
            assert row.latency_s >= 0
            assert -1e-9 <= row.queue_s <= row.latency_s + 1e-9
            self.recorded.add(row.id)
            self.open.pop(row.id, None)
            return
        assert order.id not in self.recorded, "an order after the record"
        if isinstance(order, Send):
            assert order.id not in self.out, "two attempts at once"
            assert order.id not in self.begun, "another attempt after the first byte"
            assert order.attempt == self.attempts.get(order.id, 0) + 1
            seat = self.gate._fleet.seats[order.replica]
            assert seat.in_flight <= seat.seats
            assert seat.health.usable
            assert not seat.replica.drain
            self.attempts[order.id] = order.attempt
            assert order.attempt <= self.allowed[order.id], "more attempts than allowed"
            self.out[order.id] = (order.attempt, order.replica)
        elif isinstance(order, Cancel):
            assert self.out.pop(order.id)[0] == order.attempt, "cancels what is not under way"
        else:
            assert isinstance(order, Refuse)
            assert order.id not in self.out, "refused, with an attempt left behind"
            assert 400 <= order.status < 600
            assert order.retry_after_s is None or order.retry_after_s >= 0

    def tell_fleet(self, fleet: tuple[Replica, ...]) -> None:
        self.fleet = {each.id: each for each in fleet}
        self.tell(FleetSeen(fleet))

    # ===== calls =====

    @rule(
        model=st.sampled_from(MODELS),
        tenant=st.sampled_from(TENANTS),
        client_id=st.sampled_from(["", "", "x", "y"]),
        repeatable=st.booleans(),
        stream=st.booleans(),
        body=st.sampled_from([1, 60]),
        path=st.sampled_from(["/v1/chat/completions", "/v1/embeddings"]),
        priority=st.integers(0, 4),
        tier=st.sampled_from(["free", "standard", "enterprise"]),
        latency_s=st.sampled_from([None, 1.0, 20.0]),
    )
    def arrive(
        self, model: str, tenant: str, client_id: str, repeatable: bool, stream: bool, body: int, path: str,
        priority: int, tier: str, latency_s: float | None,
    ) -> None:  # fmt: skip
        self.count += 1
        made = Call(
            f"c{self.count}", model=model, tenant=tenant, client_id=client_id, repeatable=repeatable, stream=stream,
            body_bytes=body, path=path, priority=priority, tier=tier, latency_s=latency_s,
        )  # fmt: skip
        taken = client_id and any((o.tenant, o.client_id) == (tenant, client_id) for o in self.open.values())
        self.open[made.id] = made
        self.allowed[made.id] = ATTEMPTS * max(1, len(self.gate.catalog.targets(made)))
        self.tell(Arrived(made))
        if taken:
            assert made.id in self.recorded, "an id of this tenant is in flight twice"

    def under_way(self, data: Any) -> tuple[str, int]:
        call_id = data.draw(st.sampled_from(sorted(self.out)), "call")
        return call_id, self.out[call_id][0]

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def begin(self, data: Any) -> None:
        call_id, attempt = self.under_way(data)
        self.begun.add(call_id)
        self.tell(Began(call_id, attempt))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), status=st.sampled_from([200, 200, 400]))
    def end(self, data: Any, status: int) -> None:
        call_id, attempt = self.under_way(data)
        del self.out[call_id]
        self.tell(Ended(call_id, attempt, status, Usage(3, 4), 4))
        assert call_id in self.recorded

    @precondition(lambda self: self.out)
    @rule(
        data=st.data(),
        label=st.sampled_from(UPSTREAM),
        status=st.sampled_from([0, 429, 503]),
        retry_after_s=st.sampled_from([None, 0.0, 3.0, 1e6]),
    )
    def fail(self, data: Any, label: Label, status: int, retry_after_s: float | None) -> None:
        call_id, attempt = self.under_way(data)
        del self.out[call_id]
        self.tell(Failed(call_id, attempt, label, status, retry_after_s))
        if call_id in self.begun or not REFUSALS[label].retryable:
            assert call_id in self.recorded

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), label=st.sampled_from(UPSTREAM), kind=st.integers(0, 2))
    def stale(self, data: Any, label: Label, kind: int) -> None:
        """A fact about an attempt that is not under way (any more) changes nothing."""
        call_id = data.draw(st.sampled_from(sorted(self.attempts)), "call")
        last = self.attempts[call_id]
        attempt = last + 1 if call_id in self.out else data.draw(st.integers(0, last + 1), "attempt")
        before = self.gate.counts()
        facts: list[Event] = [Began(call_id, attempt), Ended(call_id, attempt, 200), Failed(call_id, attempt, label)]
        self.tell(facts[kind])
        assert self.gate.counts() == before

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        """A client leaves in whatever state its call is, or after it."""
        call_id = f"c{data.draw(st.integers(1, self.count), 'call')}"
        was_out = call_id in self.out
        self.tell(ClientGone(call_id, 2))
        assert call_id in self.recorded
        assert call_id not in self.out, "left alone at its engine" if was_out else ""

    # ===== replicas =====

    @rule(fleet=replicas())
    def fleet_seen(self, fleet: tuple[Replica, ...]) -> None:
        self.tell_fleet(fleet)

    @rule(replica=st.sampled_from("abcdez"), ok=st.booleans(), times=st.integers(1, 3))
    def probed(self, replica: str, ok: bool, times: int) -> None:
        for _ in range(times):
            self.tell(Probed(replica, ok))

    @rule(good=st.lists(st.sampled_from("abcde"), unique=True))
    def all_probed(self, good: list[str]) -> None:
        for replica in good:
            self.tell(Probed(replica, True))
            self.tell(Probed(replica, True))

    @rule(replica=st.sampled_from("abcdez"), waiting=st.sampled_from([None, 0, 3, 9]), failed=st.booleans())
    def observed(self, replica: str, waiting: int | None, failed: bool) -> None:
        self.tell(Observed(replica, None if failed else EngineStats(waiting=waiting, kv_usage=0.5)))

    @rule(replica=st.sampled_from("abcdez"), models=st.sampled_from([(), ("open-1",), ("open-1", "open-2")]))
    def listed(self, replica: str, models: tuple[str, ...]) -> None:
        self.tell(Listed(replica, models))

    @rule(spec=specs())
    def reconfigured(self, spec: parts.GateSpec) -> None:
        held = set(self.open)
        for call_id in self.open:
            self.allowed[call_id] = self.attempts.get(call_id, 0) + 3 * ATTEMPTS
        self.spec = spec
        self.tell(Reconfigured(spec))
        self.fleet = {seat.id: seat.replica for seat in self.gate._fleet.seats.values()}
        assert set(self.out) <= held

    # ===== time =====

    @rule(step_s=st.sampled_from([0.0, 0.3, 1.0, 4.0, 40.0]))
    def time_passes(self, step_s: float) -> None:
        """The pump wakes the Gate at every time it asked for on the way."""
        until = self.now + step_s
        for _ in range(2000):
            wake = self.gate.next_wake()
            if wake is None or wake > until:
                break
            self.now = max(self.now, wake)
            self.tell(Woke())
            after = self.gate.next_wake()
            assert after is None or after >= self.now, "asks to be woken in the past"
        else:
            pytest.fail("asks to be woken for ever")
        self.now = until

    @rule(step_s=st.sampled_from([1.0, 50.0]))
    def time_jumps(self, step_s: float) -> None:
        """A stalled process: time has passed and nobody woke the Gate."""
        self.now += step_s

    # ===== always =====

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "gate"):
            return
        counts = self.gate.counts()
        assert counts["flights"] == len(self.open)
        assert counts["held_ids"] == sum(bool(call.client_id) for call in self.open.values())
        assert counts["waiting"] + len(self.out) <= len(self.open)
        assert counts["waiting"] == sum(view.queued for view in self.gate.pools(self.now))
        assert counts["seats_taken"] <= len(self.out)

    @invariant()
    def nobody_waits_beside_a_free_seat(self) -> None:
        """Work-conserving: somebody in a line waits only where no seat of its model is free, or all of them are held
        back on purpose."""
        if not hasattr(self, "gate"):
            return
        for pool in self.gate._fleet.pools.values():
            most = pool.spec.queue.max_in_flight
            if most is not None and sum(seat.in_flight for seat in pool.seats) >= most:
                continue
            for model, line in pool.lines.items():
                if line.fresh and not pool.shed.active:
                    free = [seat.id for seat in pool.usable(model) if seat.in_flight < seat.health.limit]
                    assert not free, f"{next(iter(line.fresh))} waits while {free} are free"

    @invariant()
    def health_is_consistent(self) -> None:
        """Who is put out has an alarm to come back, within the bound; only a pool in panic sends to who is not well."""
        if not hasattr(self, "gate"):
            return
        fleet = self.gate._fleet
        for pool in fleet.pools.values():
            ejected = [seat.id for seat in pool.seats if seat.health.ejected]
            assert all(("ejected", name) in fleet._timers for name in ejected)
            for seat in pool.seats:
                assert seat.health.usable == seat.health.well or seat.health.panic
                assert not seat.health.panic or pool.panic
                assert seat.health.limit == 0 or seat.health.usable

    def teardown(self) -> None:
        """Once everything is over nothing is held: clients leave, time passes, every call has its one record."""
        if not hasattr(self, "gate"):
            return
        for call_id in list(self.open):
            self.tell(ClientGone(call_id))
        assert not any(self.gate.counts().values())
        assert len(self.recorded) == self.count
        for seat in self.gate._fleet.seats.values():
            assert seat.in_flight == 0
        for pool in self.gate._fleet.pools.values():
            assert (pool.counts.calls, pool.counts.bytes, pool.counts.by_tenant) == (0, 0, {})
            assert not any(pool.counts.by_priority)
            assert not pool.lines
        assert not [key for key in self.gate._timers._when if key[0] in ("wait", "pause")]
        assert self.out == {}


def assert_bounds(pool: Any, call: Call) -> None:
    """The bounds of a pool's queue hold for those that arrive (retried calls were admitted before)."""
    spec = pool.spec.queue
    fresh = [flight for line in pool.lines.values() for flight in line.fresh.values()]
    if any(flight.call.id == call.id for flight in fresh):
        assert pool.counts.calls <= spec.max
        assert pool.counts.bytes <= spec.max_bytes
        if spec.max_per_tenant is not None:
            assert pool.counts.by_tenant[call.tenant] <= spec.max_per_tenant
        if spec.max_per_priority.batch is not None and call.priority == 4:
            assert pool.counts.by_priority[4] <= spec.max_per_priority.batch


@pytest.mark.slow
def test_whatever_is_told_the_gate_keeps_its_promises() -> None:
    """Every call ends exactly once, bounds hold, nothing leaks, nothing raises, whatever facts come in what order."""
    run_state_machine_as_test(GateMachine, settings=settings(max_examples=100, stateful_step_count=40))
