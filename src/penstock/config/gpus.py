"""The GPUs of simulated replicas, where a scenario wants them read as a gateway reads them."""

from typing import Annotated

from msgspec import Meta, field

from penstock.base.units import Bytes, Seconds
from penstock.config.costs import Cost, card_of
from penstock.config.strict import Strict, doc
from penstock.engine.devices import Card

Celsius = Annotated[float, Meta(ge=-60, le=200)]
PLAIN = Card(memory_bytes=80 << 30, weights_bytes=16_000_000_000, watts=700.0)
"""Where nothing says what the GPU is: one of 80 GiB and 700 W with a model of 8 billion parameters in bf16."""


class Gpus(Strict, frozen=True, kw_only=True):
    """Its GPUs are read every 5 s, as where a replica of the gateway has `gpu_metrics`; all GPUs of a replica tell the
    same. How hot they become is an assumption."""

    memory_bytes: Annotated[Bytes | None, doc("of one GPU; none: what `cost` says, else 80GiB")] = field(
        default=None, name="memory"
    )
    weights_bytes: Annotated[Bytes | None, doc("the model's share of it; none: what `cost` says, else 16GB")] = field(
        default=None, name="weights"
    )
    watts: Annotated[
        Annotated[float, Meta(gt=0)] | None, doc("of one GPU that is busy all the time; none: the maker's, else 700")
    ] = None
    idle_c: Annotated[Celsius, doc("degrees Celsius of one that has nothing to do")] = 35.0
    busy_c: Annotated[Celsius, doc("degrees Celsius of one that is busy all the time")] = 70.0
    settle_s: Annotated[
        Seconds, doc("time in which 63 % of the way to the temperature is gone that its load will come to")
    ] = field(default=60.0, name="settle")

    def card(self, cost: str | Cost) -> Card:
        """One GPU, and how many a replica has."""
        plain = card_of(cost) or PLAIN
        return Card(
            count=plain.count, share=plain.share, memory_bytes=self.memory_bytes or plain.memory_bytes,
            weights_bytes=plain.weights_bytes if self.weights_bytes is None else self.weights_bytes,
            watts=self.watts or plain.watts, idle_c=self.idle_c, busy_c=self.busy_c, settle_s=self.settle_s,
        )  # fmt: skip
