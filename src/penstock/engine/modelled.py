"""An engine as it is modelled: how long its steps take, what it holds, and how far that is from measurements.

What is computed (`engine.computed`) and what is calibrated (`engine.measured`) come to this, and a calibration file
holds one of these as JSON. Whoever uses one tells its `doubts`: a model's error is never hidden.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from penstock.engine.perf import PRESETS, StepCost
from penstock.engine.profile import Profile
from penstock.engine.roofline import Roofline

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0)]


class Misses(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How wrong it was about settings that it was not made from: absolute errors, relative to what was measured."""

    points: Count
    tpot_median: Share
    tpot_p95: Share
    ttft_median: Share
    ttft_p95: Share

    def told(self) -> str:
        """For people."""
        return (
            f"{self.tpot_median:.1%} of the time per token and {self.ttft_median:.1%} of TTFT at the median"
            f" ({self.tpot_p95:.1%} and {self.ttft_p95:.1%} at p95)"
        )


class Modelled(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine. None: whoever uses it has a default."""

    about: Annotated[str, Meta(min_length=1)]
    """What it is a model of, in a few words."""
    cost: StepCost | Roofline | Profile
    outside_s: Annotated[float, Meta(ge=0)] = 0.0
    """Of every request, before the engine's queue: HTTP, tokenising."""
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    kv_blocks: Count | None = None
    block_size: Count | None = None
    hourly_cost: Annotated[float, Meta(ge=0)] | None = None
    """USD."""
    price_of: str = ""
    """Whose price that is."""
    held_back: Misses | None = None
    """None: it was never held against measurements."""
    measured: str = ""
    """What was measured, and by whom."""
    doubt: str = ""
    """Why this engine may be further off than those that were measured."""

    def doubts(self) -> str:
        """How wrong it may be, in a sentence or two."""
        if self.held_back is None:
            known = "Expected error: not known."
        else:
            known = f"Expected error: {self.held_back.told()}, by {self.held_back.points} held-back settings"
            known += f" of {self.measured}." if self.measured else "."
        return f"{known} {self.doubt}".rstrip()


MADE_UP = "It is not a model of a real engine."
NAMED: dict[str, Modelled] = {
    "demo": Modelled(about="demo", cost=PRESETS["demo"], doubt=MADE_UP),
    "fast": Modelled(about="fast", cost=PRESETS["fast"], doubt=MADE_UP),
    "h200-8b-fp8": Modelled(
        about="h200-8b-fp8", cost=PRESETS["h200-8b-fp8"],
        doubt="Its prices were solved from five measurements of Llama-3.1-8B in FP8 on one H200, none held back.",
    ),
}  # fmt: skip
"""The presets."""


def read_modelled(data: bytes) -> Modelled:
    """What a calibration file says. Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.json.decode(data, type=Modelled)


def written(modelled: Modelled) -> bytes:
    """As a calibration file, for people to look at as well."""
    return msgspec.json.format(msgspec.json.encode(modelled), indent=2) + b"\n"
