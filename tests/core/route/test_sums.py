"""Scores that are added in one go: the best are those that the scorers make one by one, to the last bit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.base.nouns import Call, EngineStats, Replica
from penstock.base.rand import Rand
from penstock.core.health import Health
from penstock.core.load import Seat
from penstock.core.route.notes import Notes
from penstock.core.route.pipeline import Pipeline, build
from penstock.core.route.presets import Adaptive, LeastLoaded
from penstock.core.route.scorers import Load
from penstock.core.route.sums import in_one_go
from penstock.core.spec import BreakerSpec, ProbeSpec

CALL = Call("c", "model", stream=True)
SHARES = st.floats(0.0, 1.0)
SEAT = st.tuples(
    st.integers(0, 8), st.floats(0.0, 50.0), SHARES, SHARES, st.one_of(st.just(0.0), SHARES), st.integers(0, 200),
    st.integers(0, 8),
)  # fmt: skip
"""Calls in flight when its engine was read, mean TTFT, age, KV usage, errors, waiting, and calls in flight now."""
MISSING = st.tuples(
    st.integers(0, 8), st.one_of(st.none(), st.floats(0.0, 50.0)), st.floats(0.0, 2.0), st.one_of(st.none(), SHARES),
    st.just(0.0), st.integers(0, 200), st.integers(0, 8),
)  # fmt: skip
SEATS = st.one_of(st.lists(SEAT, min_size=1, max_size=9), st.lists(st.one_of(SEAT, MISSING), min_size=1, max_size=9))


def seat(order: int, drawn: tuple[Any, ...]) -> Seat:
    """A replica that was seen for a while; its numbers may be stale or missing."""
    in_flight, ttft_s, age, kv_usage, errors, waiting, later = drawn
    made = Seat(Replica(id=f"r{order}", url="http://r", pool="p"), Health(BreakerSpec(), ProbeSpec(), 8), order)
    made.in_flight, made.ttft_s, made.ttft_at = in_flight, ttft_s, 100.0 - 90.0 * age
    made.errors, made.errors_at = errors, 100.0 - 50.0 * age
    if kv_usage is not None:
        made.observed(EngineStats(running=1, waiting=waiting, kv_usage=kv_usage), 10.0, 100.0 - 9.0 * age)
    made.in_flight = later
    return made


def pipelines() -> tuple[Pipeline, Pipeline]:
    """Two alike; the second one's notes want every single score."""
    plain, noting = build(Adaptive(), Rand(1)), build(Adaptive(), Rand(1))
    noting.take_notes(Notes())
    return plain, noting


def same_best(some: list[float], all_of_them: list[float]) -> bool:
    """Whether the best are the same, and as good to the last bit; the others are no better than they are."""
    best = max(all_of_them)
    return all(
        one == other if other == best else one <= other + 1e-12
        for one, other in zip(some, all_of_them, strict=True)
    )  # fmt: skip


@pytest.mark.slow
@given(SEATS, st.booleans())
def test_one_go_is_one_by_one(drawn: list[tuple[Any, ...]], stream: bool) -> None:
    """Whoever is unmeasured, silent, stale or failing: equal best sums, with the prefix score behind them as well."""
    plain, noting = pipelines()
    ours, theirs = ([seat(order, each) for order, each in enumerate(drawn)] for _ in range(2))
    for prefix in ((), tuple(range(1, 6))):
        call = Call("c", "model", stream=stream, prefix=prefix, prompt_bytes=3000)
        assert same_best(plain.scores(call, ours, 100.0), noting.scores(call, theirs, 100.0))
        for pipeline, seats in ((plain, ours), (noting, theirs)):
            assert pipeline.prefix is not None
            pipeline.prefix.sent(Call("d", "model", prefix=(1, 2, 3), prompt_bytes=3000), "model", seats[0])


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 8), st.sampled_from(("more", "fewer", "began", "failed", "well", "pinned", "read", "nothing")),
        SHARES, st.floats(0.0, 0.4),
    ),
    max_size=30,
)  # fmt: skip


def change(made: Seat, what: str, share: float, now: float) -> None:
    """What may happen to a replica between two choices."""
    if what in ("more", "fewer"):
        made.in_flight += 1 if what == "more" else -(made.in_flight > 0)
    elif what == "began":
        made.began(5.0 * share, True, 10.0, now)
    elif what in ("failed", "well"):
        made.outcome(what == "failed", now)
    elif what == "pinned":
        made.pinned_calls(int(9 * share))
    elif what == "read":
        made.observed(EngineStats(running=1, waiting=int(99 * share), kv_usage=share), 10.0, now)


@pytest.mark.slow
@given(st.lists(SEAT, min_size=2, max_size=9), CHANGES)
def test_what_is_kept_between_choices_is_never_wrong(
    drawn: list[tuple[Any, ...]], changes: list[tuple[int, str, float, float]]
) -> None:
    """Calls come and go, begin, fail, are pinned, engines are read, time goes by: the best stay the same."""
    plain, noting = pipelines()
    seats, now = [seat(order, each) for order, each in enumerate(drawn)], 100.0
    for which, what, share, later_s in changes:
        now += later_s
        change(seats[which % len(seats)], what, share, now)
        assert same_best(plain.scores(CALL, seats, now), noting.scores(CALL, seats, now))


def test_who_rises_past_the_best_is_seen() -> None:
    """A slow replica whose mean fades was a hair behind at the last choice; now it is a hair before."""
    plain, noting = pipelines()
    quick, slow = seat(0, (0, 1e-9, 0.0, 0.7495, 0.0, 0, 0)), seat(1, (0, 1.0, 0.0, 0.0, 0.0, 0, 0))
    before, after = (plain.scores(CALL, [quick, slow], at) for at in (100.0, 100.2))
    assert before[0] > before[1]
    assert after[0] < after[1]
    assert after == noting.scores(CALL, [quick, slow], 100.2)


def test_others_settings_and_another_pipeline_are_seen() -> None:
    """A replica with other seats, and a pool with other weights: nothing of before is kept."""
    plain, noting = pipelines()
    made = seat(0, (1, 0.5, 0.0, 0.5, 0.0, 0, 1))
    first = plain.scores(CALL, [made], 100.0)
    made.adopt(replace(made.replica, max_concurrent_requests=3))
    assert first != plain.scores(CALL, [made], 100.0) == noting.scores(CALL, [made], 100.0)
    other = build(Adaptive(load=0.9), Rand(1))
    other.changed([made])
    assert other.scores(CALL, [made], 100.0) != plain.scores(CALL, [made], 100.0)


def test_it_is_for_what_adaptive_weighs() -> None:
    """Other scorers are not mistaken for these four."""
    plain, _ = pipelines()
    assert in_one_go(plain.scorers) is not None
    assert in_one_go(plain.scorers[1:]) is None
    assert in_one_go(build(LeastLoaded(), Rand(1)).scorers) is None


def test_who_is_unmeasured_is_the_scorers_business() -> None:
    """It says nothing rather than something else, of one replica or of many."""
    plain, _ = pipelines()
    sums = in_one_go(plain.scorers)
    assert sums is not None
    known = (1, 0.5, 0.0, 0.5, 0.0, 0, 1)
    assert sums(CALL, [seat(0, known)], None, 100.0) is not None
    for unknown in ((1, None, 0.0, 0.5, 0.0, 0, 1), (1, 0.5, 0.0, None, 0.0, 0, 1)):
        assert sums(CALL, [seat(0, unknown)], None, 100.0) is None
        for other in (None, (0.5, Load())):
            assert sums(CALL, [seat(0, known), seat(1, unknown)], other, 100.0) is None
