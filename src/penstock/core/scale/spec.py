"""How a pool scales itself: targets of its metrics, how fast it may change, its bounds, and the times of a replica's life.

Names and defaults are those of a HorizontalPodAutoscaler where it has the same thing
(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/).
"""

from typing import Annotated

from msgspec import Meta, Struct, field

from penstock.base.units import Fraction, Seconds
from penstock.core.scale.forecast import ForecastSpec
from penstock.core.scale.life import LifeSpec
from penstock.core.scale.pace import DownPace, Pace, PanicWindow, UpPace
from penstock.core.scale.schedule import Schedule
from penstock.core.scale.spot import SpotSpec
from penstock.core.scale.targets import (
    GpuTarget,
    InFlightTarget,
    KvTarget,
    P95Target,
    Positive,
    QueueTarget,
    RpsTarget,
    Target,
    Targets,
    TtftTarget,
    UtilisationTarget,
)

__all__ = (
    "DownPace", "GpuTarget", "InFlightTarget", "KvTarget", "LifeSpec", "P95Target", "Pace", "PanicWindow", "QueueTarget",
    "RpsTarget", "ScaleSpec", "Schedule", "Target", "Targets", "TtftTarget", "UpPace", "UtilisationTarget",
)  # fmt: skip
"""A pool's whole specification is read from here; each part stands in a file of its own."""


def _doc(text: str) -> Meta:
    return Meta(description=text)


class ScaleSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool that starts and stops replicas by itself [A1, A2, A5]."""

    min: Annotated[int, Meta(ge=0, le=10_000, description="fewest replicas; 0: none while there is nothing to do (then `models` must be given)")] = 2
    max: Annotated[int, Meta(ge=1, le=10_000, description="most replicas, those that drain or stop included")] = 20
    max_hourly_cost: Annotated[Positive | None, _doc("most that they may cost an hour together, by `replica.hourly_cost`; none: no such bound")] = None
    max_monthly_cost: Annotated[Positive | None, _doc("most that they may cost together in a calendar month (UTC): as it is used up the pool comes down to `min`; none: no such bound")] = None
    schedules: Annotated[tuple[Schedule, ...], _doc("other `min` and `max` at some hours of the week")] = ()
    interval_s: Annotated[Seconds, _doc("between two decisions about their number")] = field(default=15.0, name="interval")
    look_s: Annotated[Seconds, _doc("between two looks at each of them")] = field(default=2.0, name="look")
    tolerance: Annotated[Fraction, _doc("a metric so near to its target is on target, where no `up` and `down` are given")] = 0.1
    targets: Targets = field(default_factory=Targets)
    forecast: Annotated[ForecastSpec | None, _doc("it grows before its load does, by what was usual on the days before; none: it does not")] = None
    up: UpPace = field(default_factory=UpPace)
    down: DownPace = field(default_factory=DownPace)
    panic: Annotated[PanicWindow | None, _doc("how a burst is met; null: as anything else, by `up`")] = field(default_factory=PanicWindow)
    health: Annotated[Fraction, _doc("where a smaller share of the ready replicas is well, ill ones are replaced, one after the other")] = 0.8
    replace_after_s: Annotated[Seconds, _doc("how long a replica must have been ill to be replaced")] = field(default=60.0, name="replace_after")
    spot: Annotated[SpotSpec | None, _doc("how many of them are spot; none: none is")] = None
    life: LifeSpec = field(default_factory=LifeSpec)
