"""How fast a pool may change: the `behavior` of a HorizontalPodAutoscaler, by its names and mostly its defaults
(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/), and when a burst passes it.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from penstock.base.units import Seconds


def _doc(text: str) -> Meta:
    return Meta(description=text)


Span = Annotated[Seconds, Meta(le=3600)]


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


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

    stabilisation_s: Annotated[Span, _doc("it grows to the least that was wanted at any time in the last so long")] = (
        field(default=60.0, name="stabilisation")
    )
    percent: Annotated[
        float, Meta(ge=0, description="replicas more in a period, as a share in % of those at its beginning")
    ] = 100.0
    replicas: Annotated[int, Meta(ge=0, description="replicas more in a period")] = 4
    period_s: Annotated[Span, _doc("the period")] = field(default=60.0, name="period")
    select: Annotated[Literal["max", "min"], _doc("which of the two bounds holds")] = "max"
    cooldown_s: Annotated[Seconds, _doc("it does not grow for so long after it shrank")] = field(
        default=0.0, name="cooldown"
    )


class DownPace(Pace, frozen=True, kw_only=True):
    """How fast a pool may shrink."""

    stabilisation_s: Annotated[Span, _doc("it shrinks to the most that was wanted at any time in the last so long")] = (
        field(default=300.0, name="stabilisation")
    )
    starts: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="and in so many times the time that its replicas were seen to take to start, where that is longer: what is stopped is not back sooner; 0: that is not looked at",
        ),
    ] = 3.0
    percent: Annotated[
        float, Meta(ge=0, description="replicas fewer in a period, as a share in % of those at its beginning")
    ] = 50.0
    replicas: Annotated[int, Meta(ge=0, description="replicas fewer in a period")] = 2
    period_s: Annotated[Span, _doc("the period")] = field(default=60.0, name="period")
    select: Annotated[Literal["max", "min"], _doc("which of the two bounds holds")] = "min"
    cooldown_s: Annotated[Seconds, _doc("it does not shrink for so long after it grew")] = field(
        default=300.0, name="cooldown"
    )


class PanicWindow(_Spec, frozen=True, kw_only=True):
    """When a burst is met at once: without `up.stabilisation` and `up`'s pace, and nothing shrinks. Names and numbers are
    those of Knative's pod autoscaler (https://knative.dev/docs/serving/autoscaling/kpa-specific/)."""

    stable_window_s: Annotated[
        Span, _doc("the panic ends when the demand was so long below the threshold; while it lasts nothing shrinks")
    ] = field(default=60.0, name="stable_window")
    window_percent: Annotated[
        float,
        Meta(
            gt=0, le=100, description="the panic window, as a share in % of the stable one: what happened in it decides"
        ),
    ] = 10.0
    threshold_percent: Annotated[
        float,
        Meta(
            gt=100,
            le=100_000,
            description="it begins when this share, in %, of the replicas that are ready would be needed for the calls in flight and waiting",
        ),
    ] = 200.0
    starts: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="where replicas were seen to take longer than `stable_window` to start, a burst must have lasted so many times that time: what is ordered comes too late for a shorter one; 0: the panic window decides there too",
        ),
    ] = 0.5
    max_scale_up_rate: Annotated[
        float, Meta(gt=1, le=1_000_000, description="it wants at most so many times the replicas that are ready")
    ] = 1000.0
