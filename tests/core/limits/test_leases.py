"""Leases, as playbooks: what is asked of the store and when, who waits for it, who is sent away with what answer."""

from typing import Any

import pytest

from penstock.base.leases import Answer, Ask, Grant, Want
from penstock.base.nouns import Usage
from penstock.core.effects import Effect, Lease, Refuse, Return, Send
from penstock.core.events import ClientGone, Ended, Leased, LeaseLost, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec, ShapingSpec, SharedSpec
from penstock.core.spec import ExplainSpec, GateSpec
from penstock.telemetry.explain import explain
from tests.core.playbook import arrived, fleet, gate, kinds, nothing_held, pool, refusals, sends

MINUTE = "requests per minute"
T = ("tenant", "t", "")


def house(
    shared: SharedSpec | None = None, seats: int = 99, limits: dict[str, Any] | None = None, **allowance: Any
) -> Gate:
    """One replica, and limits of `t` that are shared."""
    spec = LimitsSpec(tenants={"t": AllowanceSpec(**allowance)}, shared=shared or SharedSpec(), **(limits or {}))
    made = gate(pool(), limits=spec, max_waiting=100, explain=ExplainSpec(calls=10))
    made.on(fleet("a", max_concurrent_requests=seats), 0.0)
    return made


def mine(id: str, **fields: Any) -> Any:
    """A call of `t`."""
    return arrived(id, **{"tenant": "t", "prompt_tokens": 10, "max_tokens": 10, **fields})


def lease(orders: list[Effect]) -> Lease:
    """The one message."""
    (found,) = (order for order in orders if isinstance(order, Lease))
    return found


def answer(
    number: int, granted: int, used: int | None = None, held: int | None = None, what: str = MINUTE, **more: Any
) -> Leased:
    """The store's, about one limit of `t`; its clock is a thousand seconds ahead."""
    taken = granted if used is None else used
    grant = Grant(
        what, granted, taken, granted if held is None else held, more.get("fits_s", 0.0), more.get("free_s", 61.0)
    )
    return Leased(number, 1000.0, (Answer(T, 1.0, (grant,)),))


def over(machine: Gate, id: str, now: float) -> list[Effect]:
    """A call is answered."""
    return machine.on(Ended(id, 1, 200, Usage(10, 10), 10), now)


def until(machine: Gate, end: float) -> list[tuple[float, Effect]]:
    """Alarms ring until then; their orders."""
    found = []
    while (at := machine.next_wake()) is not None and at <= end:
        found += [(at, order) for order in machine.on(Woke(), at)]
    return found


def test_the_first_call_waits_for_a_lease() -> None:
    """It asks for what it needs; what comes after it asks with it; when the store has answered they pass in turn."""
    machine = house(requests_per_minute=10)
    orders = machine.on(mine("c1"), 0.0)
    assert orders == [Lease(1, 3.0, (Ask(T, 1, (Want(MINUTE, 10, (), 0, 1, 1, 0),)),))]
    assert machine.on(mine("c2"), 0.001) == []
    orders = machine.on(answer(1, granted=1), 0.002)
    assert sends(orders) == [("c1", "a")]
    (ask,) = lease(orders).asks
    assert ask.wants == (Want(MINUTE, 10, ((1000, 1),), 0, 1, 1, 1),)
    assert sends(machine.on(answer(2, granted=1, used=2), 0.003)) == [("c2", "a")]


def test_what_was_granted_ahead_lets_calls_pass_at_once() -> None:
    """Without any message, and down to half of it."""
    machine = house(requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    assert sends(machine.on(answer(1, granted=9), 0.001)) == [("c1", "a")]
    for number in range(2, 6):
        assert kinds(machine.on(mine(f"c{number}"), 0.01)) == ["Send"]
    assert kinds(machine.on(mine("c6"), 0.02)) == ["Send", "Lease"]


def test_clients_are_told_the_shared_truth() -> None:
    """What is left is what the store had left and our own; a refusal comes back when the store said."""
    machine = house(requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    (send, *_) = machine.on(answer(1, granted=1, used=61), 0.001)
    assert isinstance(send, Send)
    assert send.rates is not None
    assert (send.rates.limit_requests, send.rates.remaining_requests) == (100, 39)
    machine.on(mine("c2"), 0.5)
    orders = machine.on(answer(2, granted=0, used=100, held=0, fits_s=20.0), 0.501)
    (refuse,) = (order for order in orders if isinstance(order, Refuse))
    assert (refuse.label, refuse.status) == ("request_limit", 429)
    assert refuse.retry_after_s == 20.0
    assert refuse.rates is not None
    assert refuse.rates.remaining_requests == 0


def test_a_full_limit_is_not_asked_about_for_every_call() -> None:
    """For a quarter of a second what the store said is believed."""
    machine = house(requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    machine.on(answer(1, granted=0, used=100, held=0, fits_s=20.0), 0.001)
    assert refusals(machine.on(mine("c2"), 0.2)) == [("c2", "request_limit", 429)]
    assert kinds(machine.on(mine("c3"), 0.26)) == ["Lease"]


def test_a_call_waits_for_what_others_hold() -> None:
    """It is asked for again every tenth of a second; when it comes back, the call passes."""
    machine = house(requests_per_minute=10)
    machine.on(mine("c1"), 0.0)
    assert machine.on(answer(1, granted=0, used=10, held=4, fits_s=60.0), 0.001) == []
    asked = [at for at, order in until(machine, 0.15) if isinstance(order, Lease)]
    assert asked == [0.1]
    assert machine.on(answer(2, granted=0, used=10, held=4, fits_s=60.0), 0.151) == []
    until(machine, 0.25)
    assert sends(machine.on(answer(3, granted=1, used=9), 0.26)) == [("c1", "a")]


def test_it_waits_as_long_as_its_tenant_says() -> None:
    """Then it is sent away with the limit's answer."""
    machine = house(requests_per_minute=10, wait_s=0.5)
    machine.on(mine("c1"), 0.0)
    machine.on(answer(1, granted=0, used=10, held=4, fits_s=60.0), 0.001)
    found = [order for _, order in until(machine, 0.6) if isinstance(order, Refuse)]
    assert [(order.id, order.label) for order in found] == [("c1", "request_limit")]


def test_what_lies_idle_goes_back() -> None:
    """What was used is told within half a second, and after a second in which nothing was used the lease goes back."""
    machine = house(requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    machine.on(answer(1, granted=9), 0.001)
    over(machine, "c1", 0.01)
    (told,) = ((at, order) for at, order in until(machine, 0.69) if isinstance(order, Lease))
    assert 0.5 <= told[0] <= 0.7
    assert told[1].asks[0].wants[0].used == ((1000, 1),)
    machine.on(answer(2, granted=8, used=9), 0.7)
    (back,) = ((at, order) for at, order in until(machine, 2.0) if isinstance(order, Lease))
    assert back[1].asks[0].wants == (Want(MINUTE, 100, (), 0, 0, 0, 0),)
    machine.on(answer(3, granted=0, used=1), 2.01)
    until(machine, 2.3)
    assert machine.next_wake() is None


def test_without_a_store_limited_tenants_are_refused() -> None:
    """503 and a time, those who wait and those who come; others are served; the store is tried twice a second."""
    machine = house(requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    assert refusals(machine.on(LeaseLost(1, "TimeoutError"), 1.0)) == [("c1", "limits_away", 503)]
    (refuse, *_) = machine.on(mine("c2"), 1.1)
    assert isinstance(refuse, Refuse)
    assert (refuse.label, refuse.retry_after_s) == ("limits_away", 1.0)
    assert "tenant t is limited" in refuse.detail
    assert sends(machine.on(arrived("c3"), 1.1)) == [("c3", "a")]
    assert [at for at, order in until(machine, 1.65) if isinstance(order, Lease)] == [pytest.approx(1.5)]
    machine.on(answer(2, granted=3), 1.6)
    assert sends(machine.on(mine("c4"), 1.7)) == [("c4", "a")]


def test_without_a_store_a_share_may_be_served() -> None:
    """Of what is set aside, by who has heard the store before; and when the store is back it hears of it."""
    machine = house(SharedSpec(away="local", share=0.2, aside=0.1), requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    assert refusals(machine.on(LeaseLost(1), 1.0)) == [("c1", "limits_away", 503)]  # it has never heard the store
    machine.on(mine("c2"), 1.1)
    ((_, again),) = (found for found in until(machine, 1.65) if isinstance(found[1], Lease))
    assert isinstance(again, Lease)
    machine.on(answer(again.number, 0), 1.7)
    ((_, beat),) = (found for found in until(machine, 2.75) if isinstance(found[1], Lease))
    assert isinstance(beat, Lease)
    machine.on(LeaseLost(beat.number), 3.7)
    assert sends(machine.on(mine("c3"), 3.8)) == [("c3", "a")]
    assert sends(machine.on(mine("c4"), 3.9)) == [("c4", "a")]
    assert refusals(machine.on(mine("c5"), 4.0)) == [("c5", "limits_away", 503)]
    ((_, again),) = (found for found in until(machine, 4.3) if isinstance(found[1], Lease))
    assert isinstance(again, Lease)
    assert sum(amount for _, amount in again.asks[0].wants[0].used) == 2
    assert again.asks[0].wants[0].kept == 0


def test_who_may_go_on_without_the_store_asks_whether_it_is_there() -> None:
    """Once a second, though no call comes, so that all know at the same time when it goes; who refuses says nothing."""
    for away, most in (("local", 6), ("refuse", 3)):
        machine = house(SharedSpec(away=away), requests_per_minute=100)  # type: ignore[arg-type]
        machine.on(mine("c1"), 0.0)
        machine.on(answer(1, 1), 0.1)
        over(machine, "c1", 0.2)
        said = 0
        for second in range(1, 11):
            for at, order in until(machine, float(second)):
                if isinstance(order, Lease):
                    said += 1
                    machine.on(answer(order.number, 0) if order.asks else Leased(order.number, 1000.0, ()), at)
        assert (said >= most) == (away == "local")


def test_a_message_that_was_lost_is_told_again_as_the_same() -> None:
    """What was used is told under the number under which it was told first."""
    machine = house(requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    machine.on(answer(1, granted=1), 0.001)
    ((_, told),) = (found for found in until(machine, 0.69) if isinstance(found[1], Lease))
    assert isinstance(told, Lease)
    machine.on(LeaseLost(told.number), 1.7)
    ((_, again),) = (found for found in until(machine, 2.3) if isinstance(found[1], Lease))
    assert isinstance(again, Lease)
    assert again.number > told.number
    assert (again.asks[0].batch, again.asks[0].wants[0].used) == (told.asks[0].batch, told.asks[0].wants[0].used)


def test_late_answers_mean_nothing() -> None:
    """Of a message that was given up, or of none."""
    machine = house(requests_per_minute=100)
    machine.on(answer(7, granted=100), 0.0)
    machine.on(mine("c1"), 0.0)
    machine.on(LeaseLost(1), 1.0)
    machine.on(answer(1, granted=100), 1.1)
    machine.on(LeaseLost(1), 1.1)
    assert refusals(machine.on(mine("c2"), 1.2)) == [("c2", "limits_away", 503)]


def test_who_waits_for_the_store_may_leave() -> None:
    """Nothing is held for it."""
    machine = house(requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    assert kinds(machine.on(ClientGone("c1"), 0.001)) == ["Record"]
    machine.on(answer(1, granted=1), 0.002)
    assert nothing_held(machine)
    assert machine.accounts(0.1)[0].in_flight == 0


def test_calls_at_once_are_shared_too() -> None:
    """What is in flight is kept; a call beyond waits a moment for leases that lie idle elsewhere."""
    machine = house(concurrency=2)
    machine.on(mine("c1"), 0.0)
    assert sends(machine.on(answer(1, granted=1, what="calls at once"), 0.001)) == [("c1", "a")]
    (ask,) = lease(machine.on(mine("c2"), 0.01)).asks
    assert ask.wants == (Want("calls at once", 2, (), 1, 1, 1, 1),)
    machine.on(answer(2, granted=1, used=2, what="calls at once"), 0.02)
    found = [order for _, order in until(machine, 1.0) if isinstance(order, Refuse)]
    assert [order.label for order in found] == ["concurrency_limit"]


def test_budgets_that_do_not_stop_are_only_told() -> None:
    """warn: calls pass, with and without a lease, and what they cost is told; throttle: one at a time beyond it."""
    prices = {"m": PriceSpec(prompt=1_000_000.0)}
    machine = house(limits={"prices": prices}, budget_per_day=1.0, over_budget="warn")
    assert kinds(machine.on(mine("c1"), 0.0)) == ["Send", "Lease"]
    machine.on(answer(1, granted=0, used=10**9, held=0, what="budget per day"), 0.001)
    assert kinds(machine.on(mine("c2"), 0.01)) == ["Send"]
    slow = house(limits={"prices": prices}, budget_per_day=1.0, over_budget="throttle")
    assert "Send" in kinds(slow.on(mine("c1"), 0.0))
    assert refusals(slow.on(mine("c2"), 0.01)) == [("c2", "concurrency_limit", 429)]


def test_a_call_larger_than_a_limit_asks_nobody() -> None:
    """413 at once."""
    machine = house(tokens_per_minute=15)
    assert refusals(machine.on(mine("c1"), 0.0)) == [("c1", "too_large", 413)]


def test_shaping_stays_with_each_process() -> None:
    """It smooths, and bounds nobody: no message is about it."""
    machine = house(limits={"shaping": ShapingSpec(burst=1, per_second=1.0, wait_s=0.5)}, requests_per_minute=9)
    assert lease(machine.on(mine("c1"), 0.0)).asks[0].account == T
    assert sends(machine.on(answer(1, granted=5), 0.001)) == [("c1", "a")]
    assert refusals(machine.on(mine("c2"), 0.01)) == [("c2", "request_limit", 429)]


def test_the_end_gives_everything_back() -> None:
    """Limits that are no longer shared: what was used is told, the lease goes back, and nothing is asked again."""
    machine = house(requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    machine.on(answer(1, granted=9), 0.001)
    over(machine, "c1", 0.01)
    spec = GateSpec(pools=(pool(),), limits=LimitsSpec(tenants={"t": AllowanceSpec(requests_per_minute=100)}))
    orders = machine.on(Reconfigured(spec), 0.02)
    assert orders == [Return(2, 3.0, (Ask(T, 2, (Want(MINUTE, 100, ((1000, 1),), 0, 0, 0, 0),)),))]
    assert machine.next_wake() is None
    assert sends(machine.on(mine("c2"), 0.03)) == [("c2", "a")]


def test_a_reload_keeps_leases() -> None:
    """A raised limit begins with the lease of the old one, and a limit that falls away gives its lease back in time."""
    machine = house(requests_per_minute=10)
    machine.on(mine("c1"), 0.0)
    machine.on(answer(1, granted=5), 0.001)
    raised = LimitsSpec(tenants={"t": AllowanceSpec(requests_per_minute=20)}, shared=SharedSpec())
    machine.on(Reconfigured(GateSpec(pools=(pool(),), limits=raised)), 0.01)
    assert kinds(machine.on(mine("c2"), 0.02)) == ["Send"]
    none = LimitsSpec(shared=SharedSpec())
    machine.on(Reconfigured(GateSpec(pools=(pool(),), limits=none)), 0.03)
    assert sends(machine.on(mine("c3"), 0.04)) == [("c3", "a")]
    told = [order for _, order in until(machine, 1.0) if isinstance(order, Lease)]
    assert sum(amount for order in told for _, amount in order.asks[0].wants[0].used) == 2


def test_explain_tells_of_the_store() -> None:
    """Why a call waited, or did not pass."""
    machine = house(requests_per_minute=100)
    machine.on(mine("c1"), 0.0)
    machine.on(LeaseLost(1), 1.0)
    trail = machine.trail("c1", 1.0)
    assert trail is not None
    assert "is shared, and its store is asked" in str(explain(trail))
