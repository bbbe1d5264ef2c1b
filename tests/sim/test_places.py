"""Where simulated requests come from, and how far it is."""

from collections import Counter

import pytest

from penstock.base.nouns import Region
from penstock.base.rand import Rand
from penstock.config.regions import ClientRegions
from penstock.config.scenarios import Group, Policy
from penstock.core.route.presets import Regional, RoundRobin
from penstock.sim.places import Places
from penstock.sim.run import Run, simulate
from tests.sim.support import request, scenario, steady

WORLD = {"eu": Region(), "us": Region()}
FAR = {"eu": {"us": 0.2}}


def regions(here: str = "", **clients: float) -> ClientRegions:
    """Two, two tenths of a second apart."""
    return ClientRegions(places=WORLD, round_trips=FAR, here=here, clients=clients)


def origins(spec: ClientRegions, seed: int = 1) -> Counter[str]:
    """Where a thousand requests come from."""
    places = Places(spec, Rand(seed))
    return Counter(places.origin(request(0.0)) for _ in range(1000))


def test_requests_come_from_where_their_weights_say() -> None:
    """Three of four from Europe; from all alike where nothing is said; from `here` where that is; from nowhere that has
    a weight of 0."""
    assert origins(regions(eu=3.0, us=1.0))["eu"] == pytest.approx(750, abs=50)
    assert origins(regions())["eu"] == pytest.approx(500, abs=50)
    assert origins(regions(here="us")) == {"us": 1000}
    assert origins(regions(eu=1.0, us=0.0)) == {"eu": 1000}
    assert origins(regions(), 5) == origins(regions(), 5)


def test_a_session_stays_where_it_is() -> None:
    """All its requests come from one region, whatever comes between them; sessions are spread."""
    places = Places(regions(), Rand(1))
    found = {name: places.origin(request(0.0, session=name)) for name in map(str, range(200))}
    assert all(places.origin(request(1.0, session=name)) == origin for name, origin in found.items())
    assert sum(origin == "eu" for origin in found.values()) == pytest.approx(100, abs=25)


def test_ways() -> None:
    """Half of a round trip, and within a region half of what is set; probes go from `here`, else from the first."""
    places = Places(regions(), Rand(1))
    assert places.way_s("eu", "us") == pytest.approx(0.1)
    assert places.way_s("us", "us") == pytest.approx(0.0015)
    assert places.watch_way_s("us") == pytest.approx(0.1)
    assert Places(regions(here="us"), Rand(1)).watch_way_s("us") == pytest.approx(0.0015)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"clients": {"mars": 1.0}}, "there is no region 'mars'"),
        ({"clients": {"eu": 0.0}}, "only weights of 0"),
        ({"here": "mars"}, "regions.here: there is no region 'mars'"),
    ],
)
def test_what_cannot_be(fields: dict[str, object], said: str) -> None:
    """Regions that are not there, and weights that say nothing."""
    with pytest.raises(ValueError, match=said):
        ClientRegions(**{"places": WORLD, "round_trips": FAR, **fields})  # type: ignore[arg-type]


def test_clients_see_the_way_to_the_replica() -> None:
    """The only replica is in Europe: a request from the US has its first token two tenths later than one from there."""
    fleet = (Group(cost="fast", region="eu"),)
    near, far = (
        simulate(made, made.policy, [request(0.0)], 1).ttft_mean_s
        for made in (scenario(fleet=fleet, regions=regions(here=name)) for name in ("eu", "us"))
    )
    assert far - near == pytest.approx(0.2 - 0.003)


def test_each_region_is_served_at_home() -> None:
    """By `regional` nearly all have their first token within the way of their own region; by turns half cross the
    ocean."""
    fleet = tuple(Group(count=2, cost="fast", region=name) for name in ("eu", "us"))
    made = scenario(fleet=fleet, regions=regions())
    home, turns = (
        simulate(made, Policy(strategy=strategy), steady(200, 0.05), 1) for strategy in (Regional(), RoundRobin())
    )
    assert home.ttft_p95_s < 0.1
    assert turns.ttft_mean_s - home.ttft_mean_s == pytest.approx(0.1, abs=0.02)


def test_every_group_says_its_region() -> None:
    """One that does not, or names one that is not there, is a mistake; so is a region without regions."""
    for fleet, spec, said in (
        ((Group(),), regions(), "says its `region`"),
        ((Group(region="mars"),), regions(), "there is no region 'mars'"),
        ((Group(region="eu"),), None, "there is no region 'eu'"),
    ):
        with pytest.raises(ValueError, match=said):
            scenario(fleet=fleet, regions=spec)


def test_equal_seeds_are_equal_runs() -> None:
    """Regions add luck of their own stream only."""
    fleet = tuple(Group(cost="fast", region=name) for name in ("eu", "us"))
    made = scenario(fleet=fleet, regions=regions(), policy=Policy(strategy=Regional()))
    digests = {Run(made, made.policy, steady(50), 7).go(digest=True).journal for _ in range(2)}
    assert len(digests) == 1
