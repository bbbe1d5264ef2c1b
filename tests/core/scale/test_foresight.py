"""A pool that forecasts grows before its load, never shrinks for it, and says why where the metrics alone decide."""

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.core.scale.forecast import ForecastSpec
from penstock.core.scale.foresight import ForecastView, Foresight
from penstock.core.scale.history import DAY, WINDOW_S, Past
from penstock.core.scale.life import Life
from penstock.core.scale.recommend import Recommendation
from penstock.core.scale.record import Decision
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.words import Reconfigured, Remembered
from tests.core.scale.pools import QUICK, World, seen, window
from tests.core.scale.test_forecast import steep

DAYS = 2
MORNING = (DAYS * DAY + DAY // 4) * WINDOW_S
"""When a step from twenty to a hundred calls comes."""
PLAIN = replace(QUICK, max=40, forecast=ForecastSpec(buffer=0.0))
STAYS = Recommendation(count=3, reason="as it is", readings=())


def past(until: float = MORNING, scale: float = 1.0) -> Past:
    """Days of office hours up to here."""
    values = tuple(scale * steep(number) for number in range(int(until // WINDOW_S)))
    return Past(first=0, calls=values, rates=tuple(value / 10.0 for value in values), startup_s=180.0)


def taught(now: float = MORNING, **fields: Any) -> Foresight:
    """One that remembers them."""
    foresight = Foresight()
    foresight.recall(past(now, **fields), now)
    foresight.see(window(seen("a", 20), seen("b", 0), seen("c", 0)), now)
    return foresight


def restless() -> Foresight:
    """One whose load nobody can foresee."""
    foresight = Foresight()
    calls = tuple(200.0 if number % 4 < 1 else 5.0 for number in range(int(MORNING // WINDOW_S)))[-100:]
    foresight.recall(Past(first=int(MORNING // WINDOW_S) - 100, calls=calls, rates=calls), MORNING)
    return foresight


def asked(foresight: Foresight, spec: ScaleSpec, now: float, found: Recommendation = STAYS) -> Recommendation:
    """What it makes of a recommendation for three replicas."""
    return foresight.join(spec, found, window(seen("a")), 3, now)


def shown(foresight: Foresight, spec: ScaleSpec, now: float) -> ForecastView:
    """What people see."""
    view = foresight.view(spec, now)
    assert view is not None
    return view


def test_switched_off_it_is_not_there() -> None:
    """Without `forecast` nothing is added, kept or shown."""
    foresight = taught()
    assert asked(foresight, QUICK, MORNING) is STAYS
    assert foresight.view(QUICK, MORNING) is None


def test_it_wants_more_before_the_load_comes() -> None:
    """Three minutes before the morning's step the forecast wants what the step needs; the largest number wins."""
    now = MORNING - 180.0
    found = asked(taught(now), PLAIN, now)
    assert found.count == 15  # a hundred calls over seven of ten seats
    assert found.readings[-1].metric == "forecast"
    assert found.reason.startswith("100 calls at once are expected in 181 s (daily, off by ")
    long_before = MORNING - 3600.0
    assert asked(taught(long_before), PLAIN, long_before).count == 3


def test_it_never_wants_less() -> None:
    """Where the metrics want more than the forecast, and where it expects little, the metrics' number stands."""
    now = MORNING + 3600.0
    many = Recommendation(count=30, reason="full", readings=())
    assert asked(taught(now), PLAIN, now, many).count == 30
    night = MORNING - 3 * 3600.0
    assert asked(taught(night), PLAIN, night, Recommendation(count=9, reason="busy", readings=())).count == 9


@pytest.mark.slow
def test_metrics_that_cannot_be_read() -> None:
    """While the metrics say nothing the forecast may make the pool larger, and never smaller."""
    silent = Recommendation(count=None, reason="no metric can be read", readings=())
    now = MORNING - 180.0
    assert asked(taught(now), PLAIN, now, silent).count == 15
    evening = MORNING + DAY // 2 * WINDOW_S - 180.0
    foresight = taught(evening)
    assert foresight.join(PLAIN, silent, window(seen("a")), 15, evening).count is None


def test_between_up_and_down_it_stays() -> None:
    """A forecast of little more or less than there should be changes nothing, and holds what there is."""
    now = MORNING - 180.0
    foresight, held = taught(now), Recommendation(count=2, reason="idle", readings=())
    assert foresight.join(PLAIN, held, window(), 13, now).count == 13  # 15 is less than 1.2 times as much
    assert foresight.join(PLAIN, held, window(), 20, now).count == 20  # and more than .7 times
    assert foresight.join(PLAIN, held, window(), 22, now).count == 15
    assert foresight.join(PLAIN, held, window(), 11, now).count == 15


@pytest.mark.parametrize(
    ("spec", "made", "why"),
    [
        (PLAIN, Foresight(), "the past is too short: 0 of 10 windows"),
        (PLAIN, restless(), "of late, more than 50%"),
        (PLAIN, taught(scale=0.1), "it would be 2: fewer than 3 are left to the metrics"),
    ],
)
def test_left_to_the_metrics_it_says_why(spec: ScaleSpec, made: Foresight, why: str) -> None:
    """A past that is too short, errors that are too large, too few replicas: the metrics alone decide; it says so."""
    assert asked(made, spec, MORNING) is STAYS
    view = shown(made, spec, MORNING)
    assert why in view.why
    assert (view.acts, view.wants) == (False, None)


def test_no_better_than_nothing() -> None:
    """Where saying that it stays as it is was as good, no forecast is acted upon."""
    foresight = Foresight()
    foresight.recall(Past(first=0, calls=(30.0,) * 100, rates=(1.0,) * 100), 100 * WINDOW_S)
    assert asked(foresight, PLAIN, 100 * WINDOW_S) is STAYS
    assert "no better" in shown(foresight, PLAIN, 100 * WINDOW_S).why


@pytest.mark.slow
def test_how_much_is_added() -> None:
    """A fifth, as A4 says; or what nine of ten forecasts of the last day would have needed."""
    now = MORNING - 180.0
    fifth = replace(PLAIN, forecast=ForecastSpec(buffer=0.2))
    assert asked(taught(now), fifth, now).count == 18
    learnt = replace(PLAIN, forecast=ForecastSpec())
    assert asked(taught(now), learnt, now).count == 15  # steps aside, they were exact


def test_how_far_it_looks() -> None:
    """As long as replicas were seen to take, those that ran already left out, and a decision; or as it is told."""
    foresight = Foresight()
    assert foresight.ahead_s(PLAIN) == 121.0
    lives = []
    for name, born, ready_at, found in (("a", 0.0, 50.0, False), ("b", 0.0, 70.0, False), ("c", 9.0, 9.0, True)):
        life = Life(name, "ordered", born)
        life.ready_at, life.found = ready_at, found
        lives.append(life)
    foresight.starts(lives)
    assert foresight.ahead_s(PLAIN) == 61.0
    foresight.starts([])
    assert foresight.startup_s == 60.0
    assert foresight.ahead_s(replace(PLAIN, forecast=ForecastSpec(ahead_s=900.0))) == 900.0


def test_what_people_see() -> None:
    """What is expected in the time of a start, in 15 and in 30 minutes, each with its error, and the rule of thumb."""
    now = MORNING - 180.0
    foresight = taught(now)
    asked(foresight, PLAIN, now)
    view = shown(foresight, PLAIN, now)
    assert [(one.name, one.ahead_s, round(one.calls)) for one in view.ahead] == [
        ("start", 181.0, 100), ("15m", 900.0, 100), ("30m", 1800.0, 100),
    ]  # fmt: skip
    assert all(one.checked == DAY and one.error < one.error_as_is for one in view.ahead)
    assert (view.acts, view.wants, view.calls, view.thumb) == (True, 15, 20.0, 3)
    assert view.windows == DAYS * DAY + DAY // 4 - 1


@pytest.mark.slow
def test_a_clock_that_was_put_back() -> None:
    """It begins anew from what is left, and goes on."""
    foresight = taught()
    for at in (MORNING - 10 * WINDOW_S, MORNING - 9 * WINDOW_S, MORNING + 10**7):
        foresight.see(window(seen("a")), at)
        foresight.join(PLAIN, STAYS, window(), 3, at)
    assert foresight.past().startup_s == 180.0


# ===== in a Governor =====


def test_a_pool_grows_before_its_load() -> None:
    """In a Governor that remembers two mornings, the third's replicas are ready when its load comes."""
    early = replace(PLAIN, forecast=ForecastSpec(buffer=0.0, ahead_s=180.0))
    world = World(early)
    world.now = MORNING - 600.0
    world.tell(Remembered("p", past(world.now)))
    world.load = 21
    world.run(400.0)
    assert world.wanted == 3
    world.run(30.0)
    assert world.wanted is not None
    assert world.wanted >= 14  # a hundred calls over seven of ten seats, as the day goes
    assert world.states == {"ready": world.wanted}
    decision = next(one for one in world.decisions if one.wanted > 3)
    assert "expected" in decision.reason
    plain = World(replace(PLAIN, forecast=None))
    plain.load = 21
    plain.run(60.0)
    assert plain.wanted == 3


@pytest.mark.slow
def test_a_window_that_is_over_is_written_down() -> None:
    """Every five minutes, and only where a pool forecasts; what is remembered is told back after a restart."""
    world = World(PLAIN)
    world.load = 21
    world.run(1000.0)
    assert world.past is not None
    assert [round(value or 0.0) for value in world.past.calls] == [21, 21, 21]
    again = World(PLAIN)
    again.now = world.now
    again.tell(Reconfigured({"p": PLAIN}, {}))
    again.tell(Remembered("p", world.past))
    view = again.governor.views(again.now)[0].forecast
    assert view is not None
    assert view.windows == 3
    silent = World(QUICK).run(1000.0)
    assert silent.past is None


def test_it_cannot_pass_the_bounds() -> None:
    """A past in which a billion calls came makes the pool as large as it may be, and raises the alarm."""
    world = World(replace(PLAIN, max=8))
    world.now = MORNING - 180.0
    world.tell(Remembered("p", past(world.now, scale=1e9)))
    world.run(60.0)
    assert world.most <= 8
    last = world.decisions[-1]
    assert isinstance(last, Decision)
    assert (last.wanted, last.bounds[-1], bool(last.alarm)) == (8, "max 8", True)
