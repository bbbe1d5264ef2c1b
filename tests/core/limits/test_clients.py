"""A plain rate of every client: exact, bounded, and nobody pays for another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.effects import Refuse
from penstock.core.events import Arrived, Ended, Reconfigured
from penstock.core.limits.clients import MOST_CLIENTS, Clients
from penstock.core.limits.spec import LimitsSpec
from penstock.core.spec import GateSpec
from tests.core.playbook import call, fleet, gate, kinds, nothing_held, pool


def passed(clients: Clients, times: list[float], who: str = "a") -> list[float]:
    """When the calls of one client passed."""
    return [at for at in times if clients.wait_s(who, at) == 0.0]


def test_so_many_at_once_and_then_so_many_a_second() -> None:
    """A flood of ten seconds gets the burst and ten seconds of the rate, not one more."""
    flood = [number / 1000 for number in range(10_000)]
    assert len(passed(Clients(100), flood)) == 100 + 1000 - 1


def test_who_keeps_to_the_rate_is_never_refused() -> None:
    """For an hour, with the rounding of floats, at rates that divide a second badly."""
    for per_s in (1, 3, 7, 100):
        clients = Clients(per_s)
        assert len(passed(clients, [1e9 + number / per_s for number in range(3600)])) == 3600


@pytest.mark.slow
@given(st.integers(1, 20), st.lists(st.floats(0.0, 0.5), max_size=200))
def test_no_span_of_time_has_more_than_its_share(per_s: int, gaps: list[float]) -> None:
    """However they come: in any span, the burst and what the rate gives in that time."""
    times, now = list[float](), 0.0
    for gap in gaps:
        now += gap
        times.append(now)
    some = passed(Clients(per_s), times)
    for first in range(len(some)):
        for last in range(first, len(some)):
            assert last - first + 1 <= per_s + (some[last] - some[first]) * per_s + 1e-6


@given(st.integers(1, 50), st.floats(0.0, 3.0))
def test_the_time_that_is_told_is_enough(per_s: int, at: float) -> None:
    """Who is refused and comes again then passes."""
    clients = Clients(per_s)
    for _ in range(per_s):
        assert clients.wait_s("a", at) == 0.0
    wait_s = clients.wait_s("a", at)
    assert 0.0 < wait_s <= 1.0 / per_s + 1e-9
    assert clients.wait_s("a", at + wait_s) == 0.0


def test_clients_do_not_pay_for_each_other() -> None:
    """One's flood costs another nothing."""
    clients = Clients(2)
    assert passed(clients, [0.0] * 5) == [0.0, 0.0]
    assert passed(clients, [0.0] * 5, "b") == [0.0, 0.0]


def test_those_that_were_silent_for_longest_are_forgotten() -> None:
    """However many names come, so many are remembered; those that still send, refused or not, are among them."""
    clients = Clients(1, most=3)
    for who in ("a", "b", "c", "a", "d"):
        clients.wait_s(who, 0.0)
    assert len(clients) == 3
    assert clients.wait_s("a", 0.0) > 0.0
    assert clients.wait_s("b", 0.0) == 0.0
    assert MOST_CLIENTS == 100_000


# ===== in the Gate =====


def limited(per_s: int | None) -> GateSpec:
    """One pool, and this plain rate."""
    return GateSpec(pools=(pool(),), limits=LimitsSpec(per_client=per_s))


def test_the_gate_refuses_who_is_too_fast() -> None:
    """By the key's name, else by what the edge says of the client; with the time after which it may come again; and
    nothing is held of it."""
    machine = gate(pool(), limits=LimitsSpec(per_client=2))
    machine.on(fleet("a", max_concurrent_requests=9), 0.0)
    orders = [machine.on(Arrived(call(f"k{number}", key="one"), "", "@1"), 0.0) for number in range(2)]
    orders += [machine.on(Arrived(call(f"a{number}"), "", "@2"), 0.0) for number in range(3)]
    assert [kinds(some) for some in orders] == [["Send"], ["Send"], ["Send"], ["Send"], ["Refuse", "Record"]]
    refuse = orders[-1][0]
    assert isinstance(refuse, Refuse)
    assert (refuse.label, refuse.status, refuse.retry_after_s) == ("request_limit", 429, 0.5)
    for id in ("k0", "k1", "a0", "a1"):
        machine.on(Ended(id, 1, 200), 1.0)
    assert nothing_held(machine)


@pytest.mark.parametrize("other, passes", [(None, True), (2, False), (50, True)])
def test_a_reload_keeps_what_was_counted_unless_the_rate_changes(other: int | None, passes: bool) -> None:
    """The same rate goes on; another begins anew; none lets everybody pass."""
    machine = gate(pool(), limits=LimitsSpec(per_client=2))
    machine.on(fleet("a", max_concurrent_requests=9), 0.0)
    for number in range(2):
        machine.on(Arrived(call(f"a{number}"), "", "@2"), 0.0)
    machine.on(Reconfigured(limited(other)), 0.0)
    assert (kinds(machine.on(Arrived(call("a2"), "", "@2"), 0.0)) == ["Send"]) is passes
