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
from tests.properties.benches import Benching
from tests.properties.drawn import ATTEMPTS, MAX_WAITING, MODELS, TENANTS, UPSTREAM, replicas, specs
from tests.properties.queues import assert_bounds, assert_counted, assert_work_goes_on, barred, waited


class GateMachine(Benching, RuleBasedStateMachine):
    """A world that tells the Gate anything at any time, and keeps its own books of what the Gate ordered."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.count = 0
        self.open: dict[str, Call] = {}
        self.out: dict[tuple[str, int], str] = {}
        """Call and attempt -> replica, while it is under way."""
        self.hedged: set[str] = set()
        self.hedges_allowed: dict[str, float] = {}
        """Pool -> hedges that its budgets have allowed so far."""
        self.hedges_made: dict[str, int] = {}
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
            self.bench_ordered(order)
            return
        if isinstance(order, Forget):
            assert order.replica not in {seat.id for seat in self.gate._fleet.seats.values()}
            return
        if isinstance(order, Record):
            row = order.row
            assert row.id not in self.recorded, "a second record"
            assert not self.running(row.id), "over, with an attempt left behind"
            assert (row.hedge in ("won", "lost", "neither")) is (row.id in self.hedged)
            assert row.attempts == self.attempts.get(row.id, 0)
            assert row.latency_s >= 0
            assert -1e-9 <= row.queue_s <= row.latency_s + 1e-9
            self.recorded.add(row.id)
            self.open.pop(row.id, None)
            return
        assert isinstance(order, Send | Cancel | Refuse), "no limit is shared here, and there is no cache"
        assert order.id not in self.recorded, "an order after the record"
        if isinstance(order, Send):
            assert order.id not in self.begun, "another attempt after the first byte"
            assert order.attempt == self.attempts.get(order.id, 0) + 1
            seat = self.gate._fleet.seats[order.replica]
            assert seat.in_flight <= seat.seats
            assert seat.health.usable
            assert not seat.replica.drain
            if self.running(order.id):
                self.check_hedge(order, seat.pool)
            elif order.attempt == 1:
                hedge = self.gate._fleet.pools[seat.pool].spec.hedge
                self.allow_hedges(seat.pool, hedge.budget if hedge else 0.0)
            self.attempts[order.id] = order.attempt
            assert order.attempt <= self.allowed[order.id], "more attempts than allowed"
            self.out[order.id, order.attempt] = order.replica
        elif isinstance(order, Cancel):
            stopped = self.bench_given_up(order) or bool(self.out.pop((order.id, order.attempt), ""))
            assert stopped, "cancels what is not under way"
        else:
            assert isinstance(order, Refuse)
            assert not self.running(order.id), "refused, with an attempt left behind"
            assert 400 <= order.status < 600
            assert order.retry_after_s is None or order.retry_after_s >= 0

    def running(self, call_id: str) -> list[int]:
        return [attempt for call, attempt in self.out if call == call_id]

    def check_hedge(self, order: Send, pool: str) -> None:
        """A second attempt beside the first: one a call, elsewhere, within the budget, taking nothing from anybody."""
        assert order.id not in self.hedged, "a second hedge"
        assert len(self.running(order.id)) == 1, "three attempts at once"
        assert self.open[order.id].repeatable
        assert order.replica not in {to for (call, _), to in self.out.items() if call == order.id}, (
            "at the same replica"
        )
        assert not waited(self.gate, pool, self.now), "overtakes who waits"
        self.hedged.add(order.id)
        self.hedges_made[pool] = self.hedges_made.get(pool, 0) + 1
        assert self.hedges_made[pool] <= self.hedges_allowed.get(pool, 0.0) + 1e-6, "over the budget"

    def allow_hedges(self, pool: str, count: float) -> None:
        self.hedges_allowed[pool] = self.hedges_allowed.get(pool, 0.0) + count

    def go_to(self, now: float) -> None:
        """Time moves on, and with it the hedges that are allowed per second."""
        for pool in self.gate._fleet.pools.values():
            if pool.spec.hedge is not None:
                self.allow_hedges(pool.spec.name, (now - self.now) * pool.spec.hedge.budget_min_per_s)
        self.now = now

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
        session=st.sampled_from(["", "", "s1", "s2"]),
    )
    def arrive(
        self, model: str, tenant: str, client_id: str, repeatable: bool, stream: bool, body: int, path: str,
        priority: int, tier: str, latency_s: float | None, session: str = "",
    ) -> None:  # fmt: skip
        self.count += 1
        made = Call(
            f"c{self.count}", model=model, tenant=tenant, client_id=client_id, repeatable=repeatable, stream=stream,
            body_bytes=body, path=path, priority=priority, tier=tier, latency_s=latency_s,
            session=session,
        )  # fmt: skip
        taken = client_id and any((o.tenant, o.client_id) == (tenant, client_id) for o in self.open.values())
        self.open[made.id] = made
        self.allowed[made.id] = ATTEMPTS * max(1, len(self.gate.catalog.targets(made))) + 1
        self.tell(Arrived(made))
        if taken:
            assert made.id in self.recorded, "an id of this tenant is in flight twice"

    def under_way(self, data: Any) -> tuple[str, int]:
        return data.draw(st.sampled_from(sorted(self.out)), "call")  # type: ignore[no-any-return]

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def begin(self, data: Any) -> None:
        call_id, attempt = self.under_way(data)
        self.begun.add(call_id)
        self.tell(Began(call_id, attempt))
        assert self.running(call_id) == [attempt], "the loser goes on"

    @precondition(lambda self: self.out)
    @rule(data=st.data(), status=st.sampled_from([200, 200, 400]))
    def end(self, data: Any, status: int) -> None:
        call_id, attempt = self.under_way(data)
        del self.out[call_id, attempt]
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
        del self.out[call_id, attempt]
        left = self.running(call_id)
        self.tell(Failed(call_id, attempt, label, status, retry_after_s))
        if left:
            assert self.running(call_id) == left, "the other attempt does not simply go on"
        elif call_id in self.begun or not REFUSALS[label].retryable:
            assert call_id in self.recorded

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), label=st.sampled_from(UPSTREAM), kind=st.integers(0, 2))
    def stale(self, data: Any, label: Label, kind: int) -> None:
        """A fact about an attempt that is not under way (any more) changes nothing."""
        call_id = data.draw(st.sampled_from(sorted(self.attempts)), "call")
        attempts = [n for n in range(self.attempts[call_id] + 2) if (call_id, n) not in self.out]
        attempt = data.draw(st.sampled_from(attempts), "attempt")
        before = self.gate.counts()
        facts: list[Event] = [Began(call_id, attempt), Ended(call_id, attempt, 200), Failed(call_id, attempt, label)]
        self.tell(facts[kind])
        assert self.gate.counts() == before

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        """A client leaves in whatever state its call is, or after it."""
        call_id = f"c{data.draw(st.integers(1, self.count), 'call')}"
        self.tell(ClientGone(call_id, 2))
        assert call_id in self.recorded
        assert not self.running(call_id), "left alone at its engine"

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
            self.allowed[call_id] = self.attempts.get(call_id, 0) + 3 * ATTEMPTS + 1
        self.spec = spec
        self.tell(Reconfigured(spec))
        self.fleet = {seat.id: seat.replica for seat in self.gate._fleet.seats.values()}
        assert {call_id for call_id, _ in self.out} <= held

    # ===== time =====

    @rule(step_s=st.sampled_from([0.0, 0.3, 1.0, 4.0, 40.0]))
    def time_passes(self, step_s: float) -> None:
        """The pump wakes the Gate at every time it asked for on the way."""
        until = self.now + step_s
        for _ in range(2000):
            wake = self.gate.next_wake()
            if wake is None or wake > until:
                break
            self.go_to(max(self.now, wake))
            self.tell(Woke())
            after = self.gate.next_wake()
            assert after is None or after >= self.now, "asks to be woken in the past"
        else:
            pytest.fail("asks to be woken for ever")
        self.go_to(until)
        self.benches_make_way()

    @rule(step_s=st.sampled_from([1.0, 50.0]))
    def time_jumps(self, step_s: float) -> None:
        """A stalled process: time has passed and nobody woke the Gate."""
        self.go_to(self.now + step_s)

    # ===== always =====

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "gate"):
            return
        counts = self.gate.counts()
        assert counts["flights"] == len(self.open)
        assert counts["held_ids"] == sum(bool(call.client_id) for call in self.open.values())
        assert counts["waiting"] + len({call_id for call_id, _ in self.out}) <= len(self.open)
        assert counts["waiting"] == sum(view.queued for view in self.gate.pools(self.now)) + barred(self.gate)
        held = len(self.out) + len(self.benches)
        assert counts["seats_taken"] <= held
        seats = [*self.gate._fleet.seats.values(), *self.gate._fleet._leaving]
        assert sum(seat.in_flight for seat in seats) == held, "an attempt without its seat, or the reverse"
        due = [call_id for call_id, flight in self.gate._calls._flights.items() if flight.hedge == "due"]
        assert due == [] or {call_id for call_id, _ in self.out} >= set(due)
        assert sorted(due) == sorted(key[1] for key in self.gate._timers._when if key[0] == "hedge")

    @invariant()
    def nobody_waits_beside_a_free_seat(self) -> None:
        """Work-conserving, save where somebody is held back on purpose; and whoever waits is counted once."""
        if not hasattr(self, "gate"):
            return
        for pool in self.gate._fleet.pools.values():
            assert_work_goes_on(pool)
        assert_counted(self.gate)

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
        if self.gate.counts()["waiting"]:  # nobody starves: without any further fact whoever waits is served or expires
            self.time_passes(121.0)  # for a limit some seconds, and then a minute in a pool's waiting room
        assert self.gate.counts()["waiting"] == 0
        for call_id in list(self.open):
            self.tell(ClientGone(call_id))
        self.end_benches()
        assert not any(self.gate.counts().values())
        assert len(self.recorded) == self.count
        for seat in self.gate._fleet.seats.values():
            assert seat.in_flight == 0
        for pool in self.gate._fleet.pools.values():
            assert (pool.counts.calls, pool.counts.bytes, pool.counts.by_tenant) == (0, 0, {})
            assert not any(pool.counts.by_priority)
            assert not pool.lines
            assert pool.pins is None or not pool.pins.lines
        assert not [key for key in self.gate._timers._when if key[0] in ("wait", "pause", "hedge")]
        assert self.out == {}


@pytest.mark.slow
def test_whatever_is_told_the_gate_keeps_its_promises() -> None:
    """Every call ends exactly once, bounds hold, nothing leaks, nothing raises, whatever facts come in what order."""
    run_state_machine_as_test(GateMachine, settings=settings(max_examples=100, stateful_step_count=40))


class HedgingMachine(GateMachine):
    """The same in a world where slow calls find other replicas: all pools hedge, more replicas are there."""

    @initialize(spec=specs(hedging=True), fleet=replicas(least=3), seed=st.integers(0, 9))
    def start(self, spec: parts.GateSpec, fleet: tuple[Replica, ...], seed: int) -> None:
        super().start(spec, fleet, seed)

    @rule(stream=st.booleans(), wait_s=st.sampled_from([0.2, 2.0]), tenant=st.sampled_from(TENANTS))
    def slow_call(self, stream: bool, wait_s: float, tenant: str) -> None:
        self.arrive("m", tenant, "", True, stream, 1, "/v1/chat/completions", 2, "standard", None)
        self.time_passes(wait_s)

    @rule(fleet=replicas(least=3))
    def fleet_seen(self, fleet: tuple[Replica, ...]) -> None:
        self.tell_fleet(fleet)

    @rule(spec=specs(hedging=True))
    def reconfigured(self, spec: parts.GateSpec) -> None:
        super().reconfigured(spec)


@pytest.mark.slow
def test_with_two_attempts_at_once_it_keeps_them_too() -> None:
    """Hedges hold a seat each and give it back, whoever wins, fails or leaves; and keep to their budget."""
    run_state_machine_as_test(HedgingMachine, settings=settings(max_examples=100, stateful_step_count=40))
