"""Accounts of tenants, on their own: what calls cost, what idleness is worth, that nobody is kept for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base.nouns import Call
from penstock.core.events import ClientGone, Ended, Failed, Reconfigured, Woke
from penstock.core.fair import FEW, Fair, jain
from penstock.core.spec import GateSpec, QueueSpec
from tests.core.playbook import arrived, call, house, pool, sends, tell


def fair(waiting: dict[str, int] | None = None, **fields: float) -> Fair:
    """Accounts with these settings."""
    return Fair(QueueSpec(**fields), waiting if waiting is not None else {})  # type: ignore[arg-type]


def charge(accounts: Fair, one: Call, now: float) -> float:
    """Its tenant's call is sent."""
    flow = accounts.takes(one.tenant, now, now)
    flow.returned()
    return accounts.charge(one, flow)


def test_a_call_costs_its_prompt_and_twice_its_answer() -> None:
    """The answer is the tenant's mean, 256 tokens at first, but never more than the call's own bound."""
    accounts = fair()
    charge(accounts, call(tenant="a", prompt_tokens=99, max_tokens=50), 0.0)
    charge(accounts, call(tenant="b", prompt_tokens=99), 0.0)
    charge(accounts, call(tenant="c", prompt_tokens=99, max_tokens=5000), 0.0)
    assert [accounts.flow(name, 0.0).tag for name in "abc"] == [200.0, 612.0, 612.0]
    accounts.served("b", 99, 56, 1.0)
    assert accounts.flow("b", 1.0).output == 236.0


def test_weight_divides_the_cost() -> None:
    """A tenant of weight 4 is charged a quarter, also by new settings."""
    accounts = Fair(QueueSpec(weights={"a": 4.0}), {})
    charge(accounts, call(tenant="a", prompt_tokens=99, max_tokens=0), 0.0)
    assert accounts.flow("a", 0.0).tag == 25.0
    accounts.respec(QueueSpec(weights={"a": 2.0}))
    charge(accounts, call(tenant="a", prompt_tokens=99, max_tokens=0), 0.0)
    assert accounts.flow("a", 0.0).tag == 75.0


def test_idleness_is_worth_a_burst_and_no_more() -> None:
    """After another tenant had a hundred calls, who comes back stands `burst` average calls below it, not at 0."""
    accounts = fair(burst=10)
    for _ in range(100):
        charge(accounts, call(tenant="busy", prompt_tokens=99, max_tokens=0), 0.0)
    busy = accounts.flow("busy", 0.0).tag
    assert busy == 10_000.0
    assert accounts.flow("new", 0.0).tag == pytest.approx(busy - 100.0 - 10 * 100.0)


def test_who_waits_is_not_lifted() -> None:
    """The lift is for who begins to wait: a tenant that has waited long keeps its place."""
    waiting: dict[str, int] = {}
    accounts = fair(waiting, burst=0)
    patient = accounts.flow("patient", 0.0)
    waiting["patient"] = 1
    for _ in range(10):
        charge(accounts, call(tenant="busy", prompt_tokens=99, max_tokens=0), 0.0)
    assert accounts.flow("patient", 0.0).tag == 0.0
    del waiting["patient"]
    assert accounts.flow("patient", 0.0) is patient
    assert patient.tag == 900.0


def test_idle_tenants_are_forgotten_and_waiting_ones_are_not() -> None:
    """However many names come, few are remembered; those that wait keep their account."""
    waiting = {"kept": 1}
    accounts = fair(waiting)
    kept = accounts.flow("kept", 0.0)
    for number in range(20 * FEW):
        charge(accounts, call(tenant=f"t{number}", prompt_tokens=10), 0.0)
    assert len(accounts) <= FEW
    assert accounts.flow("kept", 0.0) is kept


@pytest.mark.parametrize(
    ("shares", "index"), [([], None), ([0.0], None), ([3, 3, 3], 1.0), ([1, 0.0], 1.0), ([1, 2], 0.9), ([9, 0.02], 0.5)]
)
def test_jains_index(shares: list[float], index: float | None) -> None:
    """(Σx)² / (n·Σx²): 1 where all are alike, 1/n where one has everything."""
    assert jain(shares) == (None if index is None else pytest.approx(index, abs=0.01))


def test_the_index_fades_and_weighs() -> None:
    """Tokens by weight of the last minute or so: equal by weight is 1; old tokens count less than new ones."""
    accounts = Fair(QueueSpec(weights={"a": 2.0}), {})
    assert accounts.index(0.0) is None
    for name, tokens in (("a", 200), ("b", 100)):
        charge(accounts, call(tenant=name), 0.0)
        accounts.served(name, tokens, 0, 0.0)
    assert accounts.index(0.0) == pytest.approx(1.0)
    accounts.served("b", 100, 0, 120.0)
    assert (accounts.index(120.0) or 0.0) < 0.7


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5000), st.integers(0, 5000)), max_size=200))
def test_tags_never_fall(story: list[tuple[str, int, int]]) -> None:
    """Whatever is charged, accounts only grow: the heaps of waiting tenants rely on it."""
    accounts = fair(burst=2)
    last: dict[str, float] = {}
    for tenant, prompt, limit in story:
        charge(accounts, call(tenant=tenant, prompt_tokens=prompt, max_tokens=limit), 0.0)
        tag = accounts.flow(tenant, 0.0).tag
        assert tag > last.get(tenant, -1.0)
        last[tenant] = tag


HALF = QueueSpec(max_share=0.5, share_idle_s=5.0, reserve=0.0)


def test_a_tenant_that_holds_its_share_waits_beside_free_seats_while_others_are_about() -> None:
    """With max_share ½ of four seats the third call of a tenant waits, and another tenant's goes at once."""
    gate = house("a", seats=4, queue=HALF)
    assert len(sends(gate.on(arrived("o0", tenant="other"), 0.0))) == 1
    assert len(sends(tell(gate, *[arrived(f"f{n}", tenant="flood") for n in range(5)], now=1.0))) == 2
    assert sends(gate.on(arrived("o1", tenant="other"), 2.0)) == [("o1", "a")]
    assert sends(gate.on(Ended("o0", 1, 200), 3.0)) == []
    assert sends(gate.on(Ended("f0", 1, 200), 4.0)) == [("f2", "a")]


def test_alone_it_may_have_all_seats() -> None:
    """Where nobody else has sent anything for `share_idle`, no seat stays free: that is noticed without any fact."""
    gate = house("a", seats=4, queue=HALF)
    assert len(sends(tell(gate, *[arrived(f"f{n}", tenant="flood") for n in range(9)], now=0.0))) == 4
    gate = house("a", seats=4, queue=HALF)
    tell(gate, arrived("o0", tenant="other"), *[arrived(f"f{n}", tenant="flood") for n in range(9)], now=0.0)
    sent: list[tuple[str, str]] = []
    now = 0.0
    while not sent and (wake := gate.next_wake()) is not None and wake < 20.0:
        now = wake
        sent = sends(gate.on(Woke(), now))
    assert (sent, now) == ([("f2", "a")], 5.0)


def test_a_small_share_is_one_seat_at_least() -> None:
    """A share that is less than a seat still lets a tenant move, one call at a time."""
    gate = house("a", seats=4, queue=QueueSpec(max_share=0.01, reserve=0.0))
    tell(gate, arrived("o0", tenant="other"), now=0.0)
    assert len(sends(tell(gate, *[arrived(f"f{n}", tenant="flood") for n in range(3)], now=0.0))) == 1
    assert sends(gate.on(Ended("f0", 1, 200), 1.0)) == [("f1", "a")]


def test_a_lower_class_passes_who_holds_its_share() -> None:
    """The flood's high calls wait for its own seats; they keep nobody of a lower class waiting."""
    gate = house("a", seats=2, queue=HALF)
    tell(gate, arrived("o0", tenant="other"), now=0.0)
    tell(gate, *[arrived(f"f{n}", tenant="flood", priority=0) for n in range(3)], now=0.0)
    tell(gate, arrived("o1", tenant="third", priority=4), now=0.0)
    assert sends(gate.on(Ended("o0", 1, 200), 1.0)) == [("o1", "a")]
    assert sends(gate.on(Ended("f0", 1, 200), 2.0)) == [("f1", "a")]


SPARE = QueueSpec(reserve=0.25, reserve_cost=1.0, burst=0)


def test_the_last_seats_are_for_others_than_who_holds_much() -> None:
    """With a reserve of one of four seats a tenant that has three waits beside the last one, which somebody else may
    have at once, and another behind him."""
    gate = house("a", seats=4, queue=SPARE)
    gate.on(arrived("o0", tenant="other"), 0.0)
    gate.on(Ended("o0", 1, 200), 0.5)
    assert len(sends(tell(gate, *[arrived(f"f{n}", tenant="flood") for n in range(6)], now=0.8))) == 3
    assert sends(gate.on(arrived("o1", tenant="other"), 0.9)) == [("o1", "a")]
    assert sends(gate.on(Ended("o1", 1, 200), 1.5)) == []
    assert sends(gate.on(arrived("o2", tenant="third"), 1.6)) == [("o2", "a")]
    assert sends(gate.on(Ended("f0", 1, 200), 2.0)) == [("f3", "a")]  # two of four are no more than an equal share
    assert sends(gate.on(Ended("o2", 1, 200), 2.1)) == []


def test_a_reserve_is_kept_for_nobody_where_nobody_is() -> None:
    """A tenant that is alone has all seats, at once or as soon as the others have sent nothing for a second."""
    gate = house("a", seats=4, queue=SPARE)
    assert len(sends(tell(gate, *[arrived(f"f{n}", tenant="flood") for n in range(6)], now=0.0))) == 4
    gate = house("a", seats=4, queue=SPARE)
    gate.on(arrived("o0", tenant="other"), 0.0)
    gate.on(Ended("o0", 1, 200), 0.5)
    assert len(sends(tell(gate, *[arrived(f"f{n}", tenant="flood") for n in range(6)], now=0.8))) == 3
    sent: list[tuple[str, str]] = []
    now = 0.8
    while not sent and (wake := gate.next_wake()) is not None and wake < 20.0:
        now = wake
        sent = sends(gate.on(Woke(), now))
    assert (sent, now) == ([("f3", "a")], 1.3)


def test_a_reserve_costs_what_it_may_and_then_rests() -> None:
    """A seat of four is kept for calls that come all the time from others, while the flood waits for it, until it has
    been idle for half of what four seats may be in 20 s (2 %: 1.6 s). Then the flood gets it at once."""
    gate = house("a", seats=4, queue=QueueSpec(burst=0))
    gate.on(arrived("o-1", tenant="other"), 0.0)
    gate.on(Ended("o-1", 1, 200), 0.05)
    tell(gate, *[arrived(f"f{n}", tenant="flood") for n in range(90)], now=0.1)
    taken, fair = [], gate._fleet.pools["main"].fair
    for number in range(60):
        now = 0.2 + number * 0.1
        gate.on(arrived(f"o{number}", tenant=f"other{number}"), now)
        gate.on(Ended(f"o{number}", 1, 200), now + 0.01)
        taken.append(fair.held)
    assert taken[:8] == [3] * 8
    assert taken[11:] == [4] * 49


def test_asking_who_is_capped_keeps_nobody() -> None:
    """It is asked for explanations, which decide nothing: only what a tenant is really kept from is noted as kept."""
    gate = house("a", "b", seats=2, queue=HALF)
    tell(gate, arrived("o0", tenant="other"), *[arrived(f"f{n}", tenant="flood") for n in range(2)], now=0.0)
    fair = gate._fleet.pools["main"].fair
    assert not fair.kept
    assert (fair.capped("flood"), fair.capped("other"), fair.capped("nobody")) == (True, False, False)
    assert not fair.kept


def test_one_tenant_alone_is_never_asked_what_it_holds() -> None:
    """Until a second tenant sends something the pool keeps nobody from anything, though seats are counted all the
    while, and once the other is gone that is so again."""
    gate = house("a", seats=4)
    fair = gate._fleet.pools["main"].fair
    tell(gate, *[arrived(f"f{n}", tenant="flood") for n in range(6)], now=0.0)
    assert (fair.caps, fair.held, fair.holders) == (False, 4, 1)
    gate.on(arrived("o0", tenant="other"), 1.0)
    assert fair.caps
    gate.on(Ended("f0", 1, 200), 2.0)
    gate.on(Ended("o0", 1, 200), 3.0)
    gate.on(arrived("f6", tenant="flood"), 9.0)
    gate.on(Ended("f1", 1, 200), 9.1)
    assert (fair.caps, fair.held, fair.holders) == (False, 4, 1)


def test_who_has_had_little_may_take_the_reserve_with_many_calls_at_once() -> None:
    """It is kept from whoever has had more than most, not from whoever holds seats at the moment."""
    gate = house("a", seats=8, queue=QueueSpec(reserve=0.5, reserve_cost=1.0))
    for number in range(40):
        gate.on(arrived(f"f{number}", tenant="flood"), number * 0.1)
        gate.on(Ended(f"f{number}", 1, 200), number * 0.1 + 0.05)
    assert len(sends(tell(gate, *[arrived(f"o{n}", tenant="other") for n in range(8)], now=4.0))) == 8


def test_what_it_holds_is_given_back_however_it_ends() -> None:
    """Failed, left, ended, and across settings that switch the limit off and on: no seat stays counted."""
    gate = house("a", "b", seats=2, queue=HALF)
    tell(gate, arrived("o0", tenant="other"), *[arrived(f"f{n}", tenant="flood") for n in range(2)], now=0.0)
    gate.on(Failed("f0", 1, "connect_refused"), 1.0)
    gate.on(ClientGone("f0"), 2.0)
    for queue in (QueueSpec(reserve=0.0), HALF):
        gate.on(Reconfigured(GateSpec(pools=(pool(queue=queue),), max_waiting=10)), 3.0)
        tell(gate, arrived(f"g{queue.max_share}", tenant="flood"), now=3.0)
    for id in ("f1", "g1.0", "g0.5", "o0"):
        gate.on(Ended(id, 1, 200), 4.0)
    flows = gate._fleet.pools["main"].fair._flows
    assert {name: flow.held for name, flow in flows.items()} == {"other": 0, "flood": 0}
    fair = gate._fleet.pools["main"].fair
    assert (fair.held, fair.holders) == (0, 0)


def test_what_a_call_is_expected_to_answer() -> None:
    """256 tokens at first, then the tenant's mean, never more than the call's own bound; charging says the same."""
    accounts = fair()
    assert (accounts.expected(call(tenant="a")), accounts.expected(call(tenant="a", max_tokens=9))) == (256.0, 9)
    assert charge(accounts, call(tenant="a"), 0.0) == 256.0
    accounts.served("a", 10, 56, 1.0)
    assert accounts.expected(call(tenant="a")) == charge(accounts, call(tenant="a"), 1.0) == 236.0


def test_where_a_tenant_stands() -> None:
    """Its account against how far the pool has come, and its weight; looking opens no account."""
    accounts = Fair(QueueSpec(weights={"a": 2.0}, burst=0), {})
    charge(accounts, call(tenant="a", prompt_tokens=99, max_tokens=0), 0.0)
    assert accounts.standing("a") == (50.0, 2.0)
    assert accounts.standing("b") == (0.0, 1.0)
    assert len(accounts) == 1
