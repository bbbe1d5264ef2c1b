"""Accounts of tenants, on their own: what calls cost, what idleness is worth, that nobody is kept for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.fair import FEW, Fair, jain
from penstock.core.spec import QueueSpec
from tests.core.playbook import call


def fair(waiting: dict[str, int] | None = None, **fields: float) -> Fair:
    """Accounts with these settings."""
    return Fair(QueueSpec(**fields), waiting if waiting is not None else {})  # type: ignore[arg-type]


def test_a_call_costs_its_prompt_and_twice_its_answer() -> None:
    """The answer is the tenant's mean, 256 tokens at first, but never more than the call's own bound."""
    accounts = fair()
    accounts.charge(call(tenant="a", prompt_tokens=99, max_tokens=50), 0.0)
    accounts.charge(call(tenant="b", prompt_tokens=99), 0.0)
    accounts.charge(call(tenant="c", prompt_tokens=99, max_tokens=5000), 0.0)
    assert [accounts.flow(name, 0.0).tag for name in "abc"] == [200.0, 612.0, 612.0]
    accounts.served("b", 99, 56, 1.0)
    assert accounts.flow("b", 1.0).output == 236.0


def test_weight_divides_the_cost() -> None:
    """A tenant of weight 4 is charged a quarter, also by new settings."""
    accounts = Fair(QueueSpec(weights={"a": 4.0}), {})
    accounts.charge(call(tenant="a", prompt_tokens=99, max_tokens=0), 0.0)
    assert accounts.flow("a", 0.0).tag == 25.0
    accounts.respec(QueueSpec(weights={"a": 2.0}))
    accounts.charge(call(tenant="a", prompt_tokens=99, max_tokens=0), 0.0)
    assert accounts.flow("a", 0.0).tag == 75.0


def test_idleness_is_worth_a_burst_and_no_more() -> None:
    """After another tenant had a hundred calls, who comes back stands `burst` average calls below it, not at 0."""
    accounts = fair(burst=10)
    for _ in range(100):
        accounts.charge(call(tenant="busy", prompt_tokens=99, max_tokens=0), 0.0)
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
        accounts.charge(call(tenant="busy", prompt_tokens=99, max_tokens=0), 0.0)
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
        accounts.charge(call(tenant=f"t{number}", prompt_tokens=10), 0.0)
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
        accounts.charge(call(tenant=name), 0.0)
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
        accounts.charge(call(tenant=tenant, prompt_tokens=prompt, max_tokens=limit), 0.0)
        tag = accounts.flow(tenant, 0.0).tag
        assert tag > last.get(tenant, -1.0)
        last[tenant] = tag


def test_what_a_call_is_expected_to_answer() -> None:
    """256 tokens at first, then the tenant's mean, never more than the call's own bound; charging says the same."""
    accounts = fair()
    assert (accounts.expected(call(tenant="a")), accounts.expected(call(tenant="a", max_tokens=9))) == (256.0, 9)
    assert accounts.charge(call(tenant="a"), 0.0) == 256.0
    accounts.served("a", 10, 56, 1.0)
    assert accounts.expected(call(tenant="a")) == accounts.charge(call(tenant="a"), 1.0) == 236.0


def test_where_a_tenant_stands() -> None:
    """Its account against how far the pool has come, and its weight; looking opens no account."""
    accounts = Fair(QueueSpec(weights={"a": 2.0}, burst=0), {})
    accounts.charge(call(tenant="a", prompt_tokens=99, max_tokens=0), 0.0)
    assert accounts.standing("a") == (50.0, 2.0)
    assert accounts.standing("b") == (0.0, 1.0)
    assert len(accounts) == 1
