"""Playbooks of replicas: joining, probes, breakers, pauses, draining, leaving, looks; with literal times."""

import pytest

from penstock.base.nouns import EngineStats
from penstock.core.effects import Forget, Probe
from penstock.core.events import Began, Ended, Event, Failed, FleetSeen, Listed, Observed, Probed, Reconfigured, Woke
from penstock.core.fleet import LIST_S, WARMING_S
from penstock.core.gate import Gate
from penstock.core.spec import GateSpec, ProbeSpec, RetrySpec, ScrapeSpec
from tests.core.playbook import (
    arrived,
    fleet,
    gate,
    house,
    looks,
    pool,
    record,
    replica,
    send,
    sends,
    states,
    stats,
    tell,
)

ONCE = RetrySpec(attempts=1)

# ===== probes =====


def probed_house(*ids: str) -> Gate:
    """A pool with probes every 10 s."""
    machine = gate(pool(probe=ProbeSpec()))
    machine.on(fleet(*ids), 0.0)
    return machine


def test_a_new_replica_warms_until_one_good_probe() -> None:
    """Nothing is sent to a new replica before its first good probe, and one is enough."""
    machine = probed_house("a")
    assert states(machine) == {"a": "warming"}
    assert not machine.ready()
    assert machine.on(Woke(), 0.0) == [Probe("a", "health", 5.0)]
    machine.on(arrived("c1"), 0.5)
    machine.on(Probed("a", False), 0.6)
    assert states(machine) == {"a": "warming"}
    assert machine.on(Probed("a", True), 1.7) == [send("c1", 1, "a", queue_s=1.2)]
    assert machine.ready()


def test_a_warming_replica_is_probed_every_second_and_a_healthy_one_every_ten() -> None:
    """The time between probes follows the state, give or take a tenth so that replicas do not come in volleys."""
    machine = probed_house("a")
    machine.on(Woke(), 0.0)
    wake = machine.next_wake()
    assert wake is not None
    assert 0.9 * WARMING_S <= wake <= 1.1 * WARMING_S
    machine.on(Probed("a", True), 0.5)
    machine.on(Woke(), wake)
    after = machine.next_wake()
    assert after is not None
    assert 9.0 <= after - wake <= 11.0


def test_three_bad_probes_take_a_replica_out_and_two_good_ones_bring_it_back() -> None:
    """Two bad probes or one good one change nothing; a good one in between starts the count anew."""
    machine = probed_house("a")
    machine.on(Probed("a", True), 0.0)
    for n, (ok, state) in enumerate(
        [
            (False, "healthy"), (False, "healthy"), (True, "healthy"), (False, "healthy"), (False, "healthy"),
            (False, "unhealthy"), (True, "unhealthy"), (False, "unhealthy"), (True, "unhealthy"), (True, "healthy"),
        ]
    ):  # fmt: skip
        machine.on(Probed("a", ok), float(n))
        assert states(machine) == {"a": state}, n


def test_probes_do_not_end_what_is_in_flight() -> None:
    """A replica that probes took out finishes the calls it has and gets no new ones."""
    machine = probed_house("a")
    machine.on(Probed("a", True), 0.0)
    machine.on(arrived("c1"), 0.0)
    tell(machine, *(Probed("a", False) for _ in range(3)), now=1.0)
    assert machine.on(arrived("c2"), 2.0) == []
    assert machine.on(Ended("c1", 1, 200), 3.0) == [record("c1", latency_s=3.0)]
    tell(machine, Probed("a", True), now=4.0)
    assert machine.on(Probed("a", True), 5.0) == [send("c2", 1, "a", queue_s=3.0)]


def test_what_is_told_of_unknown_replicas_means_nothing() -> None:
    """Probes, numbers and lists of replicas that are not in the fleet are let fall."""
    machine = house("a")
    facts: list[Event] = [Probed("z", True), Observed("z", stats(waiting=1)), Observed("z", None), Listed("z", ("m",))]
    assert tell(machine, *facts, now=0.0) == []
    assert states(machine) == {"a": "healthy"}


def test_missed_looks_are_not_made_up_for() -> None:
    """After a stall of minutes a replica is looked at once, not once for every look that was missed."""
    machine = probed_house("a")
    tell(machine, Woke(), Probed("a", True), now=0.0)
    assert looks(machine.on(Woke(), 500.0)) == [("a", "health")]
    wake = machine.next_wake()
    assert wake is not None
    assert wake > 500.0


# ===== the engine's own numbers =====


def scraped_house() -> Gate:
    """A pool with scrapes every 2 s whose numbers are stale after 10 s, and one vLLM in it."""
    machine = gate(pool(scrape=ScrapeSpec()))
    machine.on(fleet("a", engine="vllm", max_concurrent_requests=4), 0.0)
    return machine


def test_a_queue_over_fifty_makes_a_replica_not_ready() -> None:
    """An engine that reports more than 50 waiting gets nothing new until it reports fewer."""
    machine = scraped_house()
    machine.on(Observed("a", stats(waiting=50)), 0.0)
    assert sends(machine.on(arrived("c1"), 0.0)) == [("c1", "a")]
    machine.on(Observed("a", stats(waiting=51)), 1.0)
    assert machine.on(arrived("c2"), 1.0) == []
    assert sends(machine.on(Observed("a", stats(waiting=50)), 3.0)) == [("c2", "a")]


def test_stale_numbers_do_not_keep_a_replica_out() -> None:
    """A failed scrape changes nothing while the old numbers are fresh; once they are stale they count no more."""
    machine = scraped_house()
    machine.on(Observed("a", stats(waiting=60)), 0.0)
    machine.on(arrived("c1"), 1.0)
    assert machine.on(Observed("a", None), 9.9) == []
    assert sends(machine.on(Observed("a", None), 10.0)) == [("c1", "a")]


def test_stale_numbers_do_not_count_as_load() -> None:
    """The engine's queue is part of the load score for ten seconds."""
    machine = scraped_house()
    machine.on(Observed("a", stats(waiting=50)), 0.0)
    assert machine.replicas(9.9)[0].load == pytest.approx(0.15)
    assert machine.replicas(10.0)[0].load == 0.0
    assert machine.replicas(12.5)[0].stats_age_s == 12.5


def test_a_replica_is_not_kept_out_by_numbers_that_nobody_reads_any_more() -> None:
    """Switching scrapes off, or the engine to one without numbers, ends what the last numbers said."""
    off = GateSpec(pools=(pool(scrape=ScrapeSpec(enabled=False)),))
    for fact in (Reconfigured(off), fleet("a", engine="generic")):
        machine = scraped_house()
        machine.on(Observed("a", stats(waiting=60)), 0.0)
        machine.on(arrived("c1"), 0.0)
        assert sends(machine.on(fact, 1.0)) == [("c1", "a")]


def test_only_engines_with_numbers_are_scraped() -> None:
    """A generic server is never asked for metrics."""
    machine = gate(pool(scrape=ScrapeSpec()))
    machine.on(FleetSeen((replica("a", engine="vllm"), replica("b"))), 0.0)
    assert machine.on(Woke(), 0.0) == [Probe("a", "stats", 5.0)]
    wake = machine.next_wake()
    assert wake is not None
    assert 1.8 <= wake <= 2.2


def test_a_replica_whose_description_changed_is_looked_at_as_it_now_is() -> None:
    """A replica that turns out to be a vLLM is scraped from then on."""
    machine = gate(pool(scrape=ScrapeSpec()))
    machine.on(fleet("a"), 0.0)
    assert machine.next_wake() is None
    machine.on(fleet("a", engine="vllm"), 1.0)
    assert machine.on(Woke(), 1.0) == [Probe("a", "stats", 5.0)]


def test_a_snapshot_that_changes_nothing_orders_nothing() -> None:
    """Sources repeat themselves: the same fleet again moves no alarm."""
    machine = probed_house("a")
    tell(machine, Woke(), Probed("a", True), now=0.0)
    wake = machine.next_wake()
    assert machine.on(fleet("a"), 0.5) == []
    assert machine.next_wake() == wake


# ===== discovered models =====


def test_models_are_asked_for_where_nobody_names_them() -> None:
    """Every second until the engine has listed some, then every half minute."""
    machine = gate(pool(models=()))
    machine.on(fleet("a"), 0.0)
    assert machine.on(Woke(), 0.0) == [Probe("a", "models", 5.0)]
    wake = machine.next_wake()
    assert wake is not None
    assert 0.9 * WARMING_S <= wake <= 1.1 * WARMING_S
    machine.on(Listed("a", ("x",)), 0.5)
    machine.on(Woke(), wake)
    after = machine.next_wake()
    assert after is not None
    assert 0.9 * LIST_S <= after - wake <= 1.1 * LIST_S


def test_a_replica_that_came_up_is_asked_for_its_models_at_once() -> None:
    """The first good probe is followed by the question what it serves."""
    machine = gate(pool(models=(), probe=ProbeSpec()))
    machine.on(fleet("a"), 0.0)
    machine.on(Woke(), 0.0)
    machine.on(Probed("a", True), 0.25)
    assert machine.next_wake() == 0.25
    assert looks(machine.on(Woke(), 0.25)) == [("a", "models")]


def test_a_bad_probe_does_not_hurry_the_question() -> None:
    """A replica that is still down is asked for its models at its usual times."""
    machine = gate(pool(models=(), probe=ProbeSpec()))
    machine.on(fleet("a"), 0.0)
    machine.on(Woke(), 0.0)
    machine.on(Probed("a", False), 0.25)
    wake = machine.next_wake()
    assert wake is not None
    assert wake >= 0.9 * WARMING_S


def test_configured_models_are_not_asked_for() -> None:
    """Neither a pool that names its models nor a replica that does is asked."""
    machine = gate(pool(models=()))
    machine.on(fleet("a", models={"m": "m"}), 0.0)
    assert machine.next_wake() is None
    assert house("a").next_wake() is None


# ===== draining and leaving =====


def test_a_draining_replica_finishes_what_it_has() -> None:
    """Drained, it gets nothing new and its streams end; it stays in the fleet and is not forgotten."""
    machine = house("a")
    tell(machine, arrived("c1"), Began("c1", 1), now=0.0)
    machine.on(fleet("a", drain=True), 1.0)
    assert states(machine) == {"a": "draining"}
    machine.on(arrived("c2"), 2.0)
    assert machine.on(Ended("c1", 1, 200), 5.0) == [record("c1", latency_s=5.0, ttft_s=0.0)]
    assert states(machine) == {"a": "draining"}
    assert machine.on(fleet("a"), 6.0) == [send("c2", 1, "a", queue_s=4.0)]
    assert states(machine, 6.0) == {"a": "busy"}


def test_an_undrained_replica_is_probed_at_once_and_needs_one_good_probe() -> None:
    """Back from draining it warms up like a new one, without waiting for its next look."""
    machine = probed_house("a")
    tell(machine, Woke(), Probed("a", True), now=0.0)
    machine.on(fleet("a", drain=True), 1.0)
    machine.on(Probed("a", True), 1.0)
    assert states(machine) == {"a": "draining"}
    machine.on(fleet("a"), 2.0)
    assert states(machine) == {"a": "warming"}
    assert machine.next_wake() == 2.0
    machine.on(Probed("a", True), 2.1)
    assert states(machine) == {"a": "healthy"}


def test_a_replica_may_join_draining() -> None:
    """A snapshot may bring a replica that takes nothing yet."""
    machine = gate()
    machine.on(fleet("a", drain=True), 0.0)
    assert states(machine) == {"a": "draining"}
    assert machine.on(arrived("c1"), 0.0) == []


def test_a_removed_replica_is_forgotten_when_its_last_call_is_over() -> None:
    """Who is not in the snapshot gets nothing new, its streams finish, and then its connections may go."""
    machine = house("a", seats=2)
    tell(machine, arrived("c1"), arrived("c2"), Began("c1", 1), now=0.0)
    assert machine.on(FleetSeen(()), 1.0) == []
    assert machine.replicas(1.0) == []
    assert machine.on(Ended("c2", 1, 200), 2.0) == [record("c2", latency_s=2.0)]
    assert machine.on(Ended("c1", 1, 200), 3.0) == [Forget("a"), record("c1", latency_s=3.0, ttft_s=0.0)]


def test_an_idle_removed_replica_is_forgotten_at_once() -> None:
    """Nothing in flight: the snapshot itself is its end, and its alarms are taken back."""
    machine = probed_house("a")
    assert machine.on(FleetSeen(()), 1.0) == [Forget("a")]
    assert machine.next_wake() is None


def test_a_removed_replica_that_fails_sets_no_alarm() -> None:
    """Failures and pauses of a replica that has left concern nobody any more."""
    machine = house("a", seats=9, retries=ONCE)
    tell(machine, *(arrived(f"c{n}") for n in range(6)), now=0.0)
    machine.on(FleetSeen(()), 1.0)
    tell(machine, *(Failed(f"c{n}", 1, "upstream_unavailable", 503, 9.0) for n in range(6)), now=2.0)
    assert machine.next_wake() is None


def test_an_id_at_another_address_is_another_replica() -> None:
    """The calls at the old address finish; the new one starts with free seats, closed breaker and no memory."""
    machine = house("a", retries=ONCE)
    tell(machine, arrived("c0"), Failed("c0", 1, "upstream_5xx"), arrived("c1"), now=0.0)
    moved = FleetSeen((replica("a", url="http://elsewhere"),))
    assert machine.on(moved, 1.0) == []
    (view,) = machine.replicas(1.0)
    assert (view.url, view.in_flight, view.failed) == ("http://elsewhere", 0, 0)
    assert machine.on(arrived("c2"), 2.0) == [send("c2", 1, "a")]
    assert machine.on(Ended("c1", 1, 200), 3.0) == [record("c1", latency_s=3.0)]
    assert machine.on(Ended("c2", 1, 200), 4.0) == [record("c2", at=2.0, latency_s=2.0)]


def test_an_idle_id_that_moved_is_not_forgotten() -> None:
    """The id is still in the fleet, so its secrets must stay."""
    machine = house("a")
    assert machine.on(FleetSeen((replica("a", url="http://elsewhere"),)), 1.0) == []
    assert machine.on(FleetSeen(()), 2.0) == [Forget("a")]


def test_an_id_that_left_twice_is_forgotten_once() -> None:
    """While any call is in flight at a former holder of the id it is not forgotten."""
    machine = house("a")
    machine.on(arrived("c1"), 0.0)
    machine.on(FleetSeen((replica("a", url="http://elsewhere"),)), 1.0)
    machine.on(arrived("c2"), 1.0)
    assert machine.on(FleetSeen(()), 2.0) == []
    assert machine.on(Ended("c2", 1, 200), 3.0) == [record("c2", at=1.0, latency_s=2.0)]
    assert machine.on(Ended("c1", 1, 200), 4.0)[0] == Forget("a")


def test_a_replica_may_move_to_another_pool() -> None:
    """An id in another pool is another replica there."""
    machine = gate(pool(), pool("other", models=("n",)))
    machine.on(fleet("a"), 0.0)
    assert machine.on(fleet("a", pool="other"), 1.0) == []
    assert sends(machine.on(arrived("c1", model="n"), 1.0)) == [("c1", "a")]
    assert [view.replicas for view in machine.pools(1.0)] == [0, 1]


def test_replicas_of_unknown_pools_are_left_out() -> None:
    """A snapshot may be ahead of the configuration."""
    machine = gate()
    assert machine.on(FleetSeen((replica("a", pool="nowhere"), replica("b"))), 0.0) == []
    assert list(states(machine)) == ["b"]


# ===== backups =====


def test_backups_serve_only_while_no_primary_can() -> None:
    """A full primary is waited for; a primary that is out is replaced, and comes first again when it is back."""
    machine = gate(pool(probe=ProbeSpec()))
    machine.on(FleetSeen((replica("a", backup=True), replica("b"))), 0.0)
    tell(machine, Probed("a", True), Probed("b", True), now=0.0)
    assert tell(machine, arrived("c1"), arrived("c2"), now=0.0) == [send("c1", 1, "b")]
    out = tell(machine, *(Probed("b", False) for _ in range(3)), now=1.0)
    assert sends(out) == [("c2", "a")]
    tell(machine, Ended("c1", 1, 200), Ended("c2", 1, 200), Probed("b", True), Probed("b", True), now=2.0)
    assert sends(machine.on(arrived("c3"), 3.0)) == [("c3", "b")]


# ===== what people see =====


def test_a_view_shows_what_is_known() -> None:
    """Load, speed, errors, stats and their age are in the replica's view, and where it is and how it is paid for."""
    machine = gate(pool(scrape=ScrapeSpec(), retries=ONCE))
    machine.on(fleet("a", engine="vllm", max_concurrent_requests=4, region="eu", purchase="spot"), 0.0)
    tell(machine, arrived("c1", stream=True), arrived("c2"), now=0.5)
    tell(machine, Began("c1", 1), Observed("a", EngineStats(waiting=100, kv_usage=0.5)), now=1.0)
    machine.on(Failed("c2", 1, "bad_response"), 3.0)
    (view,) = machine.replicas(3.0)
    assert (view.id, view.url, view.pool, view.engine, view.models) == ("a", "http://a", "main", "vllm", ["m"])
    assert (view.state, view.breaker, view.suspect) == ("overloaded", "closed", False)
    assert (view.in_flight, view.seats, view.served, view.failed) == (1, 4, 0, 1)
    assert (view.ttft_ewma_s, view.error_rate, view.stats_age_s) == (0.5, 0.1, 2.0)
    assert view.load == pytest.approx(0.7 * 1 / 4 + 0.3)
    assert (view.region, view.purchase) == ("eu", "spot")
