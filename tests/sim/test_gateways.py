"""Several gateways over one fleet: each knows its own calls, and limits hold for all where they are shared."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.base.errors import ConfigError
from penstock.config.clients import ClientRetries, Clients
from penstock.config.scenarios import Die, Drain, Gateways, Group, Policy
from penstock.core.cache.spec import CacheSpec
from penstock.core.effects import Carry, Effect, Record, Send
from penstock.core.events import Arrived, Event
from penstock.core.limits.spec import AllowanceSpec
from penstock.core.route.presets import LeastLoaded
from penstock.core.spec import BatchingSpec, BenchmarkSpec
from penstock.sim.gateways import Peers
from penstock.sim.oracle import least_work
from penstock.sim.run import Run
from penstock.sim.tally import Result
from penstock.workload.request import Request
from tests.sim.support import request, scenario, steady

POLICY = Policy(strategy=LeastLoaded())
LIMITED = replace(POLICY, limits=AllowanceSpec(requests_per_minute=60))


Watch = Callable[[float, Event, list[Effect]], None]


def ran(
    requests: list[Request], gateways: Gateways, watch: Watch | None = None, **fields: Any
) -> tuple[dict[str, int], Result]:
    """To which gateway each call came, and what came out; after which none of them holds anything."""
    made = scenario(**{"policy": POLICY, "gateways": gateways, **fields})
    run = Run(made, made.policy, requests, 1)
    peers = run.pump
    assert isinstance(peers, Peers)
    homes: dict[str, int] = {}

    def watched(now: float, event: Event, orders: list[Effect]) -> None:
        if isinstance(event, Arrived):
            homes[event.call.id] = peers._homes[event.call.id]
        if watch is not None:
            watch(now, event, orders)

    run.watch = watched
    result = run.go().result
    run.watch = None
    assert len(peers.gates) == gateways.count
    assert not any(count for gate in peers.gates for count in gate.counts().values())
    assert peers._homes == {}
    return homes, result


def most_at_once(gateways: Gateways, seats: int = 4) -> int:
    """Calls that were in flight at the one engine at once, when very many want to be."""
    now: dict[str, None] = {}
    most = 0

    def watch(_: float, event: Event, orders: list[Effect]) -> None:
        nonlocal most
        for order in orders:
            if isinstance(order, Send):
                now[order.id] = None
            elif isinstance(order, Record):
                now.pop(order.row.id)
        most = max(most, len(now))

    _, result = ran(steady(100, 0.0001), gateways, watch, fleet=(Group(cost="demo", seats=seats, speed=10),))
    assert result.ok == 100
    return most


def test_each_has_a_part_of_the_requests_and_each_request_ends_once() -> None:
    """By lot, and about as many."""
    ended: list[str] = []

    def watch(_: float, event: Event, orders: list[Effect]) -> None:
        ended.extend(order.row.id for order in orders if isinstance(order, Record))

    homes, result = ran(steady(300), Gateways(count=3), watch)
    assert (result.requests, result.ok) == (300, 300)
    assert len(ended) == len(set(ended)) == 300
    assert sorted(Counter(homes.values())) == [0, 1, 2]
    assert all(70 < count < 130 for count in Counter(homes.values()).values())


def test_a_session_has_one_gateway() -> None:
    """All its requests come to the same."""
    pairs = zip(steady(50, session="s"), steady(50, session="t"), strict=True)
    interleaved = [each for pair in pairs for each in pair]
    homes, _ = ran(interleaved, Gateways(count=4))
    assert all(len({homes[f"c{number}"] for number in range(start, 100, 2)}) == 1 for start in (0, 1))


def test_whole_seats_are_taken_by_each_and_divided_ones_by_none_twice() -> None:
    """Three gateways that do not know each other have up to three times as many calls at an engine."""
    assert most_at_once(Gateways(count=3)) == 12
    assert most_at_once(Gateways(count=3, seats="divided")) == 4
    assert most_at_once(Gateways(count=8, seats="divided")) == 8  # one each at least


@pytest.mark.parametrize(("limits", "served"), [("own", 180), ("shared", 60)])
def test_limits_hold_for_all_where_they_are_shared(limits: Any, served: int) -> None:
    """Sixty requests a minute, asked for by ten times as many in half of one: three gateways alone let pass three times
    sixty, with a store that they share sixty and not one more."""
    gateways = Gateways(count=3, limits=limits, store_round_trip_s=0.02)
    _, result = ran(steady(600, 0.05), gateways, policy=LIMITED)
    assert result.outcomes == {"ok": served, "request_limit": 600 - served}


@pytest.mark.slow
def test_a_shared_limit_is_never_passed_in_any_minute() -> None:
    """Over five minutes of far too many requests: whichever minute one looks at, and nearly all of it is used."""
    sent: list[float] = []

    def watch(now: float, event: Event, orders: list[Effect]) -> None:
        sent.extend(now for order in orders if isinstance(order, Send))

    tight = replace(POLICY, limits=AllowanceSpec(requests_per_minute=120))
    ran(steady(1500, 0.2), Gateways(count=4, limits="shared", store_round_trip_s=0.05), watch, policy=tight)
    assert max(sum(1 for at in sent if start <= at < start + 60.0) for start in sent) <= 120
    assert len(sent) >= 0.9 * 120 * 4


def test_all_hear_of_deaths_and_drains() -> None:
    """Nobody's requests are lost, and none goes to a replica that drains."""
    faults = (Die(at_s=0.5, for_s=10.0, replicas=(0,)), Drain(at_s=0.0, replicas=(1,)))
    _, result = ran(steady(200), Gateways(count=3), fleet=(Group(cost="fast", seats=8, count=3),), faults=faults)
    assert result.ok == 200
    assert result.replicas["r1"] == 0
    assert 0 < result.replicas["r0"] < 60


def test_groups_are_each_gateways_own() -> None:
    """Calls that go together came to the same one."""
    groups: list[list[str]] = []

    def watch(_: float, event: Event, orders: list[Effect]) -> None:
        carried = [order for order in orders if isinstance(order, Carry) and order.aboard]
        groups.extend([one.id for one in order.aboard] for order in carried)

    embeddings = [request(number * 0.0001, output_tokens=0, alike="k") for number in range(60)]
    policy = replace(POLICY, batching=BatchingSpec(size=4))
    homes, result = ran(embeddings, Gateways(count=2), watch, policy=policy)
    assert result.ok == 60
    assert result.calls_per_group > 2.0
    assert all(len({homes[id] for id in group}) == 1 for group in groups)


def test_who_is_refused_may_come_to_another() -> None:
    """A second try is drawn again; the request ends once."""
    patient = Clients(retries=ClientRetries(attempts=5))
    one = replace(POLICY, limits=AllowanceSpec(concurrency=1))
    _, result = ran(steady(20, 0.001), Gateways(count=2), policy=one, clients=patient)
    assert result.requests == 20
    assert result.client_retries > 0
    assert result.ok > 2


def test_equal_seeds_are_equal_runs() -> None:
    """To the last order, whoever gave it."""
    made = scenario(policy=LIMITED, gateways=Gateways(count=3, limits="shared"))
    digests = [Run(made, made.policy, steady(100), seed).go(digest=True).journal for seed in (7, 7, 8)]
    assert digests[0] == digests[1] != digests[2]


def test_who_knows_everything_is_one() -> None:
    """The yardstick is no set of gateways that do not know each other."""
    made = scenario(policy=POLICY, gateways=Gateways(count=3))
    assert least_work(made, steady(50), 1).ok == 50


@pytest.mark.parametrize(
    ("fields", "said"), [({"cache": CacheSpec()}, "cache"), ({"benchmark": BenchmarkSpec(enabled=True)}, "benchmark")]
)
def test_what_is_not_simulated_is_refused(fields: dict[str, Any], said: str) -> None:
    """Rather than done wrong."""
    made = scenario(policy=replace(POLICY, **fields), gateways=Gateways())
    with pytest.raises(ConfigError, match=said):
        Run(made, made.policy, [], 1)
