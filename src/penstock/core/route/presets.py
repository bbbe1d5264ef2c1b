"""The named strategies: each a spec that expands into filters, weighted scorers and a picker [R1, R4]."""

from typing import Annotated

from msgspec import Meta, Struct, field

from penstock.base.nouns import Priority
from penstock.base.registry import Registry
from penstock.base.units import Bytes, Fraction, Seconds


class _Strategy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


Weight = Annotated[float, Meta(ge=0)]
Celsius = Annotated[float, Meta(ge=0, le=150)]


class RoundRobin(_Strategy, frozen=True, kw_only=True, tag="round_robin"):
    """Each replica in turn, whatever it is doing."""


class Random(_Strategy, frozen=True, kw_only=True, tag="random"):
    """Any replica with a free seat, all alike, by lot: the yardstick that others must beat."""


class WeightedRoundRobin(_Strategy, frozen=True, kw_only=True, tag="weighted_round_robin"):
    """Smooth weighted turns: a replica of weight 2 gets twice the calls, evenly interleaved."""


class LeastConnections(_Strategy, frozen=True, kw_only=True, tag="least_connections"):
    """The replica with the fewest calls in flight; ties: the lowest id."""


class LeastLoaded(_Strategy, frozen=True, kw_only=True, tag="least_loaded"):
    """The lowest load score: 0.7 x in flight / seats + 0.3 x queued / queue size."""


class LeastResponseTime(_Strategy, frozen=True, kw_only=True, tag="least_response_time"):
    """The lowest mean response time x (in flight + 1): TTFT of streamed calls, whole answers of others. A replica that
    was not measured yet counts as the quickest of those that were."""


class P2CPeakEwma(_Strategy, frozen=True, kw_only=True, tag="p2c_peak_ewma"):
    """Of two random replicas the one with the lower peak-EWMA of TTFT x (in flight + 1)."""

    decay_s: Annotated[Seconds, Meta(description="time in which an old peak fades to 1/e")] = 10.0


class _Prefixed(_Strategy, frozen=True, kw_only=True):
    """What strategies that know prefix caches have in common."""

    load_factor: Annotated[float, Meta(ge=1, description="a replica with more than this multiple of the mean load gets no call for the sake of its prefix cache")] = 1.25
    kv_tokens: Annotated[int, Meta(ge=1, description="tokens that a replica's KV cache holds, where its engine does not tell")] = 200_000
    max_blocks: Annotated[int, Meta(ge=1, description="blocks of prompts that are remembered of a replica (some 200 bytes each); of all replicas of a pool at most 500,000")] = 8192
    max_overtaken: Annotated[int, Meta(ge=0, description="while calls wait, one may be served before earlier ones of its tenant and priority, where the beginning of its prompt is cached at the free replica and that of theirs is not; no call is overtaken more often than this. 0: strictly in turn. No effect with `within: edf` or `order: score` of the queue")] = 8


class Adaptive(_Prefixed, frozen=True, kw_only=True, tag="adaptive"):
    """Weighs load, latency, errors and GPU of each replica, and what of the prompt is in its prefix cache."""

    load: Annotated[Weight, Meta(description="weight of the load score")] = 0.3
    latency: Annotated[Weight, Meta(description="weight of the latency score")] = 0.3
    errors: Annotated[Weight, Meta(description="weight of the error score")] = 0.2
    gpu: Annotated[Weight, Meta(description="weight of GPU (else KV cache) usage")] = 0.2
    latency_reference_s: Annotated[Seconds, Meta(description="mean TTFT that scores one half")] = 1.0
    affinity: Annotated[Weight, Meta(description="weight of having the model or LoRA adapter in memory; costs nothing until an engine tells what it has")] = 0.2
    prefix: Annotated[Weight, Meta(description="weight of the share of the prompt that is in its prefix cache already; 0: prompts are not looked at")] = 0.3


class AdaptiveClassic(_Strategy, frozen=True, kw_only=True, tag="adaptive_classic"):
    """The four plain weights of adaptive, and nothing else: no prefix, no affinity."""

    load: Annotated[Weight, Meta(description="weight of the load score")] = 0.3
    latency: Annotated[Weight, Meta(description="weight of the latency score")] = 0.3
    errors: Annotated[Weight, Meta(description="weight of the error score")] = 0.2
    gpu: Annotated[Weight, Meta(description="weight of GPU (else KV cache) usage")] = 0.2
    latency_reference_s: Annotated[Seconds, Meta(description="mean TTFT that scores one half")] = 1.0


class PrefixAware(_Prefixed, frozen=True, kw_only=True, tag="prefix_aware"):
    """The replica with the longest part of the prompt in its prefix cache, weighed against load: a hot prefix spreads,
    and prompts that begin like no other go to the least loaded."""

    load: Annotated[Weight, Meta(description="weight of the load score")] = 1.0
    prefix: Annotated[Weight, Meta(description="weight of the share of the prompt that is in its prefix cache already")] = 1.0
    affinity: Annotated[Weight, Meta(description="weight of having the model or LoRA adapter in memory; costs nothing until an engine tells what it has")] = 0.5


class ConsistentHash(_Strategy, frozen=True, kw_only=True, tag="consistent_hash"):
    """Calls of one key go to one replica while its load allows: the key is the session, else the user, else the
    beginning of the prompt; without any, least_connections."""

    header: Annotated[str | None, Meta(description="request header that names the session")] = "x-session-id"
    cookie: Annotated[str | None, Meta(description="cookie that names the session, where the header does not")] = None
    prefix_blocks: Annotated[int, Meta(ge=0, description="leading blocks of the prompt that make the key where neither session nor user is named; 0: none")] = 4
    virtual_nodes: Annotated[int, Meta(ge=1, le=1000, description="points of a replica of weight 1 on the ring")] = 150
    load_factor: Annotated[float, Meta(ge=1, description="a replica with more than this multiple of the mean load passes its keys on")] = 1.25
    pin: Annotated[bool, Meta(description="true: a call waits for its key's replica, whatever the load, even beside another's free seat")] = False
    pin_wait_s: Annotated[Seconds, Meta(description="with `pin`, the longest wait for that replica; then any may serve the call")] = field(default=10.0, name="pin_wait")


class GpuAware(_Strategy, frozen=True, kw_only=True, tag="gpu_aware"):
    """The coolest, least used GPUs with the most free memory; replicas beyond a limit are left out, and when all are,
    the least loaded. Needs `gpu_metrics` of the replicas, or engines that tell."""

    utilisation: Annotated[Weight, Meta(description="weight of GPU utilisation")] = 0.4
    memory: Annotated[Weight, Meta(description="weight of GPU memory (of the KV cache, where the engine tells it)")] = 0.4
    temperature: Annotated[Weight, Meta(description="weight of the temperature")] = 0.2
    fit: Annotated[Weight, Meta(description="weight of how well the call's memory fits: best where it takes 60 % of what is free")] = 0.0
    target_utilisation: Annotated[Fraction, Meta(description="utilisation that is aimed at")] = 0.8
    headroom: Annotated[Fraction, Meta(description="utilisation above the target at which a replica is left out")] = 0.05
    max_memory: Annotated[Fraction, Meta(description="share of memory in use above which a replica is left out")] = 0.9
    warm_c: Annotated[Celsius, Meta(description="degrees Celsius from which the score falls")] = 70.0
    max_c: Annotated[Celsius, Meta(description="degrees Celsius above which a replica is left out")] = 80.0
    limit_c: Annotated[Celsius, Meta(description="degrees Celsius above which it is left out even when all are, while any is cooler; the score is 0 here")] = 83.0
    best_fit: Annotated[Fraction, Meta(description="share of the free memory that a call should take")] = 0.6
    kv_bytes_per_token: Annotated[dict[str, Bytes], Meta(description="served name -> bytes of KV cache per token; else a call is taken to need 2,000 MB + 0.5 MB a token")] = field(default_factory=dict)


class ResourceBased(_Strategy, frozen=True, kw_only=True, tag="resource_based"):
    """For fleets of unlike replicas: how well each runs the model, whether it is quick enough, its load, its
    reliability, its price. Needs `compatibility` and `hourly_cost` of the replicas."""

    compatibility: Annotated[Weight, Meta(description="weight of how well it runs the model")] = 0.3
    performance: Annotated[Weight, Meta(description="weight of its mean time to a whole answer against what the call can wait")] = 0.25
    load: Annotated[Weight, Meta(description="weight of its load: best up to 70 %, then steeply worse")] = 0.2
    reliability: Annotated[Weight, Meta(description="weight of the share of calls that it did not fail")] = 0.15
    cost: Annotated[Weight, Meta(description="weight of its price an hour: the cheapest is best")] = 0.1
    latency_s: Annotated[Seconds, Meta(description="how long a call can wait for its whole answer, where it does not say")] = field(default=30.0, name="latency")


class Regional(_Strategy, frozen=True, kw_only=True, tag="regional"):
    """Across regions: the replica with the least sum of the way there and back, its load, and its time to begin. Needs
    `regions`."""

    utilisation_ms: Annotated[Weight, Meta(description="what each % of its seats that is taken counts, in ms")] = 2.0
    cheap_from: Annotated[Priority | None, Meta(description="calls of this priority and lower ones also weigh what a replica costs; none: no call does")] = "low"
    cost_ms: Annotated[Weight, Meta(description="what each % by which a replica is dearer than the cheapest counts for them, in ms")] = 2.0


class RegionalClassic(_Strategy, frozen=True, kw_only=True, tag="regional_classic"):
    """Across regions by points: (100 - ms of the way there and back) + (50 - % of its seats that is taken) + 50, or -100
    where its engine tells that it would have to load the model, + a term for its price. Needs `regions`."""

    cost: Annotated[Weight, Meta(description="points that the cheapest replica gets; one twice as dear gets half of them")] = 20.0


Strategy = (
    RoundRobin | Random | WeightedRoundRobin | LeastConnections | LeastLoaded | LeastResponseTime | P2CPeakEwma | Adaptive
    | AdaptiveClassic | PrefixAware | ConsistentHash | GpuAware | ResourceBased | Regional | RegionalClassic
)  # fmt: skip
STRATEGIES = Registry("strategy", Strategy.__args__)


def reads_prefix(strategy: Strategy) -> bool:
    """Whether it wants to know how a call's prompt begins."""
    if isinstance(strategy, ConsistentHash):
        return strategy.prefix_blocks > 0
    return isinstance(strategy, _Prefixed) and strategy.prefix > 0
