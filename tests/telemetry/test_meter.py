"""The meter: what it counts, and that what it counts is bounded."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.nouns import Call, EngineStats
from penstock.core.effects import Aboard, Adopt, Carry, Forget, Probe, Refuse
from penstock.core.events import Arrived, Began, ClientGone, Ended, Failed, Observed, Probed, Woke
from penstock.telemetry.meter import MAX_KINDS, OTHER, Meter
from tests.telemetry.rows import record, row, send


def test_an_answered_stream() -> None:
    """One streamed call gives a count, its times, and the engine's token counts."""
    meter = Meter()
    meter.observe(100.0, Arrived(Call("c1")), [send()])
    meter.observe(100.1, Began("c1", 1), [])
    meter.observe(102.1, Ended("c1", 1, 200), [record()])
    assert meter.calls == {("p", "tiny", "ok", 2, 2, True): [1]}
    model = meter.models["p", "tiny"]
    assert (model.prompt_tokens, model.completion_tokens, model.cached_tokens) == (10, 21, 4)
    assert model.cached_estimate == 3
    assert (model.duration.sum, model.first_token.sum) == (2.1, 0.1)
    assert model.per_token.sum == pytest.approx(0.1)
    assert meter.queue["p", 2].sum == 0.02
    assert (meter.tenants["demo"].calls, meter.tenants["demo"].completion_tokens) == (1, 21)
    assert (meter.replicas["r1"].attempts, meter.replicas["r1"].retries) == (1, 0)


def test_without_usage_relayed_events_are_counted() -> None:
    """Where the engine gave no usage, the relayed events stand for completion tokens."""
    meter = Meter()
    meter.observe(1.0, Ended("c1", 1, 200), [record(usage=None)])
    model = meter.models["p", "tiny"]
    assert (model.prompt_tokens, model.completion_tokens) == (0, 20)
    assert model.per_token.sum == pytest.approx(2.0 / 19)


def test_a_whole_answer_has_no_token_times() -> None:
    """A call that was not streamed is measured as a whole only."""
    meter = Meter()
    meter.observe(1.0, Ended("c1", 1, 200), [record(stream=False)])
    model = meter.models["p", "tiny"]
    assert (model.duration.total(), model.first_token.total(), model.per_token.total()) == (1, 0, 0)


def test_one_token_has_no_time_between_tokens() -> None:
    """A stream of a single token has no gap to measure."""
    meter = Meter()
    meter.observe(1.0, Ended("c1", 1, 200), [record(usage=None, relayed_tokens=1)])
    assert meter.models["p", "tiny"].per_token.total() == 0


def test_hedges_are_counted_by_what_came_of_them() -> None:
    """A call of which no hedge was due counts nowhere; pools beyond the bound share a label."""
    meter = Meter(max_names=1)
    for number, hedge in enumerate(["", "won", "won", "lost", "no_budget"]):
        meter.observe(1.0, Ended(f"c{number}", 1, 200), [record(hedge=hedge)])
    meter.observe(1.0, Ended("c9", 1, 200), [record(pool="q", hedge="neither")])
    assert meter.hedges == {("p", "won"): 2, ("p", "lost"): 1, ("p", "no_budget"): 1, (OTHER, "neither"): 1}


def test_failures_are_counted_at_the_replica_that_failed() -> None:
    """Each failure of three attempts is its own replica's, and nothing is remembered after the end."""
    meter = Meter()
    meter.observe(1.0, Arrived(Call("c1")), [send(replica="r1")])
    meter.observe(2.0, Failed("c1", 1, "connect_refused"), [send(attempt=2, replica="r2")])
    meter.observe(3.0, Failed("c1", 2, "upstream_5xx"), [send(attempt=3, replica="r3")])
    refuse = Refuse("c1", "closed_early", 502)
    end = record(outcome="closed_early", status=502, attempts=3, usage=None, relayed_tokens=0, ttft_s=None)
    meter.observe(4.0, Failed("c1", 3, "closed_early"), [refuse, end])
    assert {name: (one.attempts, one.retries, one.failures) for name, one in meter.replicas.items()} == {
        "r1": (1, 0, {"connect_refused": 1}),
        "r2": (1, 1, {"upstream_5xx": 1}),
        "r3": (1, 1, {"closed_early": 1}),
    }
    assert meter.refusals == {"closed_early": 1}
    assert meter.models["p", OTHER].duration.total() == 0
    assert meter._tried == {}
    meter.observe(5.0, Failed("c1", 3, "closed_early"), [])
    assert meter.replicas["r3"].failures == {"closed_early": 1}


def test_attempts_that_change_hands_are_still_their_replicas() -> None:
    """A failure after the first client has left is counted, and nothing is remembered at the end."""
    meter = Meter()
    meter.observe(1.0, Arrived(Call("c0")), [send("c0", replica="r1")])
    meter.observe(2.0, Failed("c0", 1, "connect_refused"), [send("c0", attempt=2, replica="r2")])
    gone = record(id="c0", outcome="client_gone", status=499, attempts=2, usage=None, ttft_s=None)
    meter.observe(3.0, ClientGone("c0"), [Adopt("c0", "c1"), gone])
    meter.observe(4.0, Failed("c1", 2, "upstream_5xx"), [send(attempt=3, replica="r3")])
    meter.observe(5.0, Ended("c1", 3, 200), [record(attempts=3)])
    assert meter.replicas["r2"].failures == {"upstream_5xx": 1}
    assert meter._tried == {}


def test_probes_and_scrapes_by_result() -> None:
    """Looks at a replica are counted as they came back; those of a replica that is gone are not."""
    meter = Meter()
    meter.observe(1.0, Woke(), [Probe("r1", "health", 5.0), Probe("r1", "stats", 5.0)])
    for ok in (True, True, False):
        meter.observe(2.0, Probed("r1", ok), [])
    meter.observe(2.0, Observed("r1", EngineStats()), [])
    meter.observe(2.0, Observed("r1", None), [])
    assert (meter.replicas["r1"].probes, meter.replicas["r1"].scrapes) == ([1, 2], [1, 1])
    meter.observe(3.0, Woke(), [Forget("r1")])
    meter.observe(4.0, Probed("r1", False), [])
    meter.observe(4.0, Observed("r1", None), [])
    assert meter.replicas == {}


def test_invented_models_share_a_label() -> None:
    """A model's name that no engine has answered to is "other", however many clients invent."""
    meter = Meter()
    for number in range(1000):
        meter.observe(
            1.0,
            Woke(),
            [record(model=f"invented-{number}", outcome="model_not_found", status=404, attempts=0, pool="")],
        )
        meter.observe(1.0, Woke(), [record(model=f"typo-{number}", status=404)])
    assert {key[1] for key in meter.calls} == {OTHER}
    meter.observe(2.0, Woke(), [record(model="real")])
    assert meter.calls["p", "real", "ok", 2, 2, True] == [1]


def test_a_name_is_a_label_from_its_first_answer_on() -> None:
    """Failures of a model before its first answer are "other", later ones carry its name."""
    meter = Meter()
    failed = record(outcome="upstream_5xx", status=502, ttft_s=None)
    meter.observe(1.0, Woke(), [failed])
    meter.observe(2.0, Woke(), [record()])
    meter.observe(3.0, Woke(), [failed])
    assert {(key[1], key[2]): count for key, count in meter.calls.items()} == {
        (OTHER, "upstream_5xx"): [1],
        ("tiny", "ok"): [1],
        ("tiny", "upstream_5xx"): [1],
    }


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.booleans()), max_size=300))
def test_labels_are_bounded_and_every_call_is_counted_once(calls: list[tuple[int, int, int, bool]]) -> None:
    """With at most 5 names each, no table grows beyond them and "other", and no call is lost."""
    meter = Meter(max_names=5)
    for model, tenant, pool, ok in calls:
        outcome = "ok" if ok else "upstream_5xx"
        meter.observe(1.0, Woke(), [record(model=f"m{model}", tenant=f"t{tenant}", pool=f"p{pool}", outcome=outcome)])
    assert sum(count[0] for count in meter.calls.values()) == len(calls)
    assert sum(one.calls for one in meter.tenants.values()) == len(calls)
    assert len({key[0] for key in meter.calls}) <= 6
    assert len({key[1] for key in meter.calls}) <= 6
    assert len(meter.tenants) <= 6


def test_remembered_kinds_are_bounded() -> None:
    """The table that finds counters quickly is emptied when full; the counters are not."""
    meter = Meter()
    for number in range(MAX_KINDS + 10):
        meter.observe(1.0, Woke(), [record(tenant=f"t{number}")])
    assert len(meter._kinds) <= MAX_KINDS
    assert meter.calls["p", "tiny", "ok", 2, 2, True] == [MAX_KINDS + 10]


def test_a_client_that_left_while_waiting_was_never_measured() -> None:
    """A call that reached no replica has a queue time and nothing else."""
    meter = Meter()
    gone = record(outcome="client_gone", status=499, attempts=0, ttft_s=None, usage=None, relayed_tokens=0)
    meter.observe(1.0, ClientGone("c1"), [gone])
    assert meter.models == {}
    assert meter.queue["p", 2].total() == 1


@pytest.mark.slow
def test_it_is_cheap() -> None:
    """A call costs the meter under 10 µs of CPU even on a slow machine (about 2 on a usual one)."""
    meter, order, begun = Meter(), send(), Began("c1", 1)
    arrived, ended, end = Arrived(Call("c1")), Ended("c1", 1, 200), record()
    assert row() == end.row
    start = time.process_time()
    for _ in range(50_000):
        meter.observe(1.0, arrived, [order])
        meter.observe(1.0, begun, [])
        meter.observe(1.0, ended, [end])
    assert (time.process_time() - start) / 50_000 < 10e-6


def test_groups_are_counted_by_their_size_and_forgotten() -> None:
    """A request for several calls counts once; its failures are its replica's; when it is over nothing of it stays."""
    meter = Meter()
    aboard = (Aboard("a", 0.0), Aboard("b", 0.0))
    meter.observe(1.0, Woke(), [Carry("g", aboard), send("g")])
    meter.observe(2.0, Failed("g", 1, "connect_refused"), [Carry("g", aboard), send("g", 2)])
    meter.observe(3.0, Ended("g", 2, 200), [Carry("g")])
    assert meter.groups == {2: 2}
    assert meter.replicas["r1"].failures == {"connect_refused": 1}
    assert not meter._tried
