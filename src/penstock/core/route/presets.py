"""The named strategies: each a spec that expands into filters, weighted scorers and a picker [R1, R4]."""

from typing import Annotated

from msgspec import Meta, Struct

from penstock.base.registry import Registry
from penstock.base.units import Seconds


class _Strategy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


Weight = Annotated[float, Meta(ge=0)]


class RoundRobin(_Strategy, frozen=True, kw_only=True, tag="round_robin"):
    """Each replica in turn, whatever it is doing."""


class WeightedRoundRobin(_Strategy, frozen=True, kw_only=True, tag="weighted_round_robin"):
    """Smooth weighted turns: a replica of weight 2 gets twice the calls, evenly interleaved."""


class LeastConnections(_Strategy, frozen=True, kw_only=True, tag="least_connections"):
    """The replica with the fewest calls in flight; ties: the lowest id."""


class LeastLoaded(_Strategy, frozen=True, kw_only=True, tag="least_loaded"):
    """The lowest load score: 0.7 x in flight / seats + 0.3 x queued / queue size."""


class P2CPeakEwma(_Strategy, frozen=True, kw_only=True, tag="p2c_peak_ewma"):
    """Of two random replicas the one with the lower peak-EWMA of TTFT x (in flight + 1)."""

    decay_s: Annotated[Seconds, Meta(description="time in which an old peak fades to 1/e")] = 10.0


class Adaptive(_Strategy, frozen=True, kw_only=True, tag="adaptive"):
    """Weighs load, latency, errors and GPU of each replica."""

    load: Annotated[Weight, Meta(description="weight of the load score")] = 0.3
    latency: Annotated[Weight, Meta(description="weight of the latency score")] = 0.3
    errors: Annotated[Weight, Meta(description="weight of the error score")] = 0.2
    gpu: Annotated[Weight, Meta(description="weight of GPU (else KV cache) usage")] = 0.2
    latency_reference_s: Annotated[Seconds, Meta(description="mean TTFT that scores one half")] = 1.0


Strategy = RoundRobin | WeightedRoundRobin | LeastConnections | LeastLoaded | P2CPeakEwma | Adaptive
STRATEGIES = Registry("strategy", Strategy.__args__)
