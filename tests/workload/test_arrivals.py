"""Arrivals rise, meet the rate that they are given at every time, and vary as much as they should."""

import statistics
from itertools import islice, pairwise, takewhile

import msgspec
import pytest

from penstock.base.rand import Rand
from penstock.workload.arrivals import (
    Arrivals,
    Bursty,
    Constant,
    Daily,
    Poisson,
    Profile,
    Ramp,
    Replayed,
    Steps,
)
from penstock.workload.request import NS

FILE = b"at_s,prompt_tokens,output_tokens\n10,50,5\n12,10,1\n20,20,2\n"
ALL: list[Arrivals] = [
    Poisson(rate=50), Bursty(rate=50, cv=3), Constant(rate=50), Ramp(start=0, end=100, over_s=20),
    Steps(steps=((5, 100), (5, 0)), repeat=True), Profile(points=((0, 0), (10, 100), (10, 0), (20, 50)), repeat=True),
    Daily(rate=50, start_hour=14.9),
]  # fmt: skip


def until(arrivals: Arrivals, end_s: float) -> list[float]:
    """Arrivals in seconds, before an end."""
    times = arrivals.times(Rand(1).stream("test"), lambda name: [FILE])
    return [at_ns / NS for at_ns in takewhile(lambda at_ns: at_ns < end_s * NS, times)]


def between(times: list[float], since_s: float, till_s: float) -> int:
    """How many arrive in a piece of time."""
    return sum(since_s <= at_s < till_s for at_s in times)


@pytest.mark.parametrize("arrivals", ALL, ids=lambda arrivals: type(arrivals).__name__)
def test_all_rise(arrivals: Arrivals) -> None:
    """Times are whole nanoseconds that never fall, and the same every time they are asked for."""
    times = [list(islice(arrivals.times(Rand(1).stream("a"), lambda name: []), 2000)) for _ in range(2)]
    assert times[0] == times[1] == sorted(times[0])
    assert all(type(at_ns) is int and at_ns >= 0 for at_ns in times[0])


@pytest.mark.parametrize(
    ("arrivals", "cv"), [(Poisson(rate=100), 1), (Bursty(rate=100, cv=3), 3), (Constant(rate=100), 0)]
)
def test_constant_rates(arrivals: Arrivals, cv: float) -> None:
    """The mean rate is met within 5 %, and the gaps have the wanted variation."""
    times = until(arrivals, 200)
    gaps = [till - since for since, till in pairwise(times)]
    assert len(times) / 200 == pytest.approx(100, rel=0.05)
    assert statistics.pstdev(gaps) / statistics.fmean(gaps) == pytest.approx(cv, rel=0.05, abs=1e-6)


def test_ramp() -> None:
    """A ramp from 0 to 100 has a quarter of its arrivals in its first half, and holds its end."""
    times = until(Ramp(start=0, end=100, over_s=100), 200)
    assert between(times, 0, 50) == pytest.approx(1250, rel=0.08)
    assert between(times, 0, 100) == pytest.approx(5000, rel=0.05)
    assert between(times, 100, 200) == pytest.approx(10_000, rel=0.05)
    assert len(list(Ramp(start=50, end=0, over_s=10, cv=0).times(Rand(1).stream("a"), lambda name: []))) == 250


def test_even_ramp_is_exact() -> None:
    """Without luck, the n-th arrival of a ramp is where its integral reaches n: t = √(2 n / slope)."""
    times = until(Ramp(start=0, end=10, over_s=10, cv=0), 10)
    assert times == pytest.approx([(2 * n) ** 0.5 for n in range(1, 50)], abs=1e-8)


def test_steps() -> None:
    """Each step has its own rate, a step of 0 nothing, and they come again where that is wanted."""
    steps = ((10.0, 100.0), (10.0, 0.0), (5.0, 20.0))
    times = until(Steps(steps=steps, repeat=True), 50)
    assert between(times, 0, 10) == pytest.approx(1000, rel=0.1)
    assert between(times, 10, 20) == 0
    assert between(times, 25, 35) == pytest.approx(1000, rel=0.1)
    assert until(Steps(steps=steps), 50)[-1] < 25


def test_profile_jumps() -> None:
    """Two points at one time are a step."""
    times = until(Profile(points=((0, 10), (10, 10), (10, 100), (20, 100)), cv=0), 100)
    assert between(times, 0, 10) == pytest.approx(100, abs=1)
    assert between(times, 10, 20) == pytest.approx(1000, abs=2)


@pytest.mark.slow
def test_daily() -> None:
    """The peak is where it should be, the day has its mean, the weekend less, and a start in the day is its hour."""
    day = 86_400.0
    week = until(Daily(rate=0.5, peak=1.8, peak_hour=15, weekend=0.4, cv=0), 7 * day)
    assert between(week, 0, day) == pytest.approx(0.5 * day, rel=0.002)
    assert between(week, 5 * day, 6 * day) == pytest.approx(0.2 * day, rel=0.005)
    assert between(week, 14.5 * 3600, 15.5 * 3600) == pytest.approx(0.9 * 3600, rel=0.01)
    assert between(week, 2.5 * 3600, 3.5 * 3600) == pytest.approx(0.1 * 3600, rel=0.06)
    later = until(Daily(rate=0.5, peak=1.8, peak_hour=15, start_hour=14.6, start_day=5, weekend=0.5, cv=0), 3600)
    assert len(later) == pytest.approx(0.45 * 3600, rel=0.01)


def test_replayed() -> None:
    """The times of a trace come from its first request on, at the wanted speed, and end with it."""
    assert until(Replayed(file="f", speed=2), 100) == [0, 1, 5]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"kind": "steps", "steps": [[0, 5]]}, "a time above 0 s"),
        ({"kind": "steps", "steps": [[5, 0]]}, "a rate above 0"),
        ({"kind": "profile", "points": [[1, 5], [2, 5]]}, "rise from 0"),
        ({"kind": "profile", "points": [[0, 0], [2, 0]]}, "0 everywhere"),
        ({"kind": "profile", "points": [[0, -1], [2, 1]]}, "a rate is from"),
        ({"kind": "poisson", "rate": 0}, "> 0"),
    ],
)
def test_mistakes(spec: dict[str, object], said: str) -> None:
    """Arrivals that never end in anything are refused."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(spec, Arrivals)
    assert said in str(caught.value)
