"""Whatever a pool remembers and sees, however its clock jumps: a forecast never wants less than the metrics, and no
more runs than the bounds allow.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.core.scale.forecast import ForecastSpec
from penstock.core.scale.foresight import Foresight
from penstock.core.scale.history import KEPT, WINDOW_S, Past
from penstock.core.scale.recommend import Recommendation
from penstock.core.scale.words import Remembered
from tests.core.scale.pools import QUICK, World, seen, window

VALUES = st.one_of(st.none(), st.floats(0.0, 1e12), st.just(30.0))
SPECS = st.builds(
    ForecastSpec, buffer=st.one_of(st.none(), st.floats(0.0, 1.0)),
    ahead_s=st.one_of(st.none(), st.floats(0.0, 3600.0)),
    worst_error=st.sampled_from([0.1, 0.5, 1.0]),
)  # fmt: skip
PASTS = st.lists(VALUES, max_size=60).map(
    lambda values: Past(first=1000, calls=tuple(values), rates=tuple(values), startup_s=30.0)
)
JUMPS = st.one_of(st.floats(1.0, 400.0), st.floats(-5000.0, -1.0), st.just(1e7))


LOOKS = st.lists(st.tuples(JUMPS, st.integers(0, 200)), max_size=15)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(SPECS, PASTS, LOOKS, st.one_of(st.none(), st.integers(0, 50)))
def test_a_forecast_never_wants_less(
    wish: ForecastSpec, past: Past, looks: list[tuple[float, int]], wanted: int | None
) -> None:
    """The metrics' number stands or grows, with a silent metric nothing shrinks, and what is kept is bounded."""
    spec, foresight, now = replace(QUICK, forecast=wish), Foresight(), 1060 * WINDOW_S
    foresight.recall(past, now)
    found = Recommendation(count=wanted, reason="so it is", readings=())
    for passed_s, calls in looks:
        now += passed_s
        here = window(seen("a", calls, served=calls))
        foresight.see(here, now)
        joined = foresight.join(spec, found, here, 5, now)
        assert (joined.count or 0) >= (wanted or 0)
        assert joined.count is None or wanted is not None or joined.count > 5
        view = foresight.view(spec, now)
        assert view is not None
        assert view.windows <= 2 * KEPT
        assert len(foresight.past().calls) <= KEPT


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(PASTS, st.lists(st.integers(0, 120), min_size=1, max_size=6))
def test_a_pool_that_forecasts_stays_within_its_bounds(past: Past, loads: list[int]) -> None:
    """With any past and any load never more than the maximum are there, and never fewer wanted than the minimum."""
    world = World(replace(QUICK, min=2, max=6, forecast=ForecastSpec(worst_error=1.0, ahead_s=300.0)))
    world.now = 1060 * WINDOW_S
    world.tell(Remembered("p", past))
    for load in loads:
        world.load = load
        world.run(40.0)
        assert world.wanted is not None
        assert 2 <= world.wanted <= 6
    assert world.most <= 6
