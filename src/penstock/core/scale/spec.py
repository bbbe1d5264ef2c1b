"""How a pool scales itself: targets of its metrics, how fast it may change, its bounds, and the times of a replica's life.

Names and defaults are those of a HorizontalPodAutoscaler where it has the same thing
(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/).
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from penstock.base.units import Fraction, Seconds
from penstock.core.scale.forecast import ForecastSpec


def _doc(text: str) -> Meta:
    return Meta(description=text)


Positive = Annotated[float, Meta(gt=0)]
Window = Annotated[Seconds, Meta(le=3600)]


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Target(_Spec, frozen=True, kw_only=True):
    """What a metric should be, and the band within which nothing is done."""

    target: Annotated[Positive, _doc("what it should be")] = 1.0
    up: Annotated[Positive | None, _doc("the pool grows only above this; none: above target x (1 + tolerance)")] = None
    down: Annotated[Positive | None, _doc("the pool shrinks only below this; none: below target x (1 - tolerance)")] = None


class UtilisationTarget(Target, frozen=True, kw_only=True):
    """Calls in flight and waiting, here and in the engines, as a share of the replicas' seats: 1 is full."""

    target: Annotated[Positive, _doc("what it should be")] = 0.7
    up: Annotated[Positive | None, _doc("the pool grows only above this; none: above target x (1 + tolerance)")] = 0.8
    down: Annotated[Positive | None, _doc("the pool shrinks only below this; none: below target x (1 - tolerance)")] = 0.5


class QueueTarget(Target, frozen=True, kw_only=True):
    """Calls that wait, in the gateway and in the engines, a replica."""

    target: Annotated[Positive, _doc("what it should be")] = 10.0
    up: Annotated[Positive | None, _doc("the pool grows only above this; none: above target x (1 + tolerance)")] = 20.0
    down: Annotated[Positive | None, _doc("the pool shrinks only below this; none: below target x (1 - tolerance)")] = 5.0


class InFlightTarget(Target, frozen=True, kw_only=True):
    """Calls in flight, a replica."""

    target: Annotated[Positive, _doc("what it should be")] = 16.0


class GpuTarget(Target, frozen=True, kw_only=True):
    """Utilisation of the replicas' GPUs, 0 to 1, as `gpu_metrics`, an agent, or the engine tells it."""

    target: Annotated[Positive, _doc("what it should be")] = 0.7
    up: Annotated[Positive | None, _doc("the pool grows only above this; none: above target x (1 + tolerance)")] = 0.8
    down: Annotated[Positive | None, _doc("the pool shrinks only below this; none: below target x (1 - tolerance)")] = 0.5


class KvTarget(Target, frozen=True, kw_only=True):
    """Share of the engines' KV caches in use, 0 to 1."""

    target: Annotated[Positive, _doc("what it should be")] = 0.7
    up: Annotated[Positive | None, _doc("the pool grows only above this; none: above target x (1 + tolerance)")] = 0.8
    down: Annotated[Positive | None, _doc("the pool shrinks only below this; none: below target x (1 - tolerance)")] = 0.5


class TtftTarget(Target, frozen=True, kw_only=True):
    """Mean time to first token at the replicas, in seconds. It says when, but hardly how many: better beside others."""

    target: Annotated[Positive, _doc("what it should be, in seconds")] = 2.0
    up: Annotated[Positive | None, _doc("the pool grows only above this; none: above target x (1 + tolerance)")] = 3.0
    down: Annotated[Positive | None, _doc("the pool shrinks only below this; none: below target x (1 - tolerance)")] = 1.0


class Targets(_Spec, frozen=True, kw_only=True):
    """What is looked at. Each metric says how many replicas it wants; the largest number wins. While one of them cannot be
    read the pool does not shrink."""

    utilisation: Annotated[UtilisationTarget | None, _doc("calls in flight and waiting / seats; null: not looked at")] = field(default_factory=UtilisationTarget)
    queue: Annotated[QueueTarget | None, _doc("calls that wait, a replica; null: not looked at")] = field(default_factory=QueueTarget)
    in_flight: Annotated[InFlightTarget | None, _doc("calls in flight, a replica")] = None
    gpu: Annotated[GpuTarget | None, _doc("utilisation of the GPUs, 0 to 1")] = None
    kv_usage: Annotated[KvTarget | None, _doc("share of the engines' KV caches in use, 0 to 1")] = None
    ttft: Annotated[TtftTarget | None, _doc("mean time to first token, in seconds")] = None


class Pace(_Spec, frozen=True, kw_only=True):
    """How fast a pool may change in one direction."""

    stabilisation_s: float = 0.0
    percent: float = 100.0
    replicas: int = 4
    period_s: float = 60.0
    select: Literal["max", "min"] = "max"
    cooldown_s: float = 0.0


class UpPace(Pace, frozen=True, kw_only=True):
    """How fast a pool may grow."""

    stabilisation_s: Annotated[Window, _doc("it grows to the least that was wanted at any time in the last so long")] = field(default=60.0, name="stabilisation")
    percent: Annotated[float, Meta(ge=0, description="replicas more in a period, as a share in % of those at its beginning")] = 100.0
    replicas: Annotated[int, Meta(ge=0, description="replicas more in a period")] = 4
    period_s: Annotated[Window, _doc("the period")] = field(default=60.0, name="period")
    select: Annotated[Literal["max", "min"], _doc("which of the two bounds holds")] = "max"
    cooldown_s: Annotated[Seconds, _doc("it does not grow for so long after it shrank")] = field(default=0.0, name="cooldown")


class DownPace(Pace, frozen=True, kw_only=True):
    """How fast a pool may shrink."""

    stabilisation_s: Annotated[Window, _doc("it shrinks to the most that was wanted at any time in the last so long")] = field(default=300.0, name="stabilisation")
    percent: Annotated[float, Meta(ge=0, description="replicas fewer in a period, as a share in % of those at its beginning")] = 50.0
    replicas: Annotated[int, Meta(ge=0, description="replicas fewer in a period")] = 2
    period_s: Annotated[Window, _doc("the period")] = field(default=60.0, name="period")
    select: Annotated[Literal["max", "min"], _doc("which of the two bounds holds")] = "min"
    cooldown_s: Annotated[Seconds, _doc("it does not shrink for so long after it grew")] = field(default=300.0, name="cooldown")


class LifeSpec(_Spec, frozen=True, kw_only=True):
    """How long a replica may be in each state of its life; then it is given up and stopped."""

    ordered_s: Annotated[Seconds, _doc("until the actuator shows it")] = field(default=60.0, name="ordered")
    starting_s: Annotated[Seconds, _doc("until it has an address")] = field(default=600.0, name="starting")
    loading_s: Annotated[Seconds, _doc("until its first good health probe: the time to load a model")] = field(default=900.0, name="loading")
    draining_s: Annotated[Seconds, _doc("to finish the calls that it has; what is left then is broken off")] = field(default=600.0, name="draining")
    stopping_s: Annotated[Seconds, _doc("until it is told to stop once more")] = field(default=60.0, name="stopping")
    proven_s: Annotated[Seconds, _doc("one that fails within so long after it became ready counts as a failed start")] = field(default=30.0, name="proven")
    backoff_s: Annotated[Seconds, _doc("pause after the second failed start in a row; it doubles with each, and only one is tried at a time")] = field(default=10.0, name="backoff")
    backoff_max_s: Annotated[Seconds, _doc("longest such pause")] = field(default=300.0, name="backoff_max")


class ScaleSpec(_Spec, frozen=True, kw_only=True):
    """A pool that starts and stops replicas by itself [A1, A2, A5]."""

    min: Annotated[int, Meta(ge=0, le=10_000, description="fewest replicas; 0: none while there is nothing to do (then `models` must be given)")] = 2
    max: Annotated[int, Meta(ge=1, le=10_000, description="most replicas, those that drain or stop included")] = 20
    max_hourly_cost: Annotated[Positive | None, _doc("most that they may cost an hour together, by `replica.hourly_cost`; none: no such bound")] = None
    interval_s: Annotated[Seconds, _doc("between two decisions about their number")] = field(default=15.0, name="interval")
    look_s: Annotated[Seconds, _doc("between two looks at each of them")] = field(default=2.0, name="look")
    tolerance: Annotated[Fraction, _doc("a metric so near to its target is on target, where no `up` and `down` are given")] = 0.1
    targets: Targets = field(default_factory=Targets)
    forecast: Annotated[ForecastSpec | None, _doc("it grows before its load does, by what was usual on the days before; none: it does not")] = None
    up: UpPace = field(default_factory=UpPace)
    down: DownPace = field(default_factory=DownPace)
    health: Annotated[Fraction, _doc("where a smaller share of the ready replicas is well, ill ones are replaced, one after the other")] = 0.8
    replace_after_s: Annotated[Seconds, _doc("how long a replica must have been ill to be replaced")] = field(default=60.0, name="replace_after")
    life: LifeSpec = field(default_factory=LifeSpec)
