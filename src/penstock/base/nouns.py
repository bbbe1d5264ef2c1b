"""The nouns of the field: a call, a replica, what an engine says of itself, what a call used, and how it ended.

All are frozen: they travel in facts and orders and are kept in the journal. None carries a prompt, a key, or a secret.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from penstock.base.contents import CacheState, Content

Engine = Literal["generic", "vllm", "sglang", "tgi", "triton", "llamacpp", "ollama"]
WITHOUT_STATS: Final[frozenset[Engine]] = frozenset({"generic"})
"""Engines that tell nothing of themselves, so that nobody asks them."""
Purchase = Literal["on_demand", "spot", "reserved"]
Priority = Literal["critical", "high", "normal", "low", "batch"]
PRIORITIES: Final[tuple[Priority, ...]] = ("critical", "high", "normal", "low", "batch")
Tier = Literal["free", "standard", "premium", "enterprise"]
Compatibility = Literal["native", "optimised", "compatible", "basic", "unsupported"]
"""How well a replica runs a model; `unsupported`: not at all."""


class Call(Struct, frozen=True, gc=False):
    """One request of a client, as far as decisions need it."""

    id: str
    """Ours, unique in this gateway."""
    model: str = ""
    """As the client named it; empty where the path needs none."""
    path: str = "/v1/chat/completions"
    host: str = ""
    tenant: str = "anonymous"
    key: str = ""
    """The key's *name*."""
    client_id: str = ""
    """The id that the client gave (`x-request-id`); empty: none. A second call with it is refused while one is in
    flight."""
    stream: bool = False
    repeatable: bool = True
    """Doing it twice does no harm (inference); other POSTs are repeated only when nothing was sent."""
    priority: int = 2
    """Index in PRIORITIES."""
    prompt_tokens: int = 0
    """Estimate."""
    max_tokens: int | None = None
    body_bytes: int = 0
    session: str = ""
    """What ties calls together (a session header or cookie); empty: nothing."""
    user: str = ""
    """The end user that the client names."""
    prefix: tuple[int, ...] = ()
    """Chained hashes of the prompt's leading blocks: equal hash, equal text up to and including that block."""
    prompt_bytes: int = 0
    """Length of the text that `prefix` was made of; 0: none was."""
    latency_s: float | None = None
    """How long the client can wait for the whole answer; None: it did not say."""
    tier: str = "standard"
    """The tenant's: free, standard, premium, enterprise."""
    choices: int = 1
    """Answers that it asks for (`n`), each of `max_tokens` at most."""
    region: str = ""
    """Where it comes from; empty: nobody said, or it does not matter."""
    content: Content | UnsetType = UNSET
    """Unset (and in no journal): there is no cache, or none for its path."""


class Region(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place where replicas and clients are [G1]."""

    latitude: Annotated[Annotated[float, Meta(ge=-90, le=90)] | None, Meta(description="degrees north")] = None
    longitude: Annotated[Annotated[float, Meta(ge=-180, le=180)] | None, Meta(description="degrees east")] = None
    cost: Annotated[float, Meta(gt=0, description="what replicas cost there: so many times their `hourly_cost`")] = 1.0
    capacity: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="calls of one pool that may be in flight there at once; none: as many as there are seats"),
    ] = None


class Replica(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine process that can serve calls [F1]. Secrets (its API key, headers, TLS) are kept outside, by id."""

    id: str
    url: str
    """http(s)://host:port, a base path allowed."""
    pool: str
    engine: Engine = "generic"
    models: dict[str, str] = field(default_factory=dict)
    """Served name -> the upstream's own name. Empty: whatever the engine lists."""
    max_concurrent_requests: int = 8
    """Its seats."""
    max_queue_size: int = 100
    """Calls that may wait at it (pinned ones and the engine's own) before it counts as overloaded."""
    weight: float = 1.0
    backup: bool = False
    """Gets traffic only while no primary replica can serve."""
    region: str = ""
    zone: str = ""
    hourly_cost: float = 0.0
    purchase: Purchase = "on_demand"
    gpus: tuple[str, ...] = ()
    compatibility: dict[str, Compatibility] = field(default_factory=dict)
    """Served name -> how well it runs here; what is not named is native."""
    drain: bool = False
    """Finish what it has, take nothing new."""
    version: str = ""
    """Its engine's, as the engine told; empty: not known."""
    max_model_len: int | None = None
    """Tokens that prompt and answer may have together, as the engine told."""


class EngineAbout(Struct, frozen=True, kw_only=True, gc=False):
    """What an engine says of itself once, when it is asked who it is [F4]."""

    engine: Engine
    version: str = ""
    max_model_len: int | None = None
    """Tokens that prompt and answer may have together; None: it did not say."""
    seats: int | None = None
    """Calls that it works on at once; None: it did not say."""


class Found(Struct, frozen=True, kw_only=True, gc=False):
    """Where a source of replicas saw one [F4]. How it is spoken to, the pool's configuration says."""

    host: str
    """A name or an address; IPv6 without brackets."""
    port: int
    weight: float = 1.0
    """Times the weight that the configuration gives."""
    backup: bool = False

    @property
    def address(self) -> str:
        """host:port, as it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


UnitState = Literal["starting", "running", "stopping", "ended"]
"""What an actuator sees of a replica: it has no address yet, it runs, it was told to end, it has ended."""


class Unit(Struct, frozen=True, kw_only=True, gc=False):
    """One replica that an actuator runs, or has run and was not yet told to forget [A7]."""

    id: str
    state: UnitState
    url: str = ""
    """Where it serves, or will; empty: there is no address yet, or none that calls could go to."""
    detail: str = ""
    """Why it ended."""
    purchase: Purchase = "on_demand"
    """As it was ordered."""


class EngineStats(Struct, frozen=True, kw_only=True, gc=False):
    """What an engine said of itself in one scrape; None: it did not say."""

    running: int | None = None
    waiting: int | None = None
    kv_usage: float | None = None
    """Share of the KV cache in use, 0..1."""
    prefix_queries: int | None = None
    """Tokens looked up in the prefix cache since the engine started."""
    prefix_hits: int | None = None
    kv_tokens: int | None = None
    """Tokens that its KV cache holds."""
    kv_block_tokens: int | None = None
    """Tokens of one block of it: less is never shared between prompts."""
    gpu_utilisation: float | None = None
    """0..1."""
    loaded: tuple[str, ...] | None = None
    """Models in its memory now, where it loads and unloads them by itself: any other model must be loaded first."""
    lora_slots: int | None = None
    """LoRA adapters that can be in one batch."""
    loras_running: tuple[str, ...] | None = None
    loras_waiting: tuple[str, ...] | None = None


class GpuReading(Struct, frozen=True, kw_only=True, gc=False):
    """What one look at one GPU saw [F6]; None: whoever was asked did not say."""

    index: int
    """Its number on its host."""
    uuid: str
    utilisation: float | None = None
    """Share of the last sampling period in which a kernel ran, 0..1."""
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None


class Usage(Struct, frozen=True, gc=False):
    """Tokens of one call as the engine counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


Hedge = Literal["", "won", "lost", "neither", "no_budget", "no_room"]
"""Of a call's hedge: none was due; its answer is what the client got; it was made and the other attempt's answer was;
it was made and neither's was; it was due with the budget spent; it was due and no other replica had room to spare."""


class CallRow(Struct, frozen=True, gc=False):
    """How one call ended: exactly one a call. Metrics, the access log and the ledger read it."""

    id: str
    client_id: str
    at: float
    """Arrival, on the pump's time axis."""
    tenant: str
    key: str
    model: str
    path: str
    pool: str
    replica: str
    """The replica of the last attempt; empty: none was tried."""
    outcome: str
    """"ok", or the label of a refusal."""
    status: int
    """HTTP status that the client got (or would have got)."""
    stream: bool
    priority: int
    attempts: int
    latency_s: float
    ttft_s: float | None
    """To the first content byte; None: there was none."""
    queue_s: float
    usage: Usage | None
    relayed_tokens: int
    """Stream events with content that reached the client: the fallback where the engine gave no usage."""
    hedge: Hedge = ""
    cached_estimate: int = 0
    """Tokens of the prompt that the replica was believed to have cached when the call was sent there."""
    cost: float = 0.0
    """What it costs its tenant by the price list; 0 where its model has no price."""
    billed: Usage | None = None
    """What it is charged where no engine told all of it: an estimate. None: the usage, or nothing."""
    cache: CacheState | UnsetType = UNSET
    """Unset (and in no journal): there is no cache, or none for its path."""
    user: str | UnsetType = UNSET
    """The end user that the client named, as a digest. Unset (and in no journal): it named none."""


class Rates(Struct, frozen=True, gc=False):
    """What a client is told of its limits: of those on requests and those on tokens, the one with least left; None
    where there is none. Calls in flight count with what they hold."""

    limit_requests: int | None
    remaining_requests: int | None
    reset_requests_s: float | None
    """Until all of the limit is there again, if it sends nothing more."""
    limit_tokens: int | None
    remaining_tokens: int | None
    reset_tokens_s: float | None


class GaugeView(Struct, frozen=True, kw_only=True):
    """One limit of an account, for people."""

    what: str
    """E.g. tokens per minute, budget per day."""
    limit: float
    used: float
    """In the window that ends now: settled, and held by calls in flight."""
    held: float
    """The part of it that calls in flight may give back."""
    left: float
    free_s: float
    """Until all of the limit is there again, if nothing more is used."""


class AccountView(Struct, frozen=True, kw_only=True):
    """What a tenant, a key, or everybody may use and has used, for people: admin API, metrics."""

    kind: str
    """tenant, key, everybody."""
    name: str
    model: str
    """The one model that these limits are for; empty: all."""
    in_flight: int
    waiting: int
    """Calls that wait until its limits let them pass; told of tenants."""
    concurrency: int | None
    limits: list[GaugeView]


class BenchmarkView(Struct, frozen=True, kw_only=True):
    """How the last benchmark of a replica went, for people."""

    state: Literal["running", "ok", "failed", "given_up"]
    """given_up: its seat was wanted by a call, or the replica went out of service; it may be begun anew."""
    ttft_s: float | None = None
    tokens_per_s: float | None = None
    age_s: float | None = None
    detail: str = ""
    """Why it failed."""


class ReplicaView(Struct, frozen=True, kw_only=True):
    """A replica's state for people: admin API, metrics."""

    id: str
    url: str
    pool: str
    engine: str
    models: list[str]
    state: str
    """provisioning, warming, healthy, busy, overloaded, unhealthy, draining, gone [F2]."""
    breaker: Literal["closed", "open", "half_open"]
    suspect: bool
    ejected: bool = False
    """Put out for a while because it did worse than the others."""
    in_flight: int
    seats: int
    load: float
    """F3."""
    ttft_ewma_s: float | None
    error_rate: float
    stats: EngineStats | None
    stats_age_s: float | None
    served: int
    failed: int
    pinned: int = 0
    """Calls that wait in the gateway for this replica and no other."""
    gpus: tuple[GpuReading, ...] | None = None
    """What was last read of its GPUs, while it is fresh."""
    version: str = ""
    """Its engine's, as the engine told."""
    max_model_len: int | None = None
    benchmark: BenchmarkView | None = None
    """None: there was none."""
    region: str = ""
    purchase: Purchase = "on_demand"


class PoolView(Struct, frozen=True, kw_only=True):
    """A pool's queue for people: admin API, metrics."""

    name: str
    strategy: str
    models: list[str]
    queued: int
    queued_bytes: int
    oldest_s: float
    queued_by_priority: dict[str, int]
    in_flight: int
    seats: int
    replicas: int
    healthy: int
    queued_by_tenant: dict[str, int] = field(default_factory=dict)
    """Of the twenty tenants with the most waiting."""
    fairness: float | None = None
    """Jain's index of the tokens that tenants were served in the last minute, by weight; None: nobody was served."""
    saturation: float = 0.0
    """Mean over usable replicas of max(waiting / limit, KV usage / limit)."""
    panic: bool = False
    """So few replicas are well that ill ones get calls too."""
    ejections: dict[str, int] = field(default_factory=dict)
    """Reason -> how often a replica was put out as an outlier."""


class SourceView(Struct, frozen=True, kw_only=True):
    """A source of replicas, for people: admin API, metrics."""

    pool: str
    source: str
    """Its kind and what it asks for."""
    found: list[str]
    """The addresses that are believed in now."""
    missing: dict[str, float]
    """Those among them that its last answer lacked -> for how many seconds."""
    looked_s: float | None
    """How long ago it was last asked; None: not yet."""
    good_s: float | None
    """How long ago it last gave an answer that could be used: the age of `found`."""
    error: str
    """Why the last look failed; empty: it did not."""
    looks: int
    failures: int
