"""The life of one replica that a pool runs: ordered → starting → loading → ready → draining → stopping → gone.

Loading is capacity on its way: it counts as a replica that comes, not as one that serves, and nobody kills it for being
idle. `stopping` is told to end and not yet seen to have ended.
"""

from typing import Final, Literal

from penstock.core.scale.spec import LifeSpec

State = Literal["ordered", "starting", "loading", "ready", "draining", "stopping", "gone"]
STATES: Final[tuple[State, ...]] = ("ordered", "starting", "loading", "ready", "draining", "stopping")
"""All in which a replica exists, or may."""
COMING: Final[frozenset[State]] = frozenset({"ordered", "starting", "loading"})
LIVING: Final[frozenset[State]] = COMING | {"ready"}
"""Those that count as what the pool has, or will have soon."""

ROADS: Final[dict[State, tuple[State, ...]]] = {
    "ordered": ("starting", "loading", "ready", "stopping", "gone"),
    "starting": ("loading", "ready", "stopping", "gone"),
    "loading": ("ready", "stopping", "gone"),
    "ready": ("draining", "stopping", "gone"),
    "draining": ("loading", "ready", "stopping", "gone"),
    "stopping": ("gone",),
    "gone": (),
}
"""Where it may go from each state. One that drains may be taken back, as long as it was not told to stop."""


class Life:
    """One replica's row."""

    __slots__ = ("born", "found", "ill_since", "in_flight", "ready_at", "shown", "sick", "since", "state", "unit")

    def __init__(self, unit: str, state: State, now: float) -> None:
        self.unit = unit
        self.state: State = state
        self.born = now
        self.found = False
        """It ran already: how long it took to start is not known."""
        self.since = now
        """When it came into its state."""
        self.shown = False
        """The actuator has shown it once."""
        self.ready_at: float | None = None
        """When it was first ready."""
        self.ill_since: float | None = None
        self.sick = False
        """It drains because it was ill: nobody takes it back."""
        self.in_flight = 0

    def to(self, state: State, now: float) -> State:
        """Go on to a state; where it was. Raises ValueError where no road leads there: a bug."""
        if state not in ROADS[self.state]:
            raise ValueError(f"{self.unit}: no road from {self.state} to {state}")
        was, self.state, self.since = self.state, state, now
        if state == "ready" and self.ready_at is None:
            self.ready_at = now
        return was

    def limit_s(self, spec: LifeSpec) -> float | None:
        """How long it may be in its state; None: for ever."""
        limits = {
            "ordered": spec.ordered_s, "starting": spec.starting_s, "loading": spec.loading_s,
            "draining": spec.draining_s, "stopping": spec.stopping_s,
        }  # fmt: skip
        return limits.get(self.state)

    def late(self, spec: LifeSpec, now: float) -> bool:
        """Whether it has been in its state for too long."""
        limit_s = self.limit_s(spec)
        return limit_s is not None and now - self.since >= limit_s

    def proven(self, spec: LifeSpec, now: float) -> bool:
        """Whether it served for long enough to say that such replicas can be started."""
        return self.ready_at is not None and now - self.ready_at >= spec.proven_s
