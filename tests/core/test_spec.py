"""The specs read as they are written in a file, refuse nonsense, and have the promised defaults."""

import msgspec
import pytest

from penstock.core.route.presets import Adaptive, RoundRobin
from penstock.core.spec import BreakerSpec, GateSpec, PoolSpec, ProbeSpec, QueueSpec, RetrySpec, ScrapeSpec, TimeoutSpec


def test_the_defaults_are_the_promised_ones() -> None:
    """Numbers of the specification, tag by tag."""
    assert (QueueSpec().timeout_s, QueueSpec().max, GateSpec().max_waiting) == (30.0, 10_000, 10_000)  # Q3
    times = TimeoutSpec()
    assert (times.connect_s, times.first_byte_s, times.idle_s) == (5.0, 600.0, 120.0)  # D1
    retries = RetrySpec()
    assert (retries.attempts, retries.backoff_s, retries.factor) == (3, 1.0, 1.5)  # H4
    assert (retries.budget, retries.budget_min_per_s) == (0.2, 10.0)
    breaker = BreakerSpec()
    assert (breaker.suspect_after, breaker.failures, breaker.open_s, breaker.successes) == (3, 5, 30.0, 3)  # H2, H3
    probe = ProbeSpec()
    assert (probe.interval_s, probe.timeout_s, probe.unhealthy_after, probe.healthy_after) == (10.0, 5.0, 3, 2)  # H1
    assert (probe.max_waiting, ScrapeSpec().stale_after_s) == (50, 10.0)
    assert PoolSpec(name="p").strategy == Adaptive(load=0.3, latency=0.3, errors=0.2, gpu=0.2, latency_reference_s=1.0)


def test_a_pool_reads_from_plain_data() -> None:
    """Field names in a file have no units, strategies are tagged by `kind`."""
    made = msgspec.convert(
        {"name": "p", "strategy": {"kind": "round_robin"}, "queue": {"timeout": 5.0}, "breaker": {"open": 3}}, PoolSpec
    )
    assert made == PoolSpec(
        name="p", strategy=RoundRobin(), queue=QueueSpec(timeout_s=5.0), breaker=BreakerSpec(open_s=3.0)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue": {"max": 0}}, {"queue": {"timeout": -1}}, {"queue": {"timeout_s": 1}}, {"retries": {"attempts": 0}},
        {"retries": {"factor": 0.5}}, {"retries": {"jitter": 1.5}}, {"probe": {"port": 70000}},
        {"strategy": {"kind": "magic"}}, {"breaker": {"half_open": 0}}, {"colour": 1},
    ],
)  # fmt: skip
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    """Out of bounds, misspelt or unknown: msgspec says no."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "p", **wrong}, PoolSpec)
