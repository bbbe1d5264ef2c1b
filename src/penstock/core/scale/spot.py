"""Settings of a pool that is partly spot: what it may lose at short notice, and what stands in for it [A6]."""

from typing import Annotated

from msgspec import Meta, Struct, field

from penstock.base.units import Fraction, Seconds


def _doc(text: str) -> Meta:
    return Meta(description=text)


class SpotSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Spot replicas beside a base on demand. A provider that takes one back says so: it drains within that notice, and
    another is ordered at once. Where spot cannot be had, on-demand replicas stand in until it can again."""

    base: Annotated[
        Fraction, _doc("share of the replicas that are on demand (or reserved), rounded up; the rest are spot")
    ] = 0.3
    hourly_cost: Annotated[
        Annotated[float, Meta(ge=0)] | None, _doc("money per hour of a spot replica; none: as `replica.hourly_cost`")
    ] = None
    within_s: Annotated[
        Seconds, _doc("a spot replica that has no address so long after its order is not to be had")
    ] = field(default=120.0, name="within")
    retry_s: Annotated[
        Seconds, _doc("how long on-demand replicas stand in after spot could not be had; doubles each time in a row")
    ] = field(default=300.0, name="retry")
    retry_max_s: Annotated[Seconds, _doc("and at most so long")] = field(default=3600.0, name="retry_max")
    notice_s: Annotated[Seconds, _doc("time to drain where a notice does not say when it ends")] = field(
        default=120.0, name="notice"
    )
