"""What several processes show, as one picture."""

from penstock.base.contents import CacheView
from penstock.base.nouns import AccountView, GaugeView, PoolView
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.telemetry import joined
from tests.helpers.desk import replica_view


def pool_view(**fields: object) -> PoolView:
    """An idle pool."""
    usual: dict[str, object] = {
        "name": "main", "strategy": "adaptive", "models": ["m"], "queued": 0, "queued_bytes": 0, "oldest_s": 0.0,
        "queued_by_priority": {}, "in_flight": 0, "seats": 4, "replicas": 1, "healthy": 1,
    }  # fmt: skip
    return PoolView(**usual | fields)  # type: ignore[arg-type]


def test_what_is_held_is_added_up() -> None:
    """Calls in flight, answered and failed are sums; seats are the replica's own; times are means by calls."""
    own = replica_view(seats=8, in_flight=0, served=0, ttft_ewma_s=None)
    first = replica_view(seats=5, in_flight=4, served=30, failed=1, ttft_ewma_s=0.1, load=0.5, error_rate=0.0)
    second = replica_view(seats=3, in_flight=3, served=10, failed=2, ttft_ewma_s=0.5, load=1.0, error_rate=0.0)
    (view,) = joined.replicas([own], [[first], [second]])
    assert (view.seats, view.in_flight, view.served, view.failed) == (8, 7, 40, 3)
    assert view.ttft_ewma_s == 0.2
    assert view.load == (5 * 0.5 + 3 * 1.0) / 8


def test_state_is_the_best_and_breaker_the_worst() -> None:
    """A replica that one worker can use is of use; an open breaker anywhere is seen. Who looks at it knows better."""
    own = replica_view(state="healthy")
    first, second = replica_view(state="unhealthy", breaker="open"), replica_view(state="busy")
    (view,) = joined.replicas([own], [[first], [second]])
    assert (view.state, view.breaker) == ("busy", "open")
    (view,) = joined.replicas([replica_view(state="draining")], [[first], [second]])
    assert view.state == "draining"


def test_who_is_not_told_of_is_as_it_is_seen() -> None:
    """A replica and a pool that no worker tells of are shown as the parent sees them; others are not shown."""
    own = replica_view("a")
    assert joined.replicas([own], [[replica_view("b")]]) == [own]
    assert joined.pools([pool_view()], []) == [pool_view()]


def test_pools_are_added_up() -> None:
    """What waits is a sum, the oldest is the oldest, fairness is that of the least fair; seats that are on their way
    from one worker to another are counted."""
    first = pool_view(queued=2, queued_by_priority={"high": 2}, oldest_s=1.0, fairness=0.9, ejections={"slow": 1})
    second = pool_view(queued=3, queued_by_priority={"high": 1, "low": 2}, oldest_s=3.0, fairness=0.7, panic=True)
    (view,) = joined.pools([pool_view(replicas=5, seats=10)], [[first], [second]])
    assert (view.queued, view.queued_by_priority, view.oldest_s) == (5, {"high": 3, "low": 2}, 3.0)
    assert (view.fairness, view.panic, view.ejections, view.seats, view.replicas) == (0.7, True, {"slow": 1}, 10, 5)


def seen(**fields: object) -> ReplicaSeen:
    """A replica in a window."""
    usual: dict[str, object] = {"id": "a", "well": True, "loading": False, "in_flight": 0, "seats": 8}
    return ReplicaSeen(**usual | fields)  # type: ignore[arg-type]


def test_windows() -> None:
    """The Governor sees sums of calls and rates, and what engines say once; whom nobody can use is not well."""
    own = Window(queued=0, replicas=(seen(waiting=7, kv_usage=0.5),))
    first = Window(
        queued=1, replicas=(seen(in_flight=2, seats=4, ttft_s=0.5, served=3),), rps=2.0, p95_s=1.0, answers=1
    )
    second = Window(queued=2, replicas=(seen(in_flight=3, seats=4, well=False),), rps=1.0, p95_s=4.0, answers=2)
    window = joined.window(own, [first, second])
    assert (window.queued, window.rps, window.rps_now, window.p95_s, window.answers) == (3, 3.0, None, 3.0, 3)
    assert window.replicas == (seen(in_flight=5, waiting=7, kv_usage=0.5, ttft_s=0.5, served=3),)
    (one,) = joined.window(own, [second, second]).replicas
    assert not one.well


def account(name: str, used: float, *, in_flight: int = 0, waiting: int = 0) -> AccountView:
    """A tenant with one limit."""
    gauge = GaugeView(what="requests per minute", limit=10, used=used, held=0, left=10 - used, free_s=1.0)
    return AccountView(
        kind="tenant", name=name, model="", in_flight=in_flight, waiting=waiting, concurrency=None, limits=[gauge]
    )


def test_accounts() -> None:
    """Calls are added up; a limit that is leased is everybody's, and who has heard of most use knows it best."""
    told = [[account("a", 3, in_flight=1), account("b", 1)], [account("a", 7, in_flight=2, waiting=1)]]
    views = {view.name: view for view in joined.accounts([account("a", 0), account("c", 0)], told)}
    assert set(views) == {"a", "b", "c"}
    assert (views["a"].in_flight, views["a"].waiting, views["a"].limits[0].used) == (3, 1, 7)


def test_stores() -> None:
    """Counters of the way to a store are sums; the store is up when it is for all."""
    parts = [{"lease_messages": 3.0, "lease_store_up": 1.0}, {"lease_messages": 4.0, "lease_store_up": 0.0}]
    assert joined.stores(parts) == {"lease_messages": 7.0, "lease_store_up": 0.0}
    assert joined.stores([]) == {}


def test_caches_of_several_processes_are_one() -> None:
    """What they hold and did is added up; without any, the one that is asked has none."""
    view = CacheView(
        entries=2, bytes=20, calls={"hit": 3, "miss": 2}, kept=2, evicted=0, expired=0, invalidated=0, leading=1,
        following=4,
    )  # fmt: skip
    both = joined.caches(view, [view])
    assert (both.entries, both.bytes, both.following) == (4, 40, 8)
    assert both.calls == {"hit": 6, "miss": 4}
    assert joined.caches(None, []).entries == 0


def test_a_store_is_up_where_all_reach_it() -> None:
    """What they found there is added up."""
    one = {"cache_store_up": 1, "cache_store_hits": 3}
    assert joined.stores([one, {"cache_store_up": 0, "cache_store_hits": 2}]) == {
        "cache_store_up": 0,
        "cache_store_hits": 5,
    }
    assert joined.stores([]) == {}
