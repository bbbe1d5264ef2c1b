"""The replicas of a pool: each state's way on, crashes and their backoff, who goes first, and the ill ones."""

from penstock.core.scale.crew import Crew
from penstock.core.scale.record import Step
from penstock.core.scale.window import Window
from penstock.core.scale.words import Drain, Order, Record, Start, Stop
from tests.core.scale.pools import QUICK, seen, unit, window


class Rig:
    """A crew, told and asked by hand."""

    def __init__(self) -> None:
        self.crew = Crew("p", QUICK)

    def turn(self, wanted: int, seen: Window, *units: object, now: float, most: int = 8) -> list[Order]:
        """One look and what follows; records left out."""
        out: list[Order] = []
        self.crew.see(seen, units, out, now)  # type: ignore[arg-type]
        self.crew.reconcile(wanted, most, out, now)
        self.steps = [order.entry for order in out if isinstance(order, Record) and isinstance(order.entry, Step)]
        return [order for order in out if not isinstance(order, Record)]

    def up(self, *names: str, now: float = 0.0, **in_flight: int) -> None:
        """These are found running, and ready."""
        fleet = window(*(seen(name, in_flight.get(name[-1], 0)) for name in names))
        self.turn(len(names), fleet, *map(unit, names), now=now)
        self.turn(len(names), fleet, *map(unit, names), now=now)

    def states(self) -> dict[str, str]:
        """Replica -> state."""
        return {life.unit: life.state for life in self.crew.lives.values()}


EMPTY = window()


def test_a_life() -> None:
    """Ordered, starting, loading, ready, draining, stopping, gone: each by what is seen, each recorded."""
    rig = Rig()
    assert rig.turn(1, EMPTY, now=0.0) == [Start("p", "p-1")]
    assert rig.turn(1, EMPTY, unit("p-1", "starting", url=""), now=1.0) == []
    assert rig.states() == {"p-1": "starting"}
    loading = window(seen("p-1", well=False, loading=True))
    assert rig.turn(1, loading, unit("p-1"), now=2.0) == []
    assert rig.states() == {"p-1": "loading"}
    assert rig.turn(1, window(seen("p-1")), unit("p-1"), now=3.0) == []
    assert rig.states() == {"p-1": "ready"}
    busy = window(seen("p-1", 1))
    assert rig.turn(0, busy, unit("p-1"), now=4.0) == [Drain("p", "p-1")]
    assert rig.turn(0, busy, unit("p-1"), now=5.0) == []
    assert rig.turn(0, window(seen("p-1")), unit("p-1"), now=6.0) == [Stop("p", "p-1")]
    assert rig.turn(0, EMPTY, unit("p-1", "stopping"), now=7.0) == []
    assert rig.turn(0, EMPTY, now=8.0) == []
    assert rig.states() == {}
    assert [(step.was, step.now, step.failed) for step in rig.steps] == [("stopping", "gone", False)]


def test_late_ones_are_given_up() -> None:
    """Who is in a state for too long is stopped; one that drains loses what it still had, and that is told."""
    rig = Rig()
    rig.turn(1, EMPTY, now=0.0)
    assert rig.turn(0, EMPTY, now=5.0) == [Stop("p", "p-1")]
    assert rig.steps[0].why == "the actuator never showed it"
    rig.turn(1, EMPTY, now=6.0)
    rig.turn(1, EMPTY, unit("p-2", "starting", url=""), now=7.0)
    assert rig.turn(0, EMPTY, unit("p-2", "starting", url=""), now=27.0) == [Stop("p", "p-2")]
    rig = Rig()
    rig.up("p-1", "p-2")
    rig.turn(1, window(seen("p-1", 1), seen("p-2", 3)), unit("p-1"), unit("p-2"), now=1.0)
    late = window(seen("p-1", 1), seen("p-2", 3))
    assert rig.turn(1, late, unit("p-1"), unit("p-2"), now=21.0) == [Stop("p", "p-1")]
    assert rig.steps[0].why == "calls still running: 1"


def test_loading_counts_and_is_not_killed() -> None:
    """Loading replicas are capacity on its way: no more are ordered, and when fewer are wanted they go on loading."""
    rig = Rig()
    rig.turn(4, EMPTY, now=0.0)
    names = ["p-1", "p-2", "p-3", "p-4"]
    loading = window(*(seen(name, well=False, loading=True) for name in names))
    assert rig.turn(4, loading, *map(unit, names), now=1.0) == []
    assert rig.turn(1, loading, *map(unit, names), now=2.0) == []
    half = window(seen("p-1"), seen("p-2", well=False, loading=True))
    assert rig.turn(1, half, *map(unit, names), now=3.0) == []  # one is ready, and one is wanted
    both = window(seen("p-1"), seen("p-2"))
    assert rig.turn(1, both, *map(unit, names), now=4.0) == [Drain("p", "p-2")]


def test_the_least_used_goes() -> None:
    """When fewer are wanted, the ill go first, then those with the fewest calls, then the youngest."""
    rig = Rig()
    rig.up("p-1", "p-2", "p-3")
    fleet = window(seen("p-1", 2), seen("p-2", 1), seen("p-3", 5))
    assert rig.turn(2, fleet, *map(unit, ("p-1", "p-2", "p-3")), now=1.0) == [Drain("p", "p-2")]
    rig = Rig()
    rig.up("p-1", "p-2")
    ill = window(seen("p-1", 0), seen("p-2", 5, well=False))
    assert rig.turn(1, ill, unit("p-1"), unit("p-2"), now=1.0) == [Drain("p", "p-2")]


def test_one_that_drains_is_taken_back() -> None:
    """When more are wanted again, who still drains comes back before anybody is started."""
    rig = Rig()
    rig.up("p-1", "p-2")
    fleet = window(seen("p-1", 1), seen("p-2", 1))
    assert rig.turn(1, fleet, unit("p-1"), unit("p-2"), now=1.0) == [Drain("p", "p-2")]
    assert rig.turn(3, fleet, unit("p-1"), unit("p-2"), now=2.0) == [Drain("p", "p-2", False), Start("p", "p-3")]
    assert rig.states() == {"p-1": "ready", "p-2": "loading", "p-3": "ordered"}


def test_the_ceiling_counts_all_that_are_there() -> None:
    """Those that drain or stop count against the most that may be there."""
    rig = Rig()
    rig.up("p-1", "p-2")
    fleet = window(seen("p-1", 1), seen("p-2", 1))
    rig.turn(1, fleet, unit("p-1"), unit("p-2"), now=1.0)
    rig.turn(1, window(seen("p-1", 1)), unit("p-1"), unit("p-2"), now=2.0)
    assert rig.states() == {"p-1": "ready", "p-2": "stopping"}
    assert rig.turn(2, fleet, unit("p-1"), unit("p-2", "stopping"), now=3.0, most=2) == []
    assert rig.turn(2, fleet, unit("p-1"), now=4.0, most=2) == [Start("p", "p-3")]


def test_found_and_vanished() -> None:
    """A replica that nobody ordered is adopted, and its number never given again; one that is gone is noticed."""
    rig = Rig()
    assert rig.turn(1, window(seen("p-7")), unit("p-7"), now=0.0) == []
    assert rig.steps[0].why == "found running"
    rig.turn(1, window(seen("p-7")), unit("p-7"), now=30.0)
    assert rig.turn(1, EMPTY, now=60.0) == [Start("p", "p-8")]
    assert (rig.steps[0].why, rig.steps[0].failed) == ("it vanished", True)
    assert rig.turn(1, EMPTY, unit("p-8"), unit("other", "ended"), now=61.0) == [Stop("p", "other")]


def test_a_crash_is_replaced_at_once() -> None:
    """One that served for long and ended is no failed start: another is started in the same turn."""
    rig = Rig()
    rig.up("p-1")
    rig.turn(1, window(seen("p-1")), unit("p-1"), now=11.0)
    assert rig.turn(1, EMPTY, unit("p-1", "ended", detail="boom"), now=12.0) == [Stop("p", "p-1"), Start("p", "p-2")]
    assert (rig.steps[0].why, rig.crew.failures) == ("boom", 0)


def test_crash_loops_back_off() -> None:
    """Starts that fail in a row are tried one at a time, after pauses that double up to a bound."""
    rig = Rig()
    now, starts = 1.0, []
    assert len(rig.turn(4, EMPTY, now=0.0)) == 4
    units = [unit(f"p-{number}", "ended") for number in range(1, 5)]
    while now < 200:
        orders = rig.turn(4, EMPTY, *units, now=now)
        started = [order.unit for order in orders if isinstance(order, Start)]
        starts += [now] * len(started)
        units = [unit(name, "ended") for name in started]
        now += 1.0
    assert starts == [1.0, 6.0, 15.0, 32.0, 65.0, 98.0, 131.0, 164.0, 197.0]


def test_a_start_that_lasts_ends_the_backoff() -> None:
    """Once a replica of after the failure has proven itself, all that are missing are started."""
    rig = Rig()
    rig.turn(3, EMPTY, now=0.0)
    rig.turn(3, EMPTY, *(unit(f"p-{number}", "ended") for number in (1, 2, 3)), now=1.0)
    assert rig.states()["p-4"] == "ordered"
    fleet = window(seen("p-4"))
    assert rig.turn(3, fleet, unit("p-4"), now=2.0) == [Start("p", "p-5")]  # it is ready: the next one is tried
    assert rig.turn(3, fleet, unit("p-4"), now=3.0) == []
    assert rig.crew.failures == 1
    rig.turn(3, fleet, unit("p-4"), unit("p-5", "starting", url=""), now=12.0)
    assert (rig.crew.failures, "p-6" in rig.states()) == (0, True)


def test_an_order_that_fails() -> None:
    """An order to start that comes back with an error is a failed start, and what may be left of it is stopped."""
    rig = Rig()
    rig.turn(1, EMPTY, now=0.0)
    out: list[Order] = []
    rig.crew.refused("p-1", "no room", out, 0.5)
    rig.crew.refused("p-9", "who?", out, 0.5)
    assert [order for order in out if not isinstance(order, Record)] == [Stop("p", "p-1")]
    assert (rig.crew.failures, rig.states()) == (1, {"p-1": "stopping"})


def test_stops_are_repeated() -> None:
    """Who does not end is told again."""
    rig = Rig()
    rig.up("p-1")
    rig.turn(0, window(seen("p-1")), unit("p-1"), now=1.0)
    assert rig.turn(0, window(seen("p-1")), unit("p-1"), now=2.0) == [Stop("p", "p-1")]
    assert rig.turn(0, EMPTY, unit("p-1", "stopping"), now=6.0) == []
    assert rig.turn(0, EMPTY, unit("p-1", "stopping"), now=7.0) == [Stop("p", "p-1")]
    assert rig.turn(0, EMPTY, unit("p-1", "stopping"), now=8.0) == []


def test_the_ill_are_replaced_one_at_a_time() -> None:
    """Where too few are well, the one that has been ill for longest is drained and another started; then the next."""
    rig = Rig()
    names = ("p-1", "p-2", "p-3")
    rig.up(*names)
    ill = window(seen("p-1", well=False), seen("p-2", well=False), seen("p-3"))
    units = [unit(name) for name in names]
    assert rig.turn(3, ill, *units, now=1.0) == []
    assert rig.turn(3, ill, *units, now=11.0) == [Drain("p", "p-1"), Start("p", "p-4")]
    assert rig.turn(3, ill, *units, unit("p-4"), now=12.0) == [Stop("p", "p-1")]
    rest = window(seen("p-2", well=False), seen("p-3"))
    assert rig.turn(3, rest, unit("p-2"), unit("p-3"), unit("p-4"), now=13.0) == [Drain("p", "p-2"), Start("p", "p-5")]


def test_a_single_ill_one_among_many_is_left() -> None:
    """Where enough are well nobody is replaced, and who gets well again starts anew."""
    rig = Rig()
    names = [f"p-{number}" for number in range(1, 6)]
    rig.up(*names)
    one = window(seen("p-1", well=False), *(seen(name) for name in names[1:]))
    units = [unit(name) for name in names]
    assert [rig.turn(5, one, *units, now=now) for now in (1.0, 50.0)] == [[], []]
    rig.turn(5, window(*(seen(name) for name in names)), *units, now=51.0)
    assert all(life.ill_since is None for life in rig.crew.lives.values())


def test_an_ill_one_is_not_taken_back() -> None:
    """One that drains because it was ill stays on its way out when more are wanted."""
    rig = Rig()
    rig.up("p-1")
    ill = window(seen("p-1", 1, well=False))
    rig.turn(1, ill, unit("p-1"), now=1.0)
    assert rig.turn(1, ill, unit("p-1"), now=11.0) == [Drain("p", "p-1"), Start("p", "p-2")]
    assert rig.turn(3, ill, unit("p-1"), unit("p-2"), now=12.0) == [Start("p", "p-3"), Start("p", "p-4")]


def test_taken_out_of_the_fleet_by_hand() -> None:
    """A replica that somebody removed from the fleet is stopped, and replaced."""
    rig = Rig()
    rig.up("p-1")
    assert rig.turn(1, EMPTY, unit("p-1"), now=20.0) == [Stop("p", "p-1"), Start("p", "p-2")]


def test_disband() -> None:
    """When the pool does not scale itself any more, who loads is stopped and who serves is drained."""
    rig = Rig()
    rig.up("p-1")
    rig.turn(2, window(seen("p-1")), unit("p-1"), now=1.0)
    out: list[Order] = []
    rig.crew.disband(out, 2.0)
    assert [order for order in out if not isinstance(order, Record)] == [Stop("p", "p-2"), Drain("p", "p-1")]


def test_without_an_address_it_is_ready_when_it_runs() -> None:
    """A replica to which no call can go (a dry run) has nothing to load."""
    rig = Rig()
    rig.turn(1, EMPTY, now=0.0)
    rig.turn(1, EMPTY, unit("p-1", url=""), now=1.0)
    rig.turn(1, EMPTY, unit("p-1", url=""), now=2.0)
    assert rig.states() == {"p-1": "ready"}
