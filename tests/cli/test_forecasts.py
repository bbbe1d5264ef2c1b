"""What a pool expects, as people read it under `penstock explain --pool`."""

from msgspec.structs import replace

from penstock.core.scale.forecast import ForecastSpec
from penstock.core.scale.view import ScaleStory
from penstock.core.scale.words import Remembered
from tests.cli.test_pools import run
from tests.core.scale.pools import QUICK, World
from tests.core.scale.test_foresight import MORNING, past
from tests.helpers.desk import desk


def shown(world: World) -> str:
    """What the command prints of it."""
    with desk() as at:
        view = world.governor.views(world.now)[0]
        entries = world.governor.history("p", 10) or []
        at.pages["/admin/pools/p?last=10"] = ScaleStory(view=view, entries=entries)
        status, out, _ = run("pools", "p", "--admin", at.url)
    assert status == 0
    return " ".join(out.split())


def forecasting(now: float) -> World:
    """A pool that forecasts."""
    world = World(replace(QUICK, max=40, forecast=ForecastSpec(ahead_s=180.0)))
    world.now = now
    return world


def test_what_is_expected_and_how_far_off_it_was() -> None:
    """The time of a start, 15 and 30 minutes, each with its error, beside that of saying that nothing changes."""
    world = forecasting(MORNING - 180.0)
    world.tell(Remembered("p", past(world.now)))
    told = shown(world.run(5.0))
    assert "Forecast: 100 calls at once are expected in 180 s (daily, off by" in told
    assert "A start takes: 2" in told
    assert "180 s (a start) 100" in told or "3 min (a start) 100" in told
    assert "30 min 100" in told or "1800 s 100" in told


def test_why_it_does_not_act() -> None:
    """Without a past it says so, and there is no table."""
    told = shown(forecasting(0.0).run(5.0))
    assert "not acted upon, the metrics alone decide): the past is too short: 0 of 10 windows" in told
    assert "nothing known" in told
    assert "nine of ten" not in told


def test_a_pool_that_does_not_forecast() -> None:
    """It is told as before."""
    assert "Forecast" not in shown(World(QUICK).run(5.0))
