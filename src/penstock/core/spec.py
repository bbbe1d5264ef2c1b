"""What the Gate is configured with: the specs of its parts, assembled by pool.

A part's own spec stands here rather than beside its code only where several parts read it; the strategies' specs stand
in `core.route.presets`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from penstock.base.units import Bytes, Fraction, Seconds
from penstock.core.cache.spec import CacheSpec
from penstock.core.limits.spec import LimitsSpec
from penstock.core.regions import RegionsSpec
from penstock.core.route.presets import Adaptive, Strategy


def _doc(text: str) -> Meta:
    return Meta(description=text)


Count = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Level = Annotated[float, Meta(ge=0)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class PriorityBounds(_Spec, frozen=True, kw_only=True):
    """Calls of one priority that may wait in a pool; none: no bound of its own [Q3]."""

    critical: Annotated[Count | None, _doc("critical calls")] = None
    high: Annotated[Count | None, _doc("high calls")] = None
    normal: Annotated[Count | None, _doc("normal calls")] = None
    low: Annotated[Count | None, _doc("low calls")] = None
    batch: Annotated[Count | None, _doc("batch calls")] = None


class ShedSpec(_Spec, frozen=True, kw_only=True):
    """Keeps low priorities away from engines that are near collapse [Q5]. A pool's saturation is the mean over its usable
    replicas of max(waiting / `waiting`, KV usage / `kv_usage`), as in llm-d's flow control; numbers that are stale or
    missing count as 0, so that an outage of metrics stops nobody. Critical calls are always let through."""

    mode: Annotated[Literal["off", "hold", "refuse"], _doc("hold: priorities above their ceiling wait; refuse: they get 429 with Retry-After; off: seats alone bound what engines get")] = "off"
    waiting: Annotated[Count, _doc("requests in an engine's own queue at which it is saturated")] = 5
    kv_usage: Annotated[float, Meta(gt=0, description="share of an engine's KV cache in use at which it is saturated")] = 0.8
    high: Annotated[Level, _doc("saturation from which high calls are kept away")] = 1.2
    normal: Annotated[Level, _doc("the same for normal calls")] = 1.0
    low: Annotated[Level, _doc("the same for low calls")] = 0.85
    batch: Annotated[Level, _doc("the same for batch calls")] = 0.7


class QueueSpec(_Spec, frozen=True, kw_only=True):
    """Where calls wait for a free seat [Q1, Q2, Q3, Q4, Q5, Q6]."""

    timeout_s: Annotated[Seconds, _doc("longest wait for a replica; then 504, and the request was never sent")] = field(default=30.0, name="timeout")
    order: Annotated[Literal["class", "score"], _doc("class: by priority, and fair between tenants; score: by tier + priority + urgency")] = "class"
    within: Annotated[Literal["fifo", "edf"], _doc("order of one tenant's calls of one priority: first come, or earliest deadline")] = "fifo"
    weights: Annotated[dict[str, Annotated[float, Meta(gt=0)]], _doc("tenant -> its weight where tenants compete; 1 where none is given")] = field(default_factory=dict)
    burst: Annotated[NotNegative, _doc("average calls that a tenant which used less than its share may have served before the others")] = 32
    max_share: Annotated[float, Meta(gt=0, le=1, description="share of a pool's seats that one tenant may hold while others have sent something of late (at least one seat); 1: no such limit. Below 1 seats may stay free while that tenant waits. No effect with order: score")] = 1.0
    reserve: Annotated[float, Meta(ge=0, lt=1, description="share of a pool's seats that stays free for others while a tenant that has had more than most holds half as many again as an equal share, and others have sent something in the last second; 0: none. No effect with order: score")] = 0.25
    reserve_cost: Annotated[float, Meta(ge=0, le=1, description="share of a pool's seats that a reserve may leave idle in the mean, over some twenty seconds, while somebody waits for them; then it rests; 1: no such bound")] = 0.02
    share_idle_s: Annotated[Seconds, _doc("with `max_share` below 1: once no other tenant has sent anything for so long, a tenant may hold all seats")] = field(default=5.0, name="share_idle")
    ageing_s: Annotated[Seconds, _doc("a priority (or score) that was passed over for so long gets every tenth seat until it moves; 0: never")] = field(default=5.0, name="ageing")
    max: Annotated[Count, _doc("calls that may wait in this pool; more get 429 with Retry-After at once")] = 10_000
    max_in_flight: Annotated[Count | None, _doc("calls in flight at all the pool's replicas together; more wait. None: as many as they have seats")] = None
    max_bytes: Annotated[Bytes, _doc("bytes of request bodies that may wait in this pool")] = 1 << 30
    max_per_tenant: Annotated[Count | None, _doc("calls of one tenant that may wait in this pool; none: no bound of its own")] = None
    max_per_priority: PriorityBounds = field(default_factory=PriorityBounds)
    unavailable_wait_s: Annotated[Seconds, _doc("how long a call waits while no replica of its model is usable at all; then 503 with Retry-After")] = field(default=10.0, name="unavailable_wait")
    waiting_room_s: Annotated[Seconds, _doc("the same while the pool has no replica at all: time to start one")] = field(default=60.0, name="waiting_room")
    shed: ShedSpec = field(default_factory=ShedSpec)


class TimeoutSpec(_Spec, frozen=True, kw_only=True):
    """How long an attempt may take, by stage [D1]."""

    connect_s: Annotated[Seconds, _doc("to open a connection to a replica")] = field(default=5.0, name="connect")
    first_byte_s: Annotated[Seconds, _doc("from sending the request to the first content byte")] = field(default=600.0, name="first_byte")
    idle_s: Annotated[Seconds, _doc("between two reads of an answer that has begun")] = field(default=120.0, name="idle")


class RetrySpec(_Spec, frozen=True, kw_only=True):
    """Second chances, only before the first content byte [H4]."""

    attempts: Annotated[Count, _doc("attempts in all, the first included; one that reached no engine is not counted, as long as there are no more of those than repetitions")] = 3
    backoff_s: Annotated[Seconds, _doc("pause before trying the same replica again; another replica is tried at once")] = field(default=1.0, name="backoff")
    factor: Annotated[float, Meta(ge=1, description="growth of the pause with each attempt")] = 1.5
    jitter: Annotated[Fraction, _doc("share of the pause that is random")] = 0.2
    budget: Annotated[Fraction, _doc("retries as a share of the requests of the last 10 s")] = 0.2
    budget_min_per_s: Annotated[float, Meta(ge=0, description="retries per second that are always allowed")] = 10.0


class HedgeSpec(_Spec, frozen=True, kw_only=True):
    """A second attempt at another replica where the first is slow to begin; the first to begin wins, the other is
    cancelled [H5]. Only calls that may be repeated, only where another replica has a free seat and nobody waits."""

    delay_s: Annotated[Seconds | None, _doc("how long the first attempt is given; none: as long as 95 % of the pool's recent calls take to begin (not streamed: to end)")] = field(default=None, name="delay")
    min_delay_s: Annotated[Seconds, _doc("it is given so long at least, where `delay` is none")] = field(default=0.05, name="min_delay")
    budget: Annotated[Fraction, _doc("hedges as a share of the pool's requests")] = 0.05
    budget_min_per_s: Annotated[float, Meta(ge=0, description="hedges per second that are allowed beside that share")] = 0.0


class BatchingSpec(_Spec, frozen=True, kw_only=True):
    """Small requests that differ only in their input go to an engine as one, and its answer is split again [Q7]. A
    request waits for others only while one of its kind is out; a lone one goes at once. Only within a tenant, and only
    what is not streamed and has one input."""

    size: Annotated[int, Meta(ge=2, le=64, description="requests that go together at most; the engine must take so long a list")] = 8
    wait_s: Annotated[Seconds, _doc("how long a request may wait for others")] = field(default=0.05, name="wait")
    max_bytes: Annotated[Bytes, _doc("larger requests go alone")] = 4096
    models: Annotated[tuple[str, ...], _doc("served models whose requests may go together; empty: all of the pool")] = ()
    completions: Annotated[bool, _doc("true: /v1/completions as well, where the quick ones then wait for the slowest; false: /v1/embeddings alone")] = False


class BreakerSpec(_Spec, frozen=True, kw_only=True):
    """Failures seen in real traffic take a replica out [H2, H3]."""

    suspect_after: Annotated[Count, _doc("failures in a row after which a replica gets one call at a time")] = 3
    failures: Annotated[Count, _doc("failures in a row after which it gets none (open)")] = 5
    open_s: Annotated[Seconds, _doc("how long it stays open before calls are let through to try it (half-open)")] = field(default=30.0, name="open")
    half_open: Annotated[Count, _doc("calls let through at once while half-open")] = 1
    successes: Annotated[Count, _doc("successes that close it again")] = 3


class ProbeSpec(_Spec, frozen=True, kw_only=True):
    """Active health checks [H1]."""

    enabled: Annotated[bool, _doc("false: health is judged by traffic alone")] = True
    interval_s: Annotated[Seconds, _doc("between two probes of a replica")] = field(default=10.0, name="interval")
    timeout_s: Annotated[Seconds, _doc("for one probe")] = field(default=5.0, name="timeout")
    unhealthy_after: Annotated[Count, _doc("failed probes in a row that take a replica out")] = 3
    healthy_after: Annotated[Count, _doc("good probes in a row that bring it back (a new one needs a single one)")] = 2
    path: Annotated[str | None, _doc("path to ask; none: the engine's own (vllm: /health)")] = None
    port: Annotated[Port | None, _doc("port to ask; none: the replica's own")] = None
    status: Annotated[tuple[int, int] | None, _doc("lowest and highest status that count as good; none: the engine's habit")] = None
    body: Annotated[str | None, _doc("text that a good answer contains")] = None
    max_waiting: Annotated[NotNegative | None, _doc("a replica whose engine reports more waiting requests is not ready; none: never")] = 50


class PanicSpec(_Spec, frozen=True, kw_only=True):
    """What holds when most of a pool seems ill: then the judgement is more likely wrong than the pool [H2]. As Envoy's
    panic threshold, but an open breaker still counts."""

    below: Annotated[Fraction, _doc("share of a pool's replicas that are well below which ill ones get calls too; 0: never")] = 0.5


class SuccessRateSpec(_Spec, frozen=True, kw_only=True):
    """Takes out a replica that answers well less often than the others: below their mean - `deviations` x their standard
    deviation, as Envoy does, and by `gap` at least, so that a single failure among the flawless is none."""

    enabled: Annotated[bool, _doc("false: never")] = True
    deviations: Annotated[float, Meta(gt=0, description="standard deviations below the mean")] = 1.9
    gap: Annotated[Fraction, _doc("how far below the mean it must be at least; 0: Envoy's rule alone")] = 0.05
    replicas: Annotated[Count, _doc("replicas with enough requests that there must be, to compare")] = 5
    requests: Annotated[Count, _doc("requests in an interval that are enough")] = 100


class FailureShareSpec(_Spec, frozen=True, kw_only=True):
    """Takes out a replica that fails so large a share of its requests, whatever the others do."""

    enabled: Annotated[bool, _doc("false: never")] = True
    share: Annotated[float, Meta(gt=0, le=1, description="failed share of its requests")] = 0.85
    replicas: Annotated[Count, _doc("replicas with enough requests that there must be")] = 5
    requests: Annotated[Count, _doc("requests in an interval that are enough")] = 50


class LatencySpec(_Spec, frozen=True, kw_only=True):
    """Takes out a replica that has become slow while the others have not: one that is frozen or crawls, yet answers its
    probes. Each is compared with its own habit, never with faster ones. Only streamed answers are looked at. Off,
    because long prompts that all go to one replica look the same."""

    enabled: Annotated[bool, _doc("true: also by time to first token")] = False
    factor: Annotated[float, Meta(gt=1, description="a first token that takes so many times the replica's habit is slow")] = 5.0
    at_least_s: Annotated[Seconds, _doc("and none is slow that takes less than this")] = field(default=2.0, name="at_least")
    share: Annotated[float, Meta(gt=0, le=1, description="share of its calls that must be slow")] = 0.5
    others: Annotated[Fraction, _doc("share of the others' calls that may be slow; above, it is the load's fault")] = 0.1
    replicas: Annotated[Count, _doc("replicas with a habit that there must be")] = 3
    requests: Annotated[Count, _doc("streamed calls in an interval that are enough; those that still wait count")] = 5


class OutlierSpec(_Spec, frozen=True, kw_only=True):
    """Replicas are compared with each other, and the odd one is taken out for a while [H2]. A passing probe does not
    bring it back earlier."""

    enabled: Annotated[bool, _doc("false: nobody is compared")] = True
    interval_s: Annotated[Seconds, _doc("how often, and over what time; at least 1 s")] = field(default=10.0, name="interval")
    ejection_s: Annotated[Seconds, _doc("how long it is out: so long, times how often it was put out lately")] = field(default=30.0, name="ejection")
    ejection_max_s: Annotated[Seconds, _doc("and at most so long")] = field(default=300.0, name="ejection_max")
    max_ejected: Annotated[Fraction, _doc("share of the pool that may be out at once; one always may")] = 0.1
    success_rate: SuccessRateSpec = field(default_factory=SuccessRateSpec)
    failure_share: FailureShareSpec = field(default_factory=FailureShareSpec)
    latency: LatencySpec = field(default_factory=LatencySpec)


class ScrapeSpec(_Spec, frozen=True, kw_only=True):
    """Reading the engines' own numbers [F5]."""

    enabled: Annotated[bool, _doc("false: never read them")] = True
    interval_s: Annotated[Seconds, _doc("between two reads of a replica's metrics")] = field(default=2.0, name="interval")
    timeout_s: Annotated[Seconds, _doc("for one read")] = field(default=5.0, name="timeout")
    path: Annotated[str | None, _doc("path of the metrics page; none: the engine's own")] = None
    port: Annotated[Port | None, _doc("its port, e.g. 8002 for Triton's own server; none: the replica's")] = None
    stale_after_s: Annotated[Seconds, _doc("older numbers are not used")] = field(default=10.0, name="stale_after")
    gpus_stale_after_s: Annotated[Seconds, _doc("readings of GPUs that are older are not used")] = field(default=30.0, name="gpus_stale_after")


class StickySpec(_Spec, frozen=True, kw_only=True):
    """Calls of one session go to the replica that had its last one [R9]. At least one of the two must be set."""

    header: Annotated[str | None, _doc("request header that names the session, e.g. x-session-id")] = None
    cookie: Annotated[str | None, _doc("cookie that names the session; a client that sends neither is given one")] = None
    ttl_s: Annotated[Seconds, _doc("how long after its last call a session is remembered")] = field(default=600.0, name="ttl")
    pin: Annotated[bool, _doc("true: a call waits for its session's replica even beside another's free seat; false: that replica is preferred")] = False
    pin_wait_s: Annotated[Seconds, _doc("with `pin`, the longest wait for that replica; then any may serve the call, and the session moves")] = field(default=10.0, name="pin_wait")
    max_sessions: Annotated[Count, _doc("sessions that are remembered; beyond, the one that was silent for longest is forgotten")] = 100_000


class SlowStartSpec(_Spec, frozen=True, kw_only=True):
    """A replica that is new or has returned gets a growing share of the choices [R10]; it ends early where its prefix
    cache is as warm as the others'."""

    window_s: Annotated[Seconds, _doc("how long it takes; 0: no slow start")] = field(default=30.0, name="window")
    aggression: Annotated[float, Meta(gt=0, description="above 1 the share grows quickly at first, below 1 slowly")] = 1.0
    minimum: Annotated[Fraction, _doc("the share that it begins with")] = 0.1


class BenchmarkSpec(_Spec, frozen=True, kw_only=True):
    """A short benchmark of a replica that is new or has returned [F4]: routing knows its speed before the first call. It
    takes one seat that nobody waits for, gives it back when a call would have to wait, and counts only while no call has
    been measured there."""

    enabled: Annotated[bool, _doc("true: benchmark replicas that become usable and whose speed no call has shown")] = False
    prompt_tokens: Annotated[int, Meta(ge=1, le=100_000, description="length of its prompts, about; like your calls', because their time to first token is compared with it")] = 512
    output_tokens: Annotated[int, Meta(ge=2, le=10_000, description="length of its answers")] = 32
    repeats: Annotated[int, Meta(ge=1, le=20, description="requests, one after the other; the best counts, because an engine's first ones warm it up")] = 2
    answer_tokens: Annotated[Count, _doc("length of a usual answer: the time of a whole one is estimated from the measured speed")] = 256
    timeout_s: Annotated[Seconds, _doc("for all its requests together")] = field(default=30.0, name="timeout")


class PolicySpec(_Spec, frozen=True, kw_only=True):
    """What a pool does with the calls that come to it."""

    strategy: Annotated[Strategy, _doc("how a replica is chosen: a name, or {kind: name, …its settings}")] = field(default_factory=Adaptive)
    sticky: Annotated[StickySpec | None, _doc("sticky sessions, over any strategy; none: every call is balanced")] = None
    slow_start: SlowStartSpec = field(default_factory=SlowStartSpec)
    queue: QueueSpec = field(default_factory=QueueSpec)
    timeouts: TimeoutSpec = field(default_factory=TimeoutSpec)
    retries: RetrySpec = field(default_factory=RetrySpec)
    hedge: Annotated[HedgeSpec | None, _doc("second attempts where the first is slow to begin; none: never")] = None
    batching: Annotated[BatchingSpec | None, _doc("small requests go to an engine together; none: each goes alone")] = None
    breaker: BreakerSpec = field(default_factory=BreakerSpec)
    outliers: OutlierSpec = field(default_factory=OutlierSpec)
    panic: PanicSpec = field(default_factory=PanicSpec)
    probe: ProbeSpec = field(default_factory=ProbeSpec)
    scrape: ScrapeSpec = field(default_factory=ScrapeSpec)
    benchmark: BenchmarkSpec = field(default_factory=BenchmarkSpec)


class PoolSpec(PolicySpec, frozen=True, kw_only=True):
    """One pool: replicas that stand in for each other, and the policy over them."""

    name: str
    models: tuple[str, ...] = ()
    """Served names. Empty: whatever its replicas list."""
    regions: RegionsSpec | None = None
    """Where its replicas and callers are; None: nobody asks, and it costs nothing."""


class RouteRule(_Spec, frozen=True, kw_only=True):
    """Sends requests to a pool by their host or path [R7]; the first rule that matches holds."""

    pool: Annotated[str, _doc("the pool that takes them")]
    host: Annotated[str | None, _doc("exact host name (no port), or *.example.com; none: any")] = None
    path: Annotated[str | None, _doc("path prefix, e.g. /v1/embeddings; none: any")] = None
    model: Annotated[str | None, _doc("the model to use whatever the request names; none: the request's own")] = None


class ExplainSpec(_Spec, frozen=True, kw_only=True):
    """Why the last calls went where they went, for `penstock explain` [R10]."""

    calls: Annotated[NotNegative, _doc("so many of the last calls can be explained; 0: none, and it costs nothing")] = 10_000
    memory_bytes: Annotated[Bytes, _doc("bytes that they may take; beyond, the oldest are forgotten")] = field(default=32 << 20, name="memory")


class GateSpec(_Spec, frozen=True, kw_only=True):
    """Everything the Gate is configured with. Replicas come as facts (FleetSeen)."""

    pools: tuple[PoolSpec, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    """Name that clients use -> served name."""
    fallback: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Served name -> names to try in turn where it cannot be served."""
    splits: dict[str, dict[str, float]] = field(default_factory=dict)
    """Name that clients use -> name that it stands for -> weight: one of them is drawn for each call."""
    routes: tuple[RouteRule, ...] = ()
    max_waiting: int = 10_000
    """Calls that may wait in all pools together."""
    explain: ExplainSpec = field(default_factory=lambda: ExplainSpec(calls=0))
    limits: LimitsSpec | None = None
    """What tenants, keys and models may use; None: nobody is limited, and it costs nothing."""
    cache: CacheSpec | None = None
    """Which answers are given again; None: none, and it costs nothing."""
    shared_cache: bool = False
    """Gateways share answers: who asks for one may be told."""
    beside: bool = False
    """There are other workers: identical calls at the same time may have one answer with theirs."""
