"""Faults in time, alone and over each other."""

from math import inf, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.scenarios import Die, Fault, Flap, Freeze, MetricsOutage, Slow
from penstock.core.events import Began, Ended, Failed
from tests.sim.test_cloud import House

SPAN = {"at_s": st.integers(0, 20).map(float), "for_s": st.one_of(st.none(), st.integers(1, 12).map(float))}
FAULTS = st.lists(
    st.one_of(
        st.builds(Die, **SPAN),
        st.builds(Slow, **SPAN, factor=st.sampled_from((2.0, 5.0, 8.0))),
        st.builds(Freeze, **SPAN),
        st.builds(MetricsOutage, **SPAN),
        st.builds(Flap, **SPAN, period_s=st.sampled_from((2.0, 4.0))),
    ),
    max_size=7, unique=True,
)  # fmt: skip


def holding(fault: Fault, now: float) -> bool:
    """Whether it does harm then; a flap is dead in the first half of each of its turns."""
    since = now - fault.at_s
    if not 0 <= since < (inf if fault.for_s is None else fault.for_s):
        return False
    return not isinstance(fault, Flap) or since % fault.period_s < fault.period_s / 2


@given(FAULTS)
def test_a_replicas_state_is_what_all_faults_make_of_it(faults: list[Fault]) -> None:
    """At any time, whatever began or ended before: dead by any, frozen by any, silent by any, slow by all of them."""
    house = House()
    house.cloud.plan(tuple(faults))
    for quarter in range(1, 140):
        now = quarter / 4 + 0.1
        house.kernel.run(now)
        held = [fault for fault in faults if holding(fault, now)]
        found = (house.engine.dead, house.engine.frozen, house.engine.readings.mute, house.engine.slowed)
        dead, frozen, mute = (
            any(isinstance(fault, kinds) for fault in held) for kinds in ((Die, Flap), Freeze, MetricsOutage)
        )
        assert found == (dead, frozen, mute, prod(fault.factor for fault in held if isinstance(fault, Slow)))


def paced(house: House, name: str) -> float:
    """Seconds from the first of a thousand tokens to the last."""
    house.send(name, 1001)
    house.kernel.run(house.kernel.clock() + 50.0)
    (began_at, began), (ended_at, ended) = house.heard[-2:]
    assert isinstance(began, Began)
    assert isinstance(ended, Ended)
    return ended_at - began_at


def test_a_short_slow_spell_ends_within_a_longer_one() -> None:
    """An engine is as slow as both make it, then as the longer one alone, then as it was; a death within changes that
    as little."""
    house = House()
    house.cloud.plan((
        Slow(at_s=100.0, for_s=300.0, factor=4.0), Slow(at_s=200.0, for_s=100.0, factor=2.0),
        Die(at_s=210.0, for_s=10.0), Die(at_s=310.0, for_s=10.0),
    ))  # fmt: skip
    found = []
    for at in (0.0, 100.0, 220.0, 320.0, 400.0):
        house.kernel.run(at)
        found.append(paced(house, f"c{at}"))
    assert [took / found[0] for took in found] == pytest.approx([1.0, 4.0, 8.0, 4.0, 1.0], rel=1e-3)


def test_a_freeze_within_a_longer_one_thaws_nothing() -> None:
    """What was held is lost when the longer one ends, and not before; a death meanwhile loses it, and what comes after
    it is held again."""
    house = House()
    house.cloud.plan((Freeze(at_s=0.0, for_s=8.0), Freeze(at_s=1.0, for_s=2.0), Die(at_s=4.0, for_s=1.0)))
    house.kernel.run(2.0)
    house.send("first")
    house.kernel.run(5.5)
    house.send("second")
    house.kernel.run(9.0)
    assert [(round(at), event) for at, event in house.heard] == [
        (4, Failed("first", 1, "closed_early")), (8, Failed("second", 1, "closed_early")),
    ]  # fmt: skip
