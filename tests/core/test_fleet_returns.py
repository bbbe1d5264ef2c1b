"""Replicas that leave the fleet and return to it at the same address."""

from penstock.core.effects import Forget
from penstock.core.events import Ended, Failed, FleetSeen, Probed
from penstock.core.spec import ProbeSpec, RetrySpec
from tests.core.playbook import arrived, fleet, gate, house, pool, record, send, sends, tell

ONCE = RetrySpec(attempts=1)


def test_a_replica_that_returns_has_the_calls_that_it_had() -> None:
    """Who leaves and comes back while it works (its readiness flaps) has no seats beside those that are taken."""
    machine = house("a", seats=2, retries=ONCE)
    tell(machine, arrived("c0"), Failed("c0", 1, "upstream_5xx"), arrived("c1"), arrived("c2"), now=0.0)
    for at in (1.0, 3.0):
        assert machine.on(FleetSeen(()), at) == []
        assert machine.on(fleet("a", max_concurrent_requests=2), at + 1.0) == []
    (view,) = machine.replicas(4.0)
    assert (view.in_flight, view.state, view.suspect) == (2, "busy", False)
    assert machine.on(arrived("c3"), 5.0) == []
    assert machine.on(Ended("c1", 1, 200), 6.0) == [record("c1", latency_s=6.0), send("c3", 1, "a", queue_s=1.0)]
    tell(machine, Ended("c2", 1, 200), Ended("c3", 1, 200), now=7.0)
    assert machine.counts()["seats_taken"] == 0
    assert machine.on(FleetSeen(()), 8.0) == [Forget("a")]


def test_a_replica_that_returns_begins_anew_but_for_its_calls() -> None:
    """Its breaker is closed, and it needs a good probe: what was known of its health may be of another process."""
    machine = gate(pool(probe=ProbeSpec(), retries=ONCE))
    machine.on(fleet("a", max_concurrent_requests=9), 0.0)
    machine.on(Probed("a", True), 0.0)
    tell(machine, *(arrived(f"c{n}") for n in range(6)), now=0.0)
    tell(machine, *(Failed(f"c{n}", 1, "upstream_5xx") for n in range(5)), now=1.0)
    assert machine.replicas(1.0)[0].breaker == "open"
    machine.on(FleetSeen(()), 2.0)
    machine.on(fleet("a", max_concurrent_requests=9), 3.0)
    (view,) = machine.replicas(3.0)
    assert (view.breaker, view.state, view.in_flight) == ("closed", "warming", 1)
    machine.on(Probed("a", True), 4.0)
    assert sends(machine.on(arrived("c9"), 4.0)) == [("c9", "a")]
