"""Calls that go to an engine as one request, in a simulation: what `gateway/call/carriage` does with bytes.

Which calls those are the Gate decides. The engine gets one request with their inputs; when it is answered each call
that is still there is told of its part, and then the end of all is told. A list that the engine refuses is a failure of
all, and the Gate tries each alone.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from penstock.core.effects import Cancel, Carry, Send
from penstock.core.events import Ended, Event, Failed
from penstock.sim.attempts import Attempt
from penstock.sim.cloud import Engine
from penstock.workload.request import Request


class Flying(Protocol):
    """A call that is not over, as far as this file looks at it."""

    @property
    def request(self) -> Request:
        """What it asks."""
        ...

    @property
    def number(self) -> int:
        """Which of the run's it is."""
        ...

    @property
    def asked(self) -> list[Engine]:
        """Who got its attempts, from the first on."""
        ...


class _Carriage:
    """One group."""

    __slots__ = ("aboard", "attempt", "engine")

    def __init__(self, aboard: tuple[str, ...]) -> None:
        self.aboard = aboard
        self.engine: Engine | None = None
        self.attempt: Attempt | None = None
        """While it is at an engine."""


class Carriages:
    """The groups of a run. `flying`: its calls; `tell`: who hears of them."""

    def __init__(self, flying: Mapping[str, Flying], tell: Callable[[Event], None]) -> None:
        self.groups = 0
        """Groups that were sent."""
        self.calls = 0
        """Calls in them."""
        self._flying = flying
        self._tell = tell
        self._under_way: dict[str, _Carriage] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    # ===== orders =====

    def carry(self, order: Carry) -> None:
        """These go as one, in place of those that did; nobody: the group is over."""
        former = self._under_way.pop(order.id, None)
        if former is not None:
            _drop(former)
        if order.aboard:
            self._under_way[order.id] = _Carriage(tuple([one.id for one in order.aboard]))

    def first(self, group: str) -> str:
        """The call whose way is all of theirs."""
        return self._under_way[group].aboard[0]

    def send(self, order: Send, engine: Engine, way_s: float | None) -> None:
        """Make the attempt, which is each one's."""
        carriage = self._under_way[order.id]
        calls = [self._flying[call] for call in carriage.aboard]
        for call in calls:
            call.asked.append(engine)
        if order.attempt == 1:
            self.groups += 1
            self.calls += len(calls)
        inputs = [(call.request, call.number) for call in calls]
        carriage.engine = engine
        carriage.attempt = engine.submit(order, *inputs[0], way_s, tuple(inputs[1:]))

    def cancel(self, order: Cancel) -> None:
        """Its attempt is wanted no more."""
        _drop(self._under_way[order.id])

    # ===== from engines =====

    def heard(self, event: Event) -> None:
        """What an engine tells."""
        carriage = self._under_way.get(event.id) if isinstance(event, Ended | Failed) else None
        if carriage is not None and (attempt := carriage.attempt) is not None:
            carriage.attempt = None
            if isinstance(event, Ended):
                for call, name in zip(carriage.aboard, attempt.names, strict=True):
                    if call in self._flying:  # else its part is nobody's
                        self._tell(Ended(call, event.attempt, event.status, attempt.parts[name]))
        self._tell(event)


def _drop(carriage: _Carriage) -> None:
    attempt, carriage.attempt = carriage.attempt, None
    if attempt is not None:
        assert carriage.engine is not None
        carriage.engine.abort(Cancel(attempt.order.id, attempt.order.attempt))
