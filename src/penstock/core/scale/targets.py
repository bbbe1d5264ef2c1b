"""What is looked at in a pool, and what each metric should be. Each says how many replicas it wants; the largest number
wins (`recommend`).
"""

from typing import Annotated

from msgspec import Meta, Struct, field

Positive = Annotated[float, Meta(gt=0)]
Aim = Annotated[Positive, Meta(description="what it should be")]
AimSeconds = Annotated[Positive, Meta(description="what it should be, in seconds")]
Up = Annotated[
    Positive | None, Meta(description="the pool grows only above this; none: above target x (1 + tolerance)")
]
Down = Annotated[
    Positive | None, Meta(description="the pool shrinks only below this; none: below target x (1 - tolerance)")
]


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a metric should be, and the band within which nothing is done."""

    target: Aim = 1.0
    up: Up = None
    down: Down = None


class UtilisationTarget(Target, frozen=True, kw_only=True):
    """Calls in flight and waiting, here and in the engines, as a share of the replicas' seats: 1 is full."""

    target: Aim = 0.7
    up: Up = 0.8
    down: Down = 0.5


class QueueTarget(Target, frozen=True, kw_only=True):
    """Calls that wait, in the gateway and in the engines, a replica."""

    target: Aim = 10.0
    up: Up = 20.0
    down: Down = 5.0


class InFlightTarget(Target, frozen=True, kw_only=True):
    """Calls in flight, a replica."""

    target: Aim = 16.0


class RpsTarget(Target, frozen=True, kw_only=True):
    """Calls that come in a second, a replica, over the last minute: set it to what one of yours can serve."""

    target: Aim


class GpuTarget(UtilisationTarget, frozen=True, kw_only=True):
    """Utilisation of the replicas' GPUs, 0 to 1, as `gpu_metrics`, an agent, or the engine tells it."""


class KvTarget(UtilisationTarget, frozen=True, kw_only=True):
    """Share of the engines' KV caches in use, 0 to 1."""


class TtftTarget(Target, frozen=True, kw_only=True):
    """Mean time to first token at the replicas, in seconds. It says when, but hardly how many: better beside others."""

    target: AimSeconds = 2.0
    up: Up = 3.0
    down: Down = 1.0


class P95Target(TtftTarget, frozen=True, kw_only=True):
    """Time from a call's arrival to the end of its answer that 95 % of the last minute's calls kept, in seconds, waiting
    included. It says when, but hardly how many: better beside others."""


class Targets(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is looked at. Each metric says how many replicas it wants; the largest number wins. While one of them cannot be
    read the pool does not shrink."""

    utilisation: Annotated[
        UtilisationTarget | None, Meta(description="calls in flight and waiting / seats; null: not looked at")
    ] = field(default_factory=UtilisationTarget)
    queue: Annotated[QueueTarget | None, Meta(description="calls that wait, a replica; null: not looked at")] = field(
        default_factory=QueueTarget
    )
    in_flight: Annotated[InFlightTarget | None, Meta(description="calls in flight, a replica")] = None
    rps: Annotated[RpsTarget | None, Meta(description="calls that come in a second, a replica")] = None
    gpu: Annotated[GpuTarget | None, Meta(description="utilisation of the GPUs, 0 to 1")] = None
    kv_usage: Annotated[KvTarget | None, Meta(description="share of the engines' KV caches in use, 0 to 1")] = None
    ttft: Annotated[TtftTarget | None, Meta(description="mean time to first token, in seconds")] = None
    p95: Annotated[
        P95Target | None, Meta(description="time to the whole answer that 95 % of the calls keep, in seconds")
    ] = None
