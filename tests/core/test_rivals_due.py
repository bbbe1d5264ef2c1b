"""Playbooks of hedges that are due: when a second attempt is made, where, and when it is not."""

from penstock.core.events import Began, Ended, Failed, FleetSeen, Observed, Woke
from penstock.core.route.presets import ConsistentHash
from penstock.core.spec import (
    HedgeSpec,
    QueueSpec,
    ScrapeSpec,
    ShedSpec,
    StickySpec,
)
from tests.core.playbook import (
    HEDGE,
    arrived,
    gate,
    hedged,
    hedging,
    house,
    pool,
    replica,
    row,
    send,
    sends,
    stats,
    tell,
)


def test_a_call_that_begins_in_time_has_no_hedge() -> None:
    """Its alarm is taken back, and its row says nothing of a hedge."""
    machine = hedging("a", "b")
    tell(machine, arrived("c1"), Began("c1", 1), now=0.0)
    assert machine.next_wake() is None
    assert row(machine.on(Ended("c1", 1, 200), 1.0)).hedge == ""


def test_a_pool_that_does_not_hedge_sets_no_alarm() -> None:
    """It is off unless a pool asks for it."""
    machine = house("a", "b")
    machine.on(arrived("c1"), 0.0)
    assert machine.next_wake() is None


def test_what_must_not_be_done_twice_is_not() -> None:
    """A call that is not repeatable is sent once, however slow."""
    machine = hedging("a", "b")
    machine.on(arrived("c1", repeatable=False), 0.0)
    assert machine.next_wake() is None


def test_never_at_the_same_replica() -> None:
    """Free seats of the replica that is slow do not help."""
    machine = hedging("a", seats=8)
    machine.on(arrived("c1"), 0.0)
    assert machine.on(Woke(), 0.5) == []
    assert row(machine.on(Ended("c1", 1, 200), 1.0)).hedge == "no_room"


def test_never_where_it_has_failed() -> None:
    """A replica that failed the call already does not get its hedge either."""
    machine = hedging("a", "b")
    machine.on(arrived("c1"), 0.0)
    assert machine.on(Failed("c1", 1, "upstream_5xx"), 0.1) == [send("c1", 2, "b")]
    assert machine.next_wake() == 0.6
    assert machine.on(Woke(), 0.6) == []


def test_only_where_a_seat_is_free() -> None:
    """The other replica is full: the call waits for the first attempt alone."""
    machine = hedging("a", "b")
    tell(machine, arrived("c1"), arrived("c2"), now=0.0)
    assert machine.on(Woke(), 0.5) == []
    assert row(machine.on(Ended("c1", 1, 200), 1.0)).hedge == "no_room"


def test_a_hedge_never_overtakes_who_waits() -> None:
    """With anybody in a line of the pool, whatever he waits for, no seat goes to a hedge."""
    machine = gate(pool(hedge=HEDGE, models=("m", "n")))
    machine.on(FleetSeen((replica("a", models={"m": "m"}), replica("b", models={"m": "m"}), replica("c"))), 0.0)
    machine.on(arrived("c1"), 0.0)
    tell(machine, arrived("c2", model="n"), arrived("c3", model="n"), now=0.1)  # c is full, c3 waits for it
    assert machine.on(Woke(), 0.5) == []
    assert row(machine.on(Ended("c1", 1, 200), 0.6)).hedge == "no_room"


def test_never_at_engines_that_are_saturated() -> None:
    """By the engines' own numbers there is no room for work that nobody may need."""
    machine = hedging("a", "b", seats=8, scrape=ScrapeSpec())
    tell(machine, *(Observed(name, stats(waiting=9, kv_usage=0.5)) for name in "ab"), arrived("c1"), now=0.0)
    assert sends(machine.on(Woke(), 0.5)) == []


def test_never_while_the_pool_sheds_anybody() -> None:
    """Already where only batch calls are kept away, a hedge is too."""
    machine = hedging("a", "b", seats=8, scrape=ScrapeSpec(), queue=QueueSpec(shed=ShedSpec(mode="hold")))
    tell(machine, *(Observed(name, stats(waiting=4, kv_usage=0.1)) for name in "ab"), arrived("c1"), now=0.0)
    assert sends(machine.on(Woke(), 0.5)) == []


def test_without_budget_nothing_is_sent_and_the_row_says_so() -> None:
    """A call pays in its share; a hedge costs a whole one."""
    machine = house("a", "b", "c", seats=9, hedge=HedgeSpec(delay_s=0.5, budget=0.5))
    tell(machine, arrived("c1"), arrived("c2"), arrived("c3"), now=0.0)
    assert sends(machine.on(Woke(), 0.5)) == [("c1", "b")]
    rows = [row(machine.on(Ended(f"c{number}", 1, 200), 1.0)) for number in (1, 2, 3)]
    assert [each.hedge for each in rows] == ["lost", "no_budget", "no_budget"]


def test_the_delay_follows_what_calls_take() -> None:
    """Without a delay in the settings, a call is hedged that is slower than the twenty before it."""
    machine = house("a", "b", seats=99, hedge=HedgeSpec(budget=1.0))
    for number in range(20):
        machine.on(arrived(f"c{number}", stream=True), float(number))
        assert machine.next_wake() is None
        tell(machine, Began(f"c{number}", 1), Ended(f"c{number}", 1, 200), now=number + 0.25)
    machine.on(arrived("slow", stream=True), 100.0)
    wake = machine.next_wake()
    assert wake is not None
    assert 100.25 <= wake < 100.28
    assert len(sends(machine.on(Woke(), wake))) == 1


def test_a_call_has_one_hedge_at_most() -> None:
    """Also when both attempts fail and another one is slow again."""
    machine = hedged("a", "b", "c")
    machine.on(Failed("c1", 1, "upstream_5xx"), 1.0)
    assert machine.on(Failed("c1", 2, "upstream_5xx"), 2.0) == [send("c1", 3, "c")]
    assert machine.next_wake() is None
    assert row(machine.on(Ended("c1", 3, 200), 9.0)).hedge == "neither"


def test_a_session_stays_where_it_is() -> None:
    """A hedge that wins does not move the session: its replica was slow once, and has its cache still."""
    machine = hedging("a", "b", seats=4, sticky=StickySpec(header="x"))
    machine.on(arrived("c1", session="s"), 0.0)
    assert sends(machine.on(Woke(), 0.5)) == [("c1", "b")]
    tell(machine, Began("c1", 2), Ended("c1", 2, 200), now=0.6)
    assert sends(machine.on(arrived("c2", session="s"), 0.7)) == [("c2", "a")]


def test_of_hashed_calls_the_next_on_the_ring_gets_it() -> None:
    """Where keys have their replica, the hedge goes to the one that would take over from it."""
    machine = hedging("a", "b", "c", seats=4, strategy=ConsistentHash())
    ((_, first),) = sends(machine.on(arrived("c1", user="k"), 0.0))
    ((_, second),) = sends(machine.on(Woke(), 0.5))
    others = FleetSeen(tuple(replica(name, max_concurrent_requests=4) for name in "abc" if name != first))
    machine.on(others, 0.6)
    assert sends(machine.on(arrived("c2", user="k"), 0.7)) == [("c2", second)]
