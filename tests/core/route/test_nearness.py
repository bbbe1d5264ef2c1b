"""Choosing across regions, on literal numbers: G2's sum, G3's points, what is measured with the way in it, capacity."""

from math import exp
from random import Random
from typing import Any

import msgspec
import pytest

from penstock.base.nouns import Region
from penstock.base.rand import Rand
from penstock.core.events import Ended, Failed, FleetSeen, Reconfigured
from penstock.core.load import Seat
from penstock.core.regions import RegionsSpec
from penstock.core.route.nearness import Nearest, Nearness, Points, Ways, WithinCapacity, spread, untried
from penstock.core.route.pipeline import build
from penstock.core.route.presets import Regional, RegionalClassic
from penstock.core.spec import ExplainSpec, GateSpec
from penstock.telemetry.explain import explain
from tests.core.playbook import arrived, call, fleet, gate, pool, replica, seat, sends, stats

FAR = {"eu": {"us": 0.070, "ap": 0.216}, "us": {"ap": 0.167}}
EVERYWHERE = RegionsSpec(places={"eu": Region(), "us": Region(cost=0.5), "ap": Region()}, round_trips=FAR)
FROM_EU = RegionsSpec(places=EVERYWHERE.places, round_trips=FAR, here="eu")


def seats(**fields: Any) -> list[Seat]:
    """One of each region, named like it."""
    return [seat(name, order, region=name, **fields) for order, name in enumerate(("eu", "us", "ap"))]


def measured(ttft_s: dict[str, float], at: float = 0.0) -> list[Seat]:
    """The same, each with a time to first token."""
    made = seats()
    for one in made:
        if one.id in ttft_s:
            one.began(ttft_s[one.id], True, 10.0, at)
    return made


def ms(scores: list[float]) -> list[float]:
    """What the scores of `Nearness` stand for."""
    return [1000.0 / score - 1000.0 for score in scores]


# ===== G2 =====


def test_the_sum_is_way_and_load_and_time_to_begin() -> None:
    """From the US: 70 ms + 2 ms x 50 % + 200 ms; 3 ms + 2 ms x 25 % + 300 ms; 167 ms, idle and quick. What was measured
    from Europe has the way from there in it, which is taken out."""
    made = measured({"eu": 0.203, "us": 0.370, "ap": 0.266})
    made[0].in_flight, made[1].in_flight = 4, 2
    found = Nearness(Regional(), Ways(FROM_EU)).score(call(stream=True, region="us"), made, 0.0)
    assert ms(found) == pytest.approx([70 + 100 + 200, 3 + 50 + 300, 167 + 0 + 50])


def test_a_score_is_what_its_terms_add_up_to() -> None:
    """The numbers that people are shown are those that decided."""
    made = measured({"eu": 0.2, "us": 0.4})
    made[1].in_flight = 3
    scorer = Nearness(Regional(), Ways(FROM_EU))
    asked = call(stream=True, region="us", priority=4)
    assert ms(scorer.score(asked, made, 5.0)) == pytest.approx([sum(row) for row in scorer.terms(asked, made, 5.0)])


def test_without_word_of_its_region_a_call_comes_from_here() -> None:
    """And where that is not said either, everybody is equally near."""
    assert ms(Nearness(Regional(), Ways(FROM_EU)).score(call(), seats(), 0.0)) == pytest.approx([3, 70, 216])
    assert ms(Nearness(Regional(), Ways(EVERYWHERE)).score(call(), seats(), 0.0)) == pytest.approx([3, 3, 3])


def test_what_is_measured_has_the_way_in_it() -> None:
    """Where every region has an entry of its own, the way that the seat's own calls had is what is taken out: two
    engines that are equally quick are so from everywhere."""
    ways = Ways(EVERYWHERE)
    scorer = Nearness(Regional(), ways)
    made = seats()[:2]
    picker = Nearest(Random(1), scorer)
    for origin, where, ttft_s in (("eu", 0, 0.303), ("us", 1, 0.303)):
        asked = call(stream=True, region=origin)
        scores = [0.0, 0.0]
        scores[where] = 1.0
        scorer.score(asked, made, 0.0)
        assert picker.pick(made, scores, 0.0) is made[where]
        made[where].began(ttft_s, True, 10.0, 1.0)
    assert ways.processing_ms(call(stream=True), made, 1.0) == pytest.approx([300, 300])
    assert ms(scorer.score(call(stream=True, region="eu"), made, 1.0)) == pytest.approx([303, 370])
    assert ms(scorer.score(call(stream=True, region="us"), made, 1.0)) == pytest.approx([370, 303])


def test_an_idle_region_looks_neither_quick_nor_slow() -> None:
    """What was measured a minute ago counts e^-1, what is typical now the rest; who was not measured is typical."""
    made = measured({"us": 0.570}, at=0.0)
    made[0].began(0.103, True, 10.0, 60.0)
    ways = Ways(FROM_EU)
    old = exp(-1)
    typical = (100 + old * 500) / (1 + old)
    found = ways.processing_ms(call(stream=True), made, 60.0)
    assert found == pytest.approx([100, old * 500 + (1 - old) * typical, typical])
    assert ways.processing_ms(call(stream=False), made, 60.0) == [0.0, 0.0, 0.0]


def test_cheap_calls_weigh_the_price() -> None:
    """Of low priority or batch: 2 ms for each % that a replica is dearer than the cheapest, by its price and its
    region's multiplier; others do not ask. A replica without a price is as cheap as any."""
    made = [seat(name, region=name, hourly_cost=4.0) for name in ("eu", "us")]
    scorer = Nearness(Regional(), Ways(FROM_EU))
    assert ms(scorer.score(call(priority=3), made, 0.0)) == pytest.approx([3 + 200, 70])
    assert ms(scorer.score(call(priority=2), made, 0.0)) == pytest.approx([3, 70])
    never = Nearness(Regional(cheap_from=None), Ways(FROM_EU))
    assert ms(never.score(call(priority=4), made, 0.0)) == pytest.approx([3, 70])
    free = [seat("eu", region="eu", hourly_cost=4.0), seat("us", region="us")]
    assert ms(scorer.score(call(priority=3), free, 0.0)) == pytest.approx([3, 70])


# ===== G3 =====


def test_points() -> None:
    """(100 - 3) + (50 - 25) + 50 + 20 at home; far away, full and without the model it is a long way below."""
    made = [seat("eu", region="eu", in_flight=2), seat("ap", region="ap", in_flight=8)]
    made[1].observed(stats(loaded=("other",)), 10.0, 0.0)
    made[0].observed(stats(loaded=("m",)), 10.0, 0.0)
    scorer = Points(RegionalClassic(), Ways(FROM_EU))
    assert scorer.terms(call(), made, 0.0) == [pytest.approx([97, 25, 50, 20]), pytest.approx([-116, -50, -100, 20])]
    assert scorer.score(call(), made, 0.0) == pytest.approx([1 / (1 + exp(-1.92)), 1 / (1 + exp(2.46))])


def test_twice_as_dear_is_half_of_the_points_for_the_price() -> None:
    """Whatever the call's priority."""
    made = [seat("eu", region="eu", hourly_cost=2.0), seat("us", region="us", hourly_cost=2.0)]
    rows = Points(RegionalClassic(), Ways(FROM_EU)).terms(call(), made, 0.0)
    assert [row[3] for row in rows] == [10.0, 20.0]


# ===== capacity, samples, second attempts =====


def test_a_region_takes_no_more_than_it_may() -> None:
    """All the pool's calls there count, those at ill replicas too; a region without a bound has none."""
    bound = WithinCapacity(RegionsSpec(places={"eu": Region(capacity=3), "us": Region()}))
    everybody = [
        seat("e1", region="eu", in_flight=1),
        seat("e2", region="eu", in_flight=1),
        seat("u1", region="us", in_flight=9),
    ]
    bound.changed(everybody)
    assert bound.keep(call(), everybody, 0.0) == everybody
    everybody[1].in_flight = 2
    assert bound.keep(call(), everybody, 0.0) == [everybody[2]]


def test_a_sample_has_all_regions() -> None:
    """Of two hundred replicas, one region behind the other in the fleet's order, both are looked at alike."""
    many = [seat(f"r{number}", number, region="eu" if number < 100 else "us") for number in range(200)]
    drawn = spread(many, Random(1))
    assert len({one.id for one in drawn}) == 64
    assert sum(one.replica.region == "eu" for one in drawn) in (31, 32, 33)
    assert spread(many[:64], Random(1)) == many[:64]


def test_another_attempt_is_made_in_another_region() -> None:
    """Where somebody is free there; else at anybody who has not failed the call; else at all. Without regions it is
    untried ones first."""
    made = [seat("e1", region="eu"), seat("e2", region="eu"), seat("u1", region="us", in_flight=7)]
    tried = frozenset({"e1"})
    assert untried(made, tried, made, True) == [made[2]]
    assert untried(made, tried, made, False) == made[1:]
    assert untried(made[1:], tried, made, True) == [made[2]]
    made[2].in_flight = 8
    assert untried(made, tried, made, True) == made[1:]
    assert untried(made[:1], tried, made, True) == made[:1]


# ===== as the Gate has it =====


def world(strategy: Regional | RegionalClassic | None = None, **places: Region) -> Any:
    """A Gate over one replica of two seats in each region, and calls from Europe by default."""
    regions = RegionsSpec(places={**EVERYWHERE.places, **places}, round_trips=FAR, here="eu")
    made = gate(pool(strategy=strategy or Regional(), regions=regions))
    seen = [replica(name, region=name, max_concurrent_requests=2) for name in ("ap", "us", "eu")]
    made.on(FleetSeen(tuple(seen)), 0.0)
    return made


@pytest.mark.parametrize("strategy", [Regional(), RegionalClassic()])
def test_a_call_goes_to_its_own_region(strategy: Regional | RegionalClassic) -> None:
    """By either score, each to its own; one whose region nobody told goes to the gateway's."""
    machine = world(strategy)
    asked = [("c1", "us"), ("c2", "ap"), ("c3", ""), ("c4", "eu")]
    found = [sends(machine.on(arrived(name, region=region), 1.0))[0] for name, region in asked]
    assert found == [("c1", "us"), ("c2", "ap"), ("c3", "eu"), ("c4", "eu")]


def test_a_region_without_the_model_is_left_out() -> None:
    """However near it is."""
    regions = RegionsSpec(places=EVERYWHERE.places, round_trips=FAR, here="eu")
    machine = gate(pool(strategy=Regional(), regions=regions, models=("m", "n")))
    near = replica("near", region="eu", models={"n": "n"})
    far = replica("far", region="ap", models={"m": "m"})
    machine.on(FleetSeen((near, far)), 0.0)
    assert sends(machine.on(arrived("c1"), 0.0)) == [("c1", "far")]


def test_a_full_region_sends_its_calls_on() -> None:
    """One call in flight is all that Europe may have: the next goes to the US, though a seat is free at home; when all
    are at their bound it waits, and goes on when a call ends."""
    machine = world(eu=Region(capacity=1), us=Region(capacity=1), ap=Region(capacity=1))
    for name, where in (("c1", "eu"), ("c2", "us"), ("c3", "ap")):
        assert sends(machine.on(arrived(name), 0.0)) == [(name, where)]
    assert sends(machine.on(arrived("c4"), 0.0)) == []
    assert sends(machine.on(Ended("c2", 1, 200), 1.0)) == [("c4", "us")]


def test_a_dark_region_is_left_for_the_next_best() -> None:
    """An attempt that could not connect is made again at once in the next-best region, not at the neighbour."""
    regions = RegionsSpec(places=EVERYWHERE.places, round_trips=FAR, here="eu")
    machine = gate(pool(strategy=Regional(), regions=regions))
    machine.on(FleetSeen(tuple(replica(name, region=name[:2]) for name in ("eu1", "eu2", "us1", "ap1"))), 0.0)
    first = sends(machine.on(arrived("c1"), 0.0))
    assert first[0][1].startswith("eu")
    assert sends(machine.on(Failed("c1", 1, "connect_timeout"), 5.0)) == [("c1", "us1")]


def test_nothing_asks_where_no_region_is_configured() -> None:
    """The strategies work all the same, everybody being near; and other strategies have neither bound nor picker of
    regions."""
    machine = gate(pool(strategy=Regional()))
    machine.on(fleet("a", "b"), 0.0)
    assert sends(machine.on(arrived("c1"), 0.0)) != []
    assert build(Regional(), Rand(1)).bound is None


def test_explain_tells_the_numbers() -> None:
    """Where the call comes from, where it went, and each number that was added up; of the neighbour in the region that
    failed it, why it was left out."""
    regions = RegionsSpec(places=EVERYWHERE.places, round_trips=FAR, here="eu")
    machine = gate(pool(strategy=Regional(), regions=regions), explain=ExplainSpec(calls=10))
    seen = [replica(name, region=name[:2], max_concurrent_requests=4) for name in ("eu1", "eu2", "us1")]
    machine.on(FleetSeen(tuple(seen)), 0.0)
    machine.on(arrived("c1", region="us"), 0.0)
    machine.on(arrived("c2", region="us"), 0.0)
    trail = machine.trail("c2", 1.0)
    assert trail is not None
    told = explain(trail)
    (choice,) = told.choices
    assert choice.note == pytest.approx(["us", "us", 3.0, 50.0, 0.0, 0.0])
    assert {one.replica: one.scores["nearness"] for one in choice.candidates} == pytest.approx(
        {"us1": 1000 / 1053, "eu1": 1000 / 1070, "eu2": 1000 / 1070}, abs=1e-5
    )
    assert "it is in us, the call comes from us: ms for the way 3, for its load 50" in told.summary
    first = machine.on(arrived("c3", region="eu"), 1.0)
    failed = sends(first)[0][1]
    machine.on(Failed("c3", 1, "connect_timeout"), 6.0)
    again = machine.trail("c3", 7.0)
    assert again is not None
    left = {one.replica: one.reason for one in explain(again).choices[-1].left_out}
    assert left == {failed: "tried before", "eu2" if failed == "eu1" else "eu1": "in a region that failed it"}


def test_a_reload_changes_the_distances() -> None:
    """From the next call on, with everything else kept; and without regions all are near again."""
    machine = world()
    assert sends(machine.on(arrived("c1", region="us"), 0.0)) == [("c1", "us")]
    swapped = RegionsSpec(places=EVERYWHERE.places, round_trips={"eu": {"us": 0.5, "ap": 0.2}, "us": {"ap": 0.001}})
    inside = msgspec.structs.replace(swapped, inside_s=0.3)
    for spec, replicas in ((inside, {"ap"}), (None, {"ap", "eu", "us"})):
        changed = pool(strategy=Regional(), regions=spec)
        machine.on(Reconfigured(GateSpec(pools=(changed,))), 1.0)
        assert sends(machine.on(arrived(f"c{spec is None}", region="us"), 1.0))[0][1] in replicas
