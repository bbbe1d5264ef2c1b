"""Small words for tests of scaling: windows, units, and a world that obeys a Governor's orders."""

from typing import Any

from penstock.base.nouns import Unit
from penstock.core.scale.budget import Purse
from penstock.core.scale.governor import Governor
from penstock.core.scale.history import Past
from penstock.core.scale.record import Decision, Step
from penstock.core.scale.spec import DownPace, LifeSpec, QueueTarget, ScaleSpec, Targets, UpPace, UtilisationTarget
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.core.scale.words import (
    Drain,
    Fact,
    Look,
    Order,
    Reconfigured,
    Record,
    Remember,
    Remembered,
    Scaled,
    Seen,
    Start,
    Stop,
    Woke,
)

MONDAY_S = 1_704_067_200.0
"""2024-01-01 00:00 UTC, which was one; January has 744 hours."""

QUICK = ScaleSpec(
    min=1, max=8, interval_s=1.0, look_s=1.0,
    targets=Targets(utilisation=UtilisationTarget(up=None, down=None), queue=QueueTarget()),
    up=UpPace(stabilisation_s=0.0, period_s=1.0),
    down=DownPace(stabilisation_s=5.0, cooldown_s=0.0, period_s=1.0, starts=0.0),
    replace_after_s=10.0, panic=None,
    life=LifeSpec(
        ordered_s=5.0, starting_s=20.0, loading_s=30.0, draining_s=20.0, stopping_s=5.0, proven_s=10.0, backoff_s=4.0,
        backoff_max_s=32.0,
    ),
)  # fmt: skip
"""A pool that decides every second and grows at once, without a panic window."""


def seen(id: str, in_flight: int = 0, seats: int = 10, **fields: Any) -> ReplicaSeen:
    """A replica that is well."""
    return ReplicaSeen(id=id, in_flight=in_flight, seats=seats, **{"well": True, "loading": False, **fields})


def window(*replicas: ReplicaSeen, queued: int = 0) -> Window:
    """A look at a pool."""
    return Window(queued=queued, replicas=replicas)


def unit(id: str, state: Any = "running", **fields: Any) -> Unit:
    """A replica as an actuator shows it."""
    return Unit(id=id, state=state, **{"url": f"http://{id}", **fields})


class World:
    """An actuator and a fleet in one: what is ordered is there at the next look, and ready one look later.

    `load` is the number of calls in flight in all; they are spread over who is ready. Faults are switched on by name.
    """

    def __init__(self, spec: ScaleSpec = QUICK, pool: str = "p", hourly_cost: float = 0.0) -> None:
        self.governor = Governor()
        self.pool = pool
        self.spec = spec
        self.hourly_cost = hourly_cost
        self.now = 0.0
        self.load = 0
        self.queued = 0
        self.units: dict[str, Unit] = {}
        self.loaded: set[str] = set()
        self.ill: set[str] = set()
        self.draining: set[str] = set()
        self.busy: set[str] = set()
        """Those whose calls never end."""
        self.blind = False
        """The actuator cannot say what there is."""
        self.refuses = False
        self.dry = False
        """Spot cannot be had."""
        self.ignores = False
        """Orders to start are lost."""
        self.crashes = False
        """What is started ends at once."""
        self.sticks = False
        """Orders to stop are lost."""
        self.mute = False
        """Replicas do not tell the utilisation of their GPUs, which is that of their seats."""
        self.flaps = False
        """Every other look finds all of them ill."""
        self.looks = 0
        self.spent = 0.0
        """What those that were there have cost in truth."""
        self.slow = False
        """What is started never gets ready."""
        self.extra: tuple[ReplicaSeen, ...] = ()
        self.records: list[Decision | Step] = []
        self.orders: list[Order] = []
        self.purse: Purse | None = None
        """What is remembered of its money over a restart."""
        self.began_s = MONDAY_S
        """What the clock on the wall said at 0."""
        self.told_time = True
        self.past: Past | None = None
        """What is remembered of its demand."""
        self.most = 0
        """The most that were there at once."""
        self.tell(Reconfigured({pool: spec}, {pool: hourly_cost}))

    def change(self, spec: ScaleSpec) -> None:
        """New settings."""
        self.spec = spec
        self.tell(Reconfigured({self.pool: spec}, {self.pool: self.hourly_cost}))

    def restart(self) -> None:
        """Another Governor takes over, with nothing but what was remembered of its money."""
        self.governor = Governor()
        self.change(self.spec)
        if self.purse is not None:
            self.tell(Remembered(self.pool, self.purse))

    def tell(self, fact: Fact) -> list[Order]:
        """Tell the Governor, and do what it orders."""
        orders = self.governor.on(fact, self.now)
        for order in orders:
            self._perform(order)
        return orders

    def _perform(self, order: Order) -> None:
        if isinstance(order, Record):
            self.records.append(order.entry)
            return
        if isinstance(order, Remember) and isinstance(order.part, Purse):
            self.purse = order.part
            return
        self.orders.append(order)
        if isinstance(order, Remember):
            assert isinstance(order.part, Past)
            self.past = order.part
        elif isinstance(order, Look):
            units = None if self.blind else tuple(self.units.values())
            self.tell(
                Seen(
                    order.pool,
                    self.window(),
                    units,
                    "it is away" if self.blind else "",
                    self.wall_s if self.told_time else None,
                )
            )
        elif isinstance(order, Drain):
            (self.draining.add if order.drain else self.draining.discard)(order.unit)
        elif isinstance(order, Stop) and self.sticks:
            pass
        elif isinstance(order, Stop):
            self.units.pop(order.unit, None)
            for known in (self.loaded, self.ill, self.draining, self.busy):
                known.discard(order.unit)
        elif self.refuses or (self.dry and order.purchase == "spot"):
            self.tell(Scaled(order.pool, order.unit, "no room"))
        elif not self.ignores and order.unit not in self.units:
            self.units[order.unit] = unit(
                order.unit, "ended" if self.crashes else "running", detail="boom", purchase=order.purchase
            )  # fmt: skip
            self.most = max(self.most, len(self.units))

    def window(self) -> Window:
        """The fleet now."""
        running = [name for name, one in self.units.items() if one.state == "running"]
        serving = [name for name in running if name in self.loaded - self.draining]
        share = self.load // len(serving) if serving else 0
        self.looks += 1
        flat = self.flaps and self.looks % 2 == 0
        replicas = [
            seen(
                name, share if name in serving else int(name in self.busy),
                well=name in self.loaded - self.ill - self.draining and not flat, loading=name not in self.loaded,
                gpu=None if self.mute else min(1.0, share / 10),
            )
            for name in running
        ]  # fmt: skip
        if not self.slow:
            self.loaded |= set(running)
        return window(*replicas, *self.extra, queued=self.queued)

    @property
    def wall_s(self) -> float:
        """What the clock on the wall says."""
        return self.began_s + self.now

    def run(self, seconds: float) -> "World":
        """Let time pass, a wake-up at a time."""
        end = self.now + seconds
        while (wake := self.governor.next_wake()) is not None and wake <= end:
            self._pass(max(self.now, wake))
            self.tell(Woke())
        self._pass(end)
        return self

    def _pass(self, until: float) -> None:
        self.spent += len(self.units) * self.hourly_cost * (until - self.now) / 3600
        self.now = until

    # ===== reads =====

    @property
    def wanted(self) -> int | None:
        """How many the Governor wants."""
        return self.governor.wanted(self.pool)

    @property
    def states(self) -> dict[str, int]:
        """State -> replicas, of those there are."""
        (view,) = self.governor.views(self.now)
        return {state: count for state, count in view.states.items() if count}

    @property
    def decisions(self) -> list[Decision]:
        """All of them."""
        return [entry for entry in self.records if isinstance(entry, Decision)]

    def ordered(self, kind: type) -> list[str]:
        """The replicas that orders of this kind were about."""
        return [order.unit for order in self.orders if isinstance(order, Start | Stop | Drain) and type(order) is kind]
