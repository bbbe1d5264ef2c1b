"""What a scenario says of spot: how many replicas can be had, and when the provider takes them back."""

from typing import Annotated

from msgspec import Meta, field

from penstock.base.units import Seconds
from penstock.config.strict import Strict, doc


class Offer(Strict, frozen=True, kw_only=True):
    """From a time on."""

    at_s: Annotated[Seconds, doc("from when on, counted from the workload's start")] = field(name="at")
    replicas: Annotated[int, Meta(ge=0, description="so many spot replicas can be had; those beyond get a notice")]


class Market(Strict, frozen=True, kw_only=True):
    """Spot replicas that can be had at once. Who holds more gets notices; who asks for more is refused."""

    offers: Annotated[
        tuple[Offer, ...],
        doc(
            "how many, from when on, in the order of their times; before the first one and without any: as many as are"
            " wanted"
        ),
    ] = ()
    notice_s: Annotated[Seconds, doc("between a notice and the end of the replica")] = field(
        default=120.0, name="notice"
    )

    def __post_init__(self) -> None:
        times = [offer.at_s for offer in self.offers]
        if times != sorted(times):
            raise ValueError("the `offers` of the market are not in the order of their times")
