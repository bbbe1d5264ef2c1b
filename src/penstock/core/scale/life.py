"""The life of one replica that a pool runs: ordered → starting → loading → ready → draining → stopping → gone.

Loading is capacity on its way: it counts as a replica that comes, not as one that serves, and nobody kills it for being
idle. `stopping` is told to end and not yet seen to have ended.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from penstock.base.nouns import Purchase
from penstock.base.units import Seconds

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


def _doc(text: str) -> Meta:
    return Meta(description=text)


class LifeSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a replica may be in each state of its life; then it is given up and stopped."""

    ordered_s: Annotated[Seconds, _doc("until the actuator shows it")] = field(default=60.0, name="ordered")
    starting_s: Annotated[Seconds, _doc("until it has an address")] = field(default=600.0, name="starting")
    loading_s: Annotated[Seconds, _doc("until its first good health probe: the time to load a model")] = field(
        default=900.0, name="loading"
    )
    draining_s: Annotated[Seconds, _doc("to finish the calls that it has; what is left then is broken off")] = field(
        default=600.0, name="draining"
    )
    stopping_s: Annotated[Seconds, _doc("until it is told to stop once more")] = field(default=60.0, name="stopping")
    proven_s: Annotated[
        Seconds, _doc("one that fails within so long after it became ready counts as a failed start")
    ] = field(default=30.0, name="proven")
    backoff_s: Annotated[
        Seconds,
        _doc("pause after the second failed start in a row; it doubles with each, and only one is tried at a time"),
    ] = field(default=10.0, name="backoff")
    backoff_max_s: Annotated[Seconds, _doc("longest such pause")] = field(default=300.0, name="backoff_max")


class Life:
    """One replica's row."""

    __slots__ = (
        "born", "found", "ill_since", "in_flight", "purchase", "ready_at", "shown", "sick", "since", "state", "unit",
        "until",
    )  # fmt: skip

    def __init__(self, unit: str, state: State, now: float, purchase: Purchase = "on_demand") -> None:
        self.unit = unit
        self.purchase = purchase
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
        self.until: float | None = None
        """When its provider takes it back; None: it gave no notice."""
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

    def overdue(self, now: float) -> bool:
        """Whether its provider should have taken it back by now."""
        return self.until is not None and now >= self.until

    def proven(self, spec: LifeSpec, now: float) -> bool:
        """Whether it served for long enough to say that such replicas can be started."""
        return self.ready_at is not None and now - self.ready_at >= spec.proven_s
