"""Who is in the fleet when: replicas that join, start up, drain, leave, or are taken back at short notice.

The Gate is told whole snapshots, as by discovery and the admin API. Engines are told to start and to die; what that
means for whoever waits for them is `cloud`'s business.
"""

from collections.abc import Callable
from math import fsum, inf

from msgspec.structs import replace

from penstock.base.nouns import Replica
from penstock.config.scenarios import Drain, Fault, Leave, Spot
from penstock.core.events import FleetSeen
from penstock.drive.kernel import Kernel
from penstock.sim.cloud import Cloud, Engine

Befallen = tuple[Engine, Fault]
"""A replica, and what befalls it."""


class Lifecycle:
    """The fleet's membership, and what it costs."""

    def __init__(self, cloud: Cloud, kernel: Kernel, tell: Callable[[FleetSeen], None]) -> None:
        self._cloud = cloud
        self._kernel = kernel
        self._tell = tell
        self._members: dict[str, Replica] = {}
        self._since: dict[str, float] = {}
        self._away: dict[str, dict[object, None]] = {}
        """Why a replica is not in the fleet: it joins when no cause is left. The next are why it takes nothing new."""
        self._drains: dict[str, dict[object, None]] = {}
        self._left: list[tuple[float, float, float]] = []
        """Of those that are gone: from when, until when, and their hourly cost."""

    def begin(self, start: float, faults: tuple[Fault, ...]) -> None:
        """The fleet as it is before the workload's `start`, and what becomes of it; faults by the kernel's time."""
        for name, engine in self._cloud.engines.items():
            group = engine.group
            if group.joins_s:
                engine.die()
                self._away[name] = {None: None}
                self._kernel.at(start + group.joins_s, self.join, engine)
                continue
            self._members[name], self._since[name] = engine.replica, 0.0
            if group.startup_s:
                engine.die()
                self._kernel.at(start + group.startup_s, self._up, (engine, 0.0))
        self._announce()
        for fault in faults:
            if isinstance(fault, Drain | Leave | Spot):
                self._plan(fault)

    def _plan(self, fault: Drain | Leave | Spot) -> None:
        engines, until = list(self._cloud.engines.values()), inf if fault.for_s is None else fault.at_s + fault.for_s
        for engine in [engines[number] for number in fault.replicas] or engines:
            what = (engine, fault)
            match fault:
                case Drain():
                    self._between(fault.at_s, until, self._drain, self._undrain, what)
                case Leave():
                    self._between(fault.at_s, until, self._leaves, self._joins, what)
                case Spot():
                    self._kernel.at(fault.at_s, self._drain, what)
                    self._between(fault.at_s + fault.notice_s, until, self._taken_back, self._joins, what)

    def _between(
        self, start: float, end: float, begin: Callable[[Befallen], None], over: Callable[[Befallen], None],
        what: Befallen,
    ) -> None:  # fmt: skip
        self._kernel.at(start, begin, what)
        if end != inf:
            self._kernel.at(end, over, what)

    def _announce(self) -> None:
        members = self._members
        self._tell(FleetSeen(tuple(members[name] for name in self._cloud.engines if name in members)))

    # ===== what becomes of a replica =====

    def join(self, engine: Engine, cause: object = None) -> None:
        """It is in the fleet from now on, unless it is away for another cause, with an engine that starts up: whatever
        ran there before is gone."""
        name, now, away = engine.replica.id, self._kernel.now, self._away.get(engine.replica.id, {})
        away.pop(cause, None)
        if away or name in self._members:
            return
        self._members[name], self._since[name] = self._as_drained(engine), now
        engine.die()
        if engine.group.startup_s:
            self._kernel.at(now + engine.group.startup_s, self._up, (engine, now))
        else:
            engine.revive()
        self._announce()

    def _up(self, what: tuple[Engine, float]) -> None:
        engine, since = what
        if self._since.get(engine.replica.id) == since:  # else it has left again meanwhile
            engine.revive()

    def mark(self, engine: Engine, drain: bool, cause: object = None) -> None:
        """It takes nothing new, or does again, unless there is another cause for it."""
        name, causes = engine.replica.id, self._drains.setdefault(engine.replica.id, {})
        if drain:
            causes[cause] = None
        else:
            causes.pop(cause, None)
        if name in self._members and self._members[name].drain != bool(causes):
            self._members[name] = self._as_drained(engine)
            self._announce()

    def _as_drained(self, engine: Engine) -> Replica:
        return replace(engine.replica, drain=bool(self._drains.get(engine.replica.id)))

    def leave(self, engine: Engine, cause: object = None) -> None:
        """It is in the fleet no more."""
        name = engine.replica.id
        self._away.setdefault(name, {})[cause] = None
        if self._members.pop(name, None) is not None:
            self._left.append((self._since.pop(name), self._kernel.now, engine.replica.hourly_cost))
            self._announce()

    def _drain(self, what: Befallen) -> None:
        self.mark(what[0], True, what[1])

    def _undrain(self, what: Befallen) -> None:
        self.mark(what[0], False, what[1])

    def _leaves(self, what: Befallen) -> None:
        self.leave(*what)

    def _joins(self, what: Befallen) -> None:
        self.join(*what)

    def _taken_back(self, what: Befallen) -> None:
        engine, fault = what
        engine.die()
        self.leave(engine, fault)
        self.mark(engine, False, fault)

    # ===== money =====

    def spending(self) -> tuple[int, float]:
        """How many replicas there are now, and what they cost an hour together."""
        members = self._members.values()
        return len(members), fsum(replica.hourly_cost for replica in members)

    def hourly_cost(self, start: float, end: float) -> float:
        """Of the whole fleet, as the mean over this time: a replica costs from its joining to its leaving."""
        engines = self._cloud.engines
        if not self._left and not any(self._since.values()):
            return fsum(engines[name].replica.hourly_cost for name in self._members)
        stays = [(since, end, engines[name].replica.hourly_cost) for name, since in self._since.items()]
        spent = fsum(cost * max(0.0, min(end, until) - max(start, since)) for since, until, cost in stays + self._left)
        return spent / (end - start) if end > start else 0.0
