"""What goes wrong in a scenario: with which replicas, when, and for how long."""

from typing import Annotated

from msgspec import Meta, Struct, field

from penstock.base.units import Seconds
from penstock.config.strict import doc


class _Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    at_s: Annotated[Seconds, doc("when it begins, counted from the workload's start")] = field(name="at")
    for_s: Annotated[Seconds | None, doc("how long; none: to the end")] = field(default=None, name="for")
    replicas: Annotated[tuple[int, ...], doc("numbers of the replicas it befalls, from 0; empty: all")] = ()


class Die(_Fault, frozen=True, kw_only=True, tag="die"):
    """The engine is gone: what it had fails, connections are refused; it comes back with an empty cache."""

    noticed: Annotated[
        bool,
        doc("where the fleet scales itself: its actuator shows that it ended; false: it goes on to show it as running"),
    ] = True


class Slow(_Fault, frozen=True, kw_only=True, tag="slow"):
    """Every step takes longer."""

    factor: Annotated[float, Meta(gt=1, description="10: ten times as long")]


class Freeze(_Fault, frozen=True, kw_only=True, tag="freeze"):
    """It takes requests and answers probes, and nothing comes; what it held is lost when it ends."""


class Flap(_Fault, frozen=True, kw_only=True, tag="flap"):
    """Dead and alive by turns."""

    period_s: Annotated[Seconds, doc("of one turn, half of it dead")] = field(default=2.0, name="period")


class MetricsOutage(_Fault, frozen=True, kw_only=True, tag="metrics_outage"):
    """Its metrics cannot be read."""


class GpuOutage(_Fault, frozen=True, kw_only=True, tag="gpu_outage"):
    """Its GPUs cannot be read, or are read late; for groups that have `gpus`."""

    lag_s: Annotated[Seconds | None, doc("readings come, so old; none: none come")] = field(default=None, name="lag")


class Drain(_Fault, frozen=True, kw_only=True, tag="drain"):
    """It ends what it has and takes nothing new; when it is over it takes calls again, with the cache that it had."""


class Leave(_Fault, frozen=True, kw_only=True, tag="leave"):
    """It is taken out of the fleet: it ends what it has, and costs nothing from then on. When it is over it joins anew,
    with its group's `startup` and an empty cache."""


class Spot(_Fault, frozen=True, kw_only=True, tag="spot"):
    """Its provider takes it back: it drains from the notice on, and dies with whatever it still has when that is over.
    When all is over it joins anew, with its group's `startup` and an empty cache."""

    notice_s: Annotated[Seconds, doc("how long between the notice, which is `at`, and its death")] = field(
        default=30.0, name="notice"
    )

    def __post_init__(self) -> None:
        if self.for_s is not None and self.for_s <= self.notice_s:
            raise ValueError(
                f"`for` ({self.for_s:g} s) is over before `notice` ({self.notice_s:g} s), and so its death"
            )


class Runaway(_Fault, frozen=True, kw_only=True, tag="runaway"):
    """A bug in what the fleet scales itself by: a billion calls seem to wait. No replica is ill."""

    def __post_init__(self) -> None:
        if self.replicas:
            raise ValueError("a runaway is the pool's: leave out `replicas`")


class RegionDark(_Fault, frozen=True, kw_only=True, tag="region_dark"):
    """Nothing comes out of a region or into it: connections that are under way are lost, which is noticed 10 s later;
    new ones time out. Its engines go on, with the caches that they have. Its clients go on as well."""

    region: Annotated[str, doc("which")]

    def __post_init__(self) -> None:
        if self.replicas:
            raise ValueError("a region goes dark with all its replicas: leave out `replicas`")


class Storm(_Fault, frozen=True, kw_only=True, tag="storm"):
    """Spot is taken back in large numbers: so large a share of the spot replicas that are there when it begins, by lot,
    one after the other; until it is over none can be had. For a fleet that scales itself with `scale.spot`."""

    share: Annotated[float, Meta(gt=0, le=1, description="share of the spot replicas")] = 0.8
    over_s: Annotated[Seconds, doc("time in which their notices come, evenly")] = field(default=120.0, name="over")
    notice_s: Annotated[Seconds, doc("between a notice and the end of the replica")] = field(
        default=120.0, name="notice"
    )

    def __post_init__(self) -> None:
        if self.replicas:
            raise ValueError("a storm takes a share of all spot replicas: leave out `replicas`")


Fault = Die | Slow | Freeze | Flap | MetricsOutage | GpuOutage | Drain | Leave | Spot | Storm | RegionDark | Runaway
