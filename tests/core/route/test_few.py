"""The scores of a few replicas in one pass: to the last bit what the scorers make one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base.nouns import Call, EngineStats, Replica
from penstock.base.rand import Rand
from penstock.core.health import Health
from penstock.core.load import Seat
from penstock.core.route.few import FEW, one_pass
from penstock.core.route.notes import Notes
from penstock.core.route.pipeline import build
from penstock.core.route.presets import Adaptive, LeastLoaded
from penstock.core.route.scorers import Errors, Gpu, Latency, Load, Scorer
from penstock.core.spec import BreakerSpec, ProbeSpec

WEIGHED: tuple[tuple[float, Scorer], ...] = ((0.4, Load()), (0.3, Latency(0.5)), (0.2, Errors()), (0.1, Gpu()))
MEANS = st.floats(0.0, 50.0)
SHARES = st.floats(0.0, 1.0)
SEAT = st.tuples(
    st.integers(0, 8), st.one_of(st.none(), MEANS), st.one_of(st.none(), MEANS), st.floats(0.0, 2.0),
    st.one_of(st.none(), SHARES), st.one_of(st.just(0.0), SHARES), st.integers(0, 200), st.integers(0, 8),
)  # fmt: skip
"""Calls in flight when its engine was read, mean TTFT and time to a whole answer, age (its engine's numbers are stale
from 1 on), KV usage, errors, waiting, and calls in flight now."""


def seat(order: int, drawn: tuple[Any, ...]) -> Seat:
    """A replica that was seen for a while; its numbers may be stale or missing."""
    then, ttft_s, latency_s, age, kv_usage, errors, waiting, in_flight = drawn
    made = Seat(Replica(id=f"r{order}", url="http://r", pool="p"), Health(BreakerSpec(), ProbeSpec(), 8), order)
    made.in_flight, made.ttft_s, made.latency_s = then, ttft_s, latency_s
    made.ttft_at = made.latency_at = 100.0 - 90.0 * age
    made.errors, made.errors_at = errors, 100.0 - 50.0 * age
    made.observed(EngineStats(running=1, waiting=waiting, kv_usage=kv_usage), 10.0, 100.0 - 10.0 * age)
    made.pinned_calls(order)
    made.in_flight = in_flight
    return made


@given(st.lists(SEAT, min_size=1, max_size=FEW), st.booleans())
def test_one_pass_makes_what_the_scorers_make(drawn: list[tuple[Any, ...]], stream: bool) -> None:
    """All four scores of every replica and their sum are the same bits; only where a mean is missing there are none."""
    seats = [seat(order, each) for order, each in enumerate(drawn)]
    call = Call("c", "model", stream=stream)
    one = one_pass(WEIGHED)
    assert one is not None
    found = one(call, seats, 100.0)
    if any((each.ttft_s if stream else each.latency_s) is None for each in seats):
        assert found is None
        return
    parts = [scorer.score(call, seats, 100.0) for _, scorer in WEIGHED]
    (a, _), (b, _), (c, _), (d, _) = WEIGHED
    assert found == (parts, [a * w + b * x + c * y + d * z for w, x, y, z in zip(*parts, strict=True)])


@pytest.mark.parametrize("count", [2, FEW, FEW + 1])
def test_a_pipeline_scores_alike_however_many_replicas_there_are(count: int) -> None:
    """With the prefix's score as the fifth: sums and notes do not tell how they were worked out."""
    drawn = [(2, 0.1 * (order + 1), 1.0, 0.1, 0.3, 0.0, order, order % 3) for order in range(count)]
    seats = [seat(order, each) for order, each in enumerate(drawn)]
    made, notes = build(Adaptive(), Rand(1)), Notes()
    made.take_notes(notes)
    made.changed(seats)
    call = Call("c", "model", stream=True, prefix=(1, 2, 3), prompt_bytes=1600)
    assert made.prefix is not None
    made.prefix.sent(call, "model", seats[0])
    sums = made.scores(call, seats, 100.0)
    parts = [scorer.score(call, seats, 100.0) for _, scorer in made.scorers]
    assert len(parts) == 5
    assert max(parts[4]) > 0
    assert (notes.parts, notes.scorers) == (parts, made.scorers)
    weights = [weight for weight, _ in made.scorers]
    a, b, c, d, e = weights
    assert sums == [a * v + b * w + c * x + d * y + e * z for v, w, x, y, z in zip(*parts, strict=True)]


def test_other_scorers_are_not_worked_out_in_one_pass() -> None:
    """It is for the four of `adaptive`, in their order, and for nothing else."""
    assert one_pass(()) is None
    assert one_pass(((1.0, Load()),)) is None
    assert one_pass(WEIGHED[::-1]) is None
    assert build(LeastLoaded(), Rand(1)).scores(Call("c"), [seat(0, (1, 1.0, 1.0, 0.0, 0.5, 0.0, 0, 4))], 100.0)
