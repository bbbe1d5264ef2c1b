"""Regions in the file: what they become, what cannot be, and what is unwise."""

import pytest

from penstock.config.diff import changes
from penstock.core.route.presets import Regional
from tests.config.support import load_text, mistakes_of

REGIONS = """
regions:
  here: eu
  places: {eu: {latitude: 53.3, longitude: -6.3}, us: {cost: 0.9, capacity: 100}}
  round_trips: {eu: {us: 70ms}}
"""
POOL = """
pools:
  - name: p
    strategy: regional
    replicas: [{url: 'http://a:1', region: eu}, {url: 'http://b:1', region: us}]
"""


def test_every_pool_and_the_door_know_the_regions() -> None:
    """As they are written; times in seconds."""
    settings = load_text(REGIONS + POOL)
    regions = settings.server.regions
    assert regions is not None
    assert regions.round_trips == {"eu": {"us": 0.07}}
    assert regions.places["us"].capacity == 100
    assert [pool.regions for pool in settings.gate.pools] == [regions]
    assert settings.gate.pools[0].strategy == Regional()
    assert settings.warnings == ()


def test_without_regions_nobody_asks() -> None:
    """Nothing is set anywhere."""
    settings = load_text("pools: [{name: p, replicas: [{url: 'http://a:1', region: eu}]}]")
    assert settings.server.regions is None
    assert settings.gate.pools[0].regions is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (POOL, "it needs to know the regions"),
        (REGIONS.replace("here: eu", "here: mars") + POOL, "regions.here (line 3): there is no region 'mars'"),
        (REGIONS.replace("round_trips: {eu: {us: 70ms}}", "") + POOL, "nothing says how far eu is from us"),
        (REGIONS + POOL.replace("region: us", "region: uss"), "there is no region 'uss'"),
        (REGIONS + POOL.replace(", region: us", ""), "its region is not said"),
        (REGIONS + POOL.replace("regional", "least_loaded"), "the capacity of us would not hold"),
        (REGIONS + POOL + "    sticky: {header: x-s}\n", "the capacity of us would not hold"),
        (REGIONS + POOL + "    discover: [{kind: dns, name: x.example, port: 1}]\n", "its region is not said"),
        (
            REGIONS + POOL + "    scale: {actuator: {kind: dry_run}, replica: {region: moon}}\n",
            "there is no region 'moon'",
        ),
    ],
)
def test_what_cannot_be(text: str, said: str) -> None:
    """Each mistake with its place, and what there is instead."""
    assert said in "\n".join(mistakes_of(text))


def test_a_strategy_that_does_not_weigh_them_is_unwise() -> None:
    """It is told of, and works."""
    text = REGIONS.replace(", capacity: 100", "") + POOL.replace("regional", "adaptive")
    assert load_text(text).warnings == ("pool p: its strategy does not weigh regions; regional does",)


def test_a_change_is_told_once() -> None:
    """Though every pool has them."""
    before, after = load_text(REGIONS + POOL), load_text(REGIONS.replace("70ms", "80ms") + POOL)
    assert len(changes(before, after)) == 1
