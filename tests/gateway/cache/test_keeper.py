"""Orders about the cache, performed: what is there is given, what is not is told."""

from collections.abc import Callable
from typing import Any, cast

from penstock.core.effects import Adopt, Answer, Drop, Hand, Keep, LookUp, Release
from penstock.core.events import LookedUp
from penstock.gateway.cache.keeper import Elsewhere, Floor, Keeper
from penstock.gateway.cache.shelf import Kept, Shelf

KEPT = Kept(b"", b"", b"", (b"x",), (), 200, None, 0)


class Ground:
    """Enough of a data plane."""

    def __init__(self) -> None:
        self.exchanges: dict[str, Any] = {}
        self.shelf = Shelf()
        self.facts: list[Any] = []
        self.similar: Any = None
        self.tell = self.facts.append


class Store:
    """Where gateways share answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.kept: list[tuple[str, Kept]] = []

    def look_up(self, call: str, key: str, told: Callable[[int], None]) -> None:
        self.asked.append((call, key))

    def keep(self, order: Keep, kept: Kept, epoch: int | None) -> None:
        self.kept.append((order.key, kept))


def perform(keeper: Keeper, order: Any) -> None:
    """Do it."""
    keeper.table()[type(order)](order)


def keeping() -> tuple[Ground, Keeper]:
    """A keeper without a store."""
    ground = Ground()
    return ground, Keeper(cast("Floor", ground))


def test_orders_about_calls_that_are_over_mean_nothing() -> None:
    """A call may end between an order and its performance."""
    ground, keeper = keeping()
    for order in (
        Answer("c", "k", "hit"),
        Answer("c", "k", "coalesced", "d"),
        Adopt("c", "d"),
        Keep("c", "k", 1, "", ""),
        Release("k", "c", True),
        Hand("1/1", "none"),
    ):
        perform(keeper, order)
    assert (ground.facts, ground.shelf.kept) == ([], {})


def test_without_a_store_there_is_nothing_to_look_up() -> None:
    """That is told at once."""
    ground, keeper = keeping()
    perform(keeper, LookUp("c", "k"))
    assert ground.facts == [LookedUp("c")]


def test_what_was_looked_up_is_kept_here_and_not_there_again() -> None:
    """And what it replaces goes."""
    ground, keeper = keeping()
    keeper.elsewhere = cast("Elsewhere", store := Store())
    perform(keeper, LookUp("c", "k"))
    assert (store.asked, ground.facts) == ([], [LookedUp("c")])  # that call is over
    ground.shelf.kept["old"] = ground.shelf.found["c"] = KEPT
    perform(keeper, Keep("c", "k", 60.0, "t", "m", (), True, ("old",)))
    assert (ground.shelf.kept, ground.shelf.found, store.kept) == ({"k": KEPT}, {}, [])
    perform(keeper, Drop(("k",)))
    assert ground.shelf.kept == {}
