"""Scores that are added in one go are those that the scorers make one by one, to the last bit."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from penstock.base.nouns import Call, EngineStats, Replica
from penstock.base.rand import Rand
from penstock.core.health import Health
from penstock.core.load import Seat
from penstock.core.route.notes import Notes
from penstock.core.route.pipeline import Pipeline, build
from penstock.core.route.presets import Adaptive, LeastLoaded
from penstock.core.route.sums import in_one_go
from penstock.core.spec import BreakerSpec, ProbeSpec

CALL = Call("c", "model", stream=True)
SHARES = st.floats(0.0, 1.0)
SEATS = st.lists(
    st.tuples(
        st.integers(0, 8), st.one_of(st.none(), st.floats(0.0, 50.0)), SHARES, st.one_of(st.none(), SHARES),
        st.one_of(st.just(0.0), SHARES), st.integers(0, 200), st.integers(-8, 8),
    ),
    min_size=1, max_size=9,
)  # fmt: skip


def seat(order: int, drawn: tuple[Any, ...]) -> Seat:
    """A replica that was seen for a while; its numbers may be stale or missing."""
    in_flight, ttft_s, age, kv_usage, errors, waiting, since = drawn
    made = Seat(Replica(id=f"r{order}", url="http://r", pool="p"), Health(BreakerSpec(), ProbeSpec(), 8), order)
    made.in_flight, made.ttft_s, made.ttft_at = in_flight, ttft_s, 100.0 - 90.0 * age
    made.errors, made.errors_at = errors, 100.0 - 50.0 * age
    if kv_usage is not None:
        made.observed(EngineStats(running=1, waiting=waiting, kv_usage=kv_usage), 10.0, 100.0 - 12.0 * age)
        made.in_flight = max(0, in_flight + since)  # calls came and went since the engine was looked at
    return made


def pipelines() -> tuple[Pipeline, Pipeline]:
    """Two alike; the second one's notes want every single score."""
    plain, noting = build(Adaptive(), Rand(1)), build(Adaptive(), Rand(1))
    noting.take_notes(Notes())
    return plain, noting


@given(SEATS, st.booleans())
@example([(2, 0.5, 0.0, 0.2, 0.0, 0, 3), (2, 0.5, 0.0, 0.2, 0.0, 0, -2)], True)
def test_one_go_is_one_by_one(drawn: list[tuple[Any, ...]], stream: bool) -> None:
    """Whoever is unmeasured, silent, stale or failing: equal sums, with the prefix score behind them as well."""
    plain, noting = pipelines()
    ours, theirs = ([seat(order, each) for order, each in enumerate(drawn)] for _ in range(2))
    for prefix in ((), tuple(range(1, 6))):
        call = Call("c", "model", stream=stream, prefix=prefix, prompt_bytes=3000)
        assert plain.scores(call, ours, 100.0) == noting.scores(call, theirs, 100.0)
        for pipeline, seats in ((plain, ours), (noting, theirs)):
            assert pipeline.prefix is not None
            pipeline.prefix.sent(Call("d", "model", prefix=(1, 2, 3), prompt_bytes=3000), "model", seats[0])


def test_calls_since_the_last_look_count_in_one_go_too() -> None:
    """An engine that was emptiest when it was looked at is not the best for ever: what a call takes is carried on."""
    plain, _ = pipelines()
    sums = in_one_go(plain.scorers)
    assert sums is not None
    quiet, busier = (seat(0, (2, 0.5, 0.0, 0.2, 0.0, 0, since)) for since in (0, 3))
    busier.in_flight = quiet.in_flight = 2  # as much else as can be is alike
    busier.gpu_then = -1
    one, other = sums(CALL, [quiet, busier], 100.0) or (0.0, 0.0)
    assert one - other > 0.02


def test_it_is_for_what_adaptive_weighs() -> None:
    """Other scorers are not mistaken for these four."""
    plain, _ = pipelines()
    assert in_one_go(plain.scorers) is not None
    assert in_one_go(plain.scorers[1:]) is None
    assert in_one_go(build(LeastLoaded(), Rand(1)).scorers) is None


def test_who_is_unmeasured_is_the_scorers_business() -> None:
    """It says nothing rather than something else."""
    plain, _ = pipelines()
    sums = in_one_go(plain.scorers)
    assert sums is not None
    assert sums(CALL, [seat(0, (1, 0.5, 0.0, 0.5, 0.0, 0, 0))], 100.0) is not None
    assert sums(CALL, [seat(0, (1, None, 0.0, 0.5, 0.0, 0, 0))], 100.0) is None
    assert sums(CALL, [seat(0, (1, 0.5, 0.0, None, 0.0, 0, 0))], 100.0) is None
