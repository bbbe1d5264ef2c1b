"""Illness of every kind, in virtual time: traffic goes on, nothing oscillates, and who heals is not starved.

The claims are numbers: how many of the calls must end well, how often in a minute a replica (or panic) may change, and
how long after it healed a replica must be back.
"""

from typing import get_args

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from penstock.core.route import presets
from penstock.core.spec import LatencySpec, OutlierSpec, PoolSpec
from tests.helpers.ward import Ailment, Illness, Ward

pytestmark = pytest.mark.slow

REPLICAS = 6
HEALED_S = 100.0
"""From then on all replicas are well."""
BACK_S = 100.0
"""So long after it a replica may still be out: an ejection (30 s, 60 s) or an open breaker, and slow start."""
MOST_TURNS = 8
"""Times in a minute that a replica may go in or out of traffic. A breaker that opens again and again makes 4 (30 s
open, a trial), probes every 10 s make 2 (3 bad, 2 good: 50 s), an ejection 2. One that flaps every second makes 60."""

ILLNESSES = st.builds(
    Illness,
    replica=st.integers(0, REPLICAS - 1),
    ailment=st.sampled_from(get_args(Ailment)),
    start_s=st.floats(5.0, 60.0),
    end_s=st.floats(65.0, HEALED_S),
)
STRATEGIES = st.sampled_from(
    [presets.Adaptive(), presets.RoundRobin(), presets.LeastConnections(), presets.P2CPeakEwma(), presets.LeastLoaded()]
)


def pool(strategy: presets.Strategy, latency: bool = False) -> PoolSpec:
    """The defaults, and a strategy."""
    return PoolSpec(
        name="main", models=("m",), strategy=strategy, outliers=OutlierSpec(latency=LatencySpec(enabled=latency))
    )


def check(ward: Ward) -> None:
    """What must hold after any history."""
    for name, turns in ward.turns.items():
        assert ward.most_in_a_minute(turns) <= MOST_TURNS, f"{name} goes in and out: {turns}"
    assert ward.most_in_a_minute(ward.panics) <= MOST_TURNS, ward.panics
    for name, seat in ward.gate._fleet.seats.items():
        assert seat.health.well, f"{name} has healed and is kept out"
        assert seat.health.limit >= 1, "at least a trial, for when its turn comes"
    if isinstance(ward.gate.spec.pools[0].strategy, presets.RoundRobin):  # it has no favourites
        for name, sent in ward.sent.items():
            assert sent[-1] > HEALED_S + BACK_S, f"{name} has healed and was last asked at {sent[-1]}"
    assert ward.ok_share(HEALED_S + 40.0) == 1.0, "well again, and calls fail"
    assert not any(seat.health.ejected for seat in ward.gate._fleet.seats.values())


@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@given(
    ill=st.lists(ILLNESSES, min_size=1, max_size=8), strategy=STRATEGIES, latency=st.booleans(), seed=st.integers(0, 9)
)
def test_any_history_ends_in_health(ill: list[Illness], strategy: presets.Strategy, latency: bool, seed: int) -> None:
    """Whatever befalls up to all replicas, changes are few, and after it everybody serves and no call fails."""
    ward = Ward(pool(strategy, latency), REPLICAS, ill, every_s=0.1, seed=seed)
    ward.run(HEALED_S + BACK_S + 10.0)
    check(ward)


@pytest.mark.parametrize("strategy", [presets.Adaptive(), presets.RoundRobin()], ids=["adaptive", "round_robin"])
@pytest.mark.parametrize(
    ("ailment", "sick", "goodput"),
    [
        ("silent", 6, 1.0), ("lying_idle", 1, 1.0), ("lying_full", 1, 1.0), ("lying_idle", 6, 1.0),
        ("flapping", 1, 0.999), ("flapping", 3, 0.99), ("dead", 3, 0.99), ("unprobed", 6, 1.0), ("failing", 1, 0.999),
        ("frozen", 1, 0.9),
    ],
)  # fmt: skip
def test_traffic_goes_on(strategy: presets.Strategy, ailment: Ailment, sick: int, goodput: float) -> None:
    """An outage of all scrapes or all probes and lying metrics cost no call; of six replicas one or three that flap,
    die or fail cost next to none (a call has three attempts, and may meet three dead before the breakers know); a
    frozen one costs those that were sent there before it is full or put out."""
    ill = [Illness(number, ailment, 20.0, 90.0) for number in range(sick)]
    ward = Ward(pool(strategy, latency=ailment == "frozen"), REPLICAS, ill)
    ward.run(HEALED_S + BACK_S + 10.0)
    assert ward.ok_share(20.0, 90.0) >= goodput, ward.ok_share(20.0, 90.0)
    check(ward)


def test_all_metrics_full_are_believed() -> None:
    """Where every engine says that its queue is full nobody is ready: calls wait and are told so, rather than pile up
    in engines that ask to be left alone. (`probe.max_waiting: null` takes that word away from them.)"""
    ill = [Illness(number, "lying_full", 20.0, 90.0) for number in range(REPLICAS)]
    ward = Ward(pool(presets.Adaptive()), REPLICAS, ill, every_s=0.5)
    ward.run(HEALED_S + BACK_S + 10.0)
    outcomes = {row.outcome for row in ward.rows if 25.0 <= row.at < 50.0}
    assert outcomes == {"queue_timeout"}
    check(ward)


def test_a_dead_pool_costs_few_attempts() -> None:
    """All six dead for a minute, 20 calls a second: what is not sent is told 503 in time, and no budget burns."""
    ill = [Illness(number, "dead", 20.0, 90.0) for number in range(REPLICAS)]
    ward = Ward(pool(presets.Adaptive()), REPLICAS, ill)
    ward.run(HEALED_S + BACK_S + 10.0)
    attempts = sum(20.0 <= at < 90.0 for sent in ward.sent.values() for at in sent)
    assert attempts <= 80, f"{attempts} attempts at the dead"
    refused = [row for row in ward.rows if 25.0 <= row.at < 80.0 and row.outcome == "no_replica"]
    assert len(refused) >= 500
    check(ward)


def test_a_frozen_replica_is_put_out_where_that_is_on() -> None:
    """With outliers by latency the frozen one is out after an interval or two; without, each client that gives up there
    makes room for the next."""
    lost = {}
    for on in (False, True):
        ward = Ward(pool(presets.RoundRobin(), latency=on), REPLICAS, [Illness(2, "frozen", 30.0, 95.0)], seed=3)
        ward.run(HEALED_S + BACK_S + 10.0)
        check(ward)
        lost[on] = sum(row.outcome == "client_gone" for row in ward.rows)
    assert lost[True] < lost[False]
    assert lost[False] >= 24, "three times the seats in a minute"
