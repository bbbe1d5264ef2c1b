"""Playbooks of the whole machine: routes, discovered models, new settings, views, determinism."""

from typing import Any

import msgspec

from penstock.base.machine import Machine
from penstock.base.nouns import PoolView
from penstock.base.rand import Rand
from penstock.core.effects import Effect, Forget, Refuse
from penstock.core.events import Arrived, Began, Ended, Event, Failed, FleetSeen, Listed, Observed, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.route.presets import Adaptive, P2CPeakEwma, RoundRobin
from penstock.core.spec import GateSpec, PoolSpec, ProbeSpec, QueueSpec, RetrySpec, RouteRule
from tests.core.playbook import (
    arrived,
    fleet,
    gate,
    house,
    kinds,
    nothing_held,
    pool,
    record,
    refusals,
    replica,
    send,
    sends,
    stats,
    tell,
)


def test_a_gate_has_the_shape_of_a_machine() -> None:
    """What the pump needs is there, and a fresh Gate waits for nothing."""
    machine: Machine[Event, Effect] = gate()
    assert machine.on(Woke(), 0.0) == []
    assert machine.next_wake() is None


# ===== which pool =====


def test_an_unknown_model_is_refused_and_named() -> None:
    """404 at once, in words that name the model, cut to a decent length."""
    machine = house("a")
    assert machine.on(arrived("c1", model="gpt-9"), 0.0) == [
        Refuse(
            "c1", "model_not_found", 404, "The model 'gpt-9' does not exist here. GET /v1/models lists those that do."
        ),
        record("c1", "model_not_found", 404, model="gpt-9", pool="", replica="", attempts=0),
    ]
    (refused, _) = machine.on(arrived("c2", model="x" * 5000), 0.0)
    assert isinstance(refused, Refuse)
    assert len(refused.detail) < 300
    assert nothing_held(machine)


def test_no_model_where_one_is_needed_is_a_bad_request() -> None:
    """Several models and none named: 400."""
    machine = house("a", models=("m", "n"))
    assert refusals(machine.on(arrived("c1", model=""), 0.0)) == [("c1", "bad_request", 400)]


def test_an_alias_reaches_its_model() -> None:
    """The replica is asked for the served name; the row keeps what the client said."""
    machine = gate(aliases={"fast": "m"})
    machine.on(fleet("a"), 0.0)
    assert machine.on(arrived("c1", model="fast"), 0.0) == [send("c1", 1, "a", "m")]
    assert machine.on(Ended("c1", 1, 200), 1.0) == [record("c1", model="fast", latency_s=1.0)]
    assert machine.models() == ["fast", "m"]


def test_a_rule_by_host_or_path_comes_before_the_model() -> None:
    """The first rule that matches names the pool, and the model if it says one."""
    rules = (
        RouteRule(pool="embed", path="/v1/embeddings", model="e"),
        RouteRule(pool="other", host="*.example.com"),
    )
    machine = gate(pool(), pool("other"), pool("embed", models=("e",)), routes=rules)
    machine.on(FleetSeen((replica("a"), replica("o", pool="other"), replica("e", pool="embed"))), 0.0)
    assert machine.on(arrived("c1", path="/v1/embeddings"), 0.0) == [send("c1", 1, "e", "e")]
    assert sends(machine.on(arrived("c2", host="eu.example.com:8080"), 0.0)) == [("c2", "o")]
    assert sends(machine.on(arrived("c3", host="example.com"), 0.0)) == [("c3", "a")]
    assert refusals(machine.on(arrived("c4", host="eu.example.com", model="zz"), 0.0)) == [
        ("c4", "model_not_found", 404)
    ]


# ===== discovered models =====


def open_house() -> Gate:
    """A pool that serves whatever its replicas list."""
    machine = gate(pool(models=()))
    machine.on(fleet("a", "b"), 0.0)
    return machine


def test_listed_models_are_served_by_those_who_list_them() -> None:
    """A call goes only to replicas that list its model; the names are offered to clients."""
    machine = open_house()
    tell(machine, Listed("a", ("x",)), Listed("b", ("x", "y")), now=0.0)
    assert machine.models() == ["x", "y"]
    assert sends(tell(machine, arrived("c1", model="y"), arrived("c2", model="x"), now=0.0)) == [
        ("c1", "b"),
        ("c2", "a"),
    ]
    assert [view.models for view in machine.replicas(0.0)] == [["x"], ["x", "y"]]


def test_a_model_may_be_listed_while_calls_wait_for_it() -> None:
    """Before all replicas have said what they serve, a call for an unheard model waits for it."""
    machine = open_house()
    machine.on(Listed("a", ("x",)), 0.0)
    assert machine.on(arrived("c1", model="y"), 0.0) == []
    assert machine.on(Listed("b", ("y",)), 3.0) == [send("c1", 1, "b", "y", queue_s=3.0)]


def test_once_all_have_listed_an_unknown_model_does_not_exist() -> None:
    """A wrong name is told at once instead of after a wait for nothing."""
    machine = open_house()
    tell(machine, Listed("a", ("x",)), Listed("b", ("x",)), now=0.0)
    assert refusals(machine.on(arrived("c1", model="y"), 0.0)) == [("c1", "model_not_found", 404)]
    machine.on(fleet("a", "b", "c"), 1.0)
    assert machine.on(arrived("c2", model="y"), 1.0) == []


def test_an_unnamed_model_is_the_one_pools_business() -> None:
    """A call that names no model goes to the only pool, whichever replica is free."""
    machine = open_house()
    assert machine.on(arrived("c1", model=""), 0.0) == [send("c1", 1, "a", "")]


# ===== new settings =====


def spec(*pools: PoolSpec, **fields: Any) -> Reconfigured:
    """From now on these pools hold."""
    return Reconfigured(GateSpec(pools=pools, **fields))


def test_new_settings_keep_calls_in_flight_and_waiting() -> None:
    """After a reload the running call ends as ever and the waiting one is sent, with its old place and deadline."""
    machine = house("a")
    tell(machine, arrived("c1"), arrived("c2"), arrived("c3"), now=0.0)
    machine.on(Began("c1", 1), 1.0)
    assert machine.on(spec(pool(queue=QueueSpec(timeout_s=5.0, max=1))), 4.0) == []
    assert machine.counts()["waiting"] == 2
    assert machine.next_wake() == 30.0
    assert machine.on(Ended("c1", 1, 200), 6.0) == [
        record("c1", latency_s=6.0, ttft_s=1.0),
        send("c2", 1, "a", queue_s=6.0),
    ]
    assert refusals(machine.on(Woke(), 30.0)) == [("c3", "queue_timeout", 504)]


def test_new_settings_hold_for_what_comes_after() -> None:
    """Bounds, timeouts and attempts of the new settings are those of the next call."""
    machine = house("a")
    machine.on(spec(pool(queue=QueueSpec(max=1), retries=RetrySpec(attempts=1)), max_waiting=1), 1.0)
    assert refusals(tell(machine, arrived("c1"), arrived("c2"), arrived("c3"), now=1.0)) == [("c3", "queue_full", 429)]
    assert refusals(machine.on(Failed("c1", 1, "upstream_5xx"), 2.0)) == [("c1", "upstream_5xx", 502)]


def test_a_new_pool_serves_and_a_removed_one_lets_its_streams_finish() -> None:
    """A pool that is gone takes nothing new; its calls end, and then its replicas are forgotten."""
    machine = house("a")
    tell(machine, arrived("c1"), Began("c1", 1), now=0.0)
    assert machine.on(spec(pool("new", models=("n",))), 1.0) == []
    machine.on(fleet("b", pool="new"), 1.0)
    assert sends(machine.on(arrived("c2", model="n"), 2.0)) == [("c2", "b")]
    assert refusals(machine.on(arrived("c3"), 2.0)) == [("c3", "model_not_found", 404)]
    assert machine.on(Ended("c1", 1, 200), 3.0) == [Forget("a"), record("c1", latency_s=3.0, ttft_s=0.0)]
    assert [view.name for view in machine.pools(3.0)] == ["new"]


def test_waiting_calls_whose_model_is_gone_are_told_so() -> None:
    """A reload that drops a model ends the calls that waited for it, each with its row."""
    machine = house("a")
    tell(machine, arrived("c1"), arrived("c2"), now=0.0)
    assert machine.on(spec(pool(models=("other",))), 2.0) == [
        Refuse("c2", "model_not_found", 404),
        record("c2", "model_not_found", 404, pool="", replica="", attempts=0, latency_s=2.0, queue_s=2.0),
    ]


def test_a_waiting_call_follows_its_model_into_another_pool() -> None:
    """When the model moves, who waits for it moves with it."""
    machine = house("a")
    tell(machine, arrived("c1"), arrived("c2"), now=0.0)
    machine.on(spec(pool("two")), 1.0)
    assert machine.on(fleet("b", pool="two"), 2.0) == [send("c2", 1, "b", queue_s=2.0)]


def test_a_call_that_waits_at_its_fallback_is_not_sent_back_to_a_dead_pool() -> None:
    """A reload puts waiting calls where they can be served."""
    both = (pool(), pool("spare", models=("n",)))
    machine = gate(*both, fallback={"m": ("n",)})
    machine.on(fleet("s", pool="spare"), 0.0)
    tell(machine, arrived("c1"), arrived("c2"), now=0.0)
    assert machine.on(spec(*both, fallback={"m": ("n",)}), 5.0) == []
    assert machine.on(Ended("c1", 1, 200), 20.0)[1] == send("c2", 1, "s", "n", queue_s=20.0)


def test_a_pausing_call_survives_a_reload() -> None:
    """A call between two attempts is sent again under the new settings, without the rest of its pause."""
    machine = house("a")
    machine.on(arrived("c1"), 0.0)
    machine.on(Failed("c1", 1, "upstream_5xx"), 1.0)
    assert machine.on(spec(pool()), 1.5) == [send("c1", 2, "a")]
    assert machine.next_wake() is None


def test_an_attempt_that_outlives_its_pool_fails_for_good() -> None:
    """A call in flight at a removed pool has no second attempt, and no exception."""
    machine = house("a")
    machine.on(arrived("c1"), 0.0)
    machine.on(spec(pool("new", models=("n",))), 1.0)
    assert kinds(machine.on(Failed("c1", 1, "connect_refused"), 2.0)) == ["Forget", "Refuse", "Record"]
    assert nothing_held(machine)


def test_failures_after_the_pool_is_gone_concern_nobody() -> None:
    """Calls that outlive their pool may fail as they like: each is told, and no alarm is set."""
    machine = house("a", seats=9)
    tell(machine, *(arrived(f"c{n}") for n in range(6)), now=0.0)
    machine.on(spec(pool("new", models=("n",))), 1.0)
    orders = tell(machine, *(Failed(f"c{n}", 1, "upstream_unavailable", 503, 9.0) for n in range(6)), now=2.0)
    assert len(refusals(orders)) == 6
    assert machine.next_wake() is None
    assert nothing_held(machine)


def test_switching_probes_off_puts_warming_replicas_to_work() -> None:
    """Where nobody probes any more health is judged by traffic alone."""
    machine = gate(pool(probe=ProbeSpec()))
    machine.on(fleet("a"), 0.0)
    machine.on(arrived("c1"), 0.0)
    assert sends(machine.on(spec(pool()), 1.0)) == [("c1", "a")]
    assert machine.next_wake() is None


def test_a_new_strategy_is_used_and_an_old_one_keeps_its_turns() -> None:
    """Settings that leave the strategy alone do not start its turns anew."""
    turns = pool(strategy=RoundRobin())
    machine = gate(turns)
    machine.on(fleet("a", "b", "c", max_concurrent_requests=9), 0.0)
    machine.on(arrived("c1"), 0.0)
    machine.on(spec(turns), 1.0)
    assert sends(machine.on(arrived("c2"), 1.0)) == [("c2", "b")]
    machine.on(spec(pool()), 2.0)
    assert sends(tell(machine, arrived("c3"), arrived("c4"), now=2.0)) == [("c3", "c"), ("c4", "a")]


# ===== for people =====


def test_a_pool_shows_its_queue() -> None:
    """Waiting calls by number, bytes, age and priority; seats and replicas as they stand."""
    machine = house("a", "b", seats=1)
    tell(machine, arrived("c1"), arrived("c2"), now=0.0)
    machine.on(arrived("c3", body_bytes=30, priority=0), 1.0)
    machine.on(arrived("c4", body_bytes=12), 2.0)
    assert machine.pools(5.0) == [
        PoolView(
            name="main", strategy="least_connections", models=["m"], queued=2, queued_bytes=42, oldest_s=4.0,
            queued_by_priority={"critical": 1, "high": 0, "normal": 1, "low": 0, "batch": 0},
            in_flight=2, seats=2, replicas=2, healthy=2, queued_by_tenant={"anonymous": 2},
        )
    ]  # fmt: skip


def test_ready_means_that_somebody_could_serve() -> None:
    """No replica, or only replicas that are out: not ready."""
    machine = gate()
    assert not machine.ready()
    machine.on(fleet("a"), 0.0)
    assert machine.ready()
    machine.on(fleet("a", drain=True), 0.0)
    assert not machine.ready()


# ===== determinism =====


def story(machine: Gate) -> list[list[Effect]]:
    """A busy minute with failures, numbers, reloads and wake-ups."""
    turns = [machine.on(fleet(*"abcde", max_concurrent_requests=3, engine="vllm"), 0.0)]
    for n in range(300):
        now = n / 5
        facts: list[Event] = [Arrived(arrived(f"c{n}", stream=n % 2 == 0).call)]
        if n % 3 == 0:
            facts.append(Began(f"c{n - 6}", 1))
        if n % 7 == 0:
            facts.append(Failed(f"c{n - 4}", 1, "closed_early"))
        if n % 5 == 0:
            facts.append(Observed("abcde"[n % 4], stats(waiting=n % 9, kv_usage=n / 300)))
        facts.append(Ended(f"c{n - 9}", 1, 200))
        facts.append(Ended(f"c{n - 9}", 2, 200))
        turns += [machine.on(fact, now) for fact in facts]
        wake = machine.next_wake()
        if wake is not None and wake <= now:
            turns.append(machine.on(Woke(), now))
    return turns


def test_the_same_seed_and_facts_give_the_same_orders() -> None:
    """Two Gates of one seed are one Gate; another seed breaks ties otherwise."""
    for strategy in (Adaptive(), P2CPeakEwma()):
        spec = GateSpec(pools=(pool(strategy=strategy, retries=RetrySpec(), probe=ProbeSpec(enabled=False)),))
        first, second, other = (msgspec.json.encode(story(Gate(spec, Rand(seed)))) for seed in (3, 3, 4))
        assert first == second
        assert first != other
