"""What a configuration file may say (`File`) and what the bodies are built from (`Settings`).

Every field is documented by its annotation; `penstock check --schema` and the reference page are made from here. The
specs of the Gate's parts are not repeated: they stand in `core.spec`.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from penstock.adapters.actuators.deployment import KubernetesSpec as KubernetesScaleSpec
from penstock.adapters.actuators.dry_run import DryRunSpec
from penstock.adapters.actuators.process import ProcessSpec
from penstock.adapters.actuators.ray import RaySpec
from penstock.adapters.discovery.dns import DnsSpec
from penstock.adapters.discovery.kubernetes import KubernetesSpec
from penstock.adapters.discovery.static import StaticSpec
from penstock.adapters.stores.spec import LedgerSpec
from penstock.base.nouns import Compatibility, Priority, Purchase, Replica, Tier
from penstock.base.units import Bytes, Seconds
from penstock.config.sharing import CacheConf, SharedConf
from penstock.config.strict import Strict, doc
from penstock.core.limits.spec import AllowanceSpec, PriceSpec, ShapingSpec, TiersSpec
from penstock.core.regions import RegionsSpec
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.spot import SpotSpec
from penstock.core.spec import (
    BenchmarkSpec,
    BreakerSpec,
    Count,
    ExplainSpec,
    GateSpec,
    OutlierSpec,
    PanicSpec,
    PolicySpec,
    Port,
    ProbeSpec,
    QueueSpec,
    RetrySpec,
    RouteRule,
    ScrapeSpec,
    TimeoutSpec,
)


class KeyConf(Strict, frozen=True, kw_only=True):
    """One API key of a client."""

    name: Annotated[str, Meta(min_length=1, max_length=128, description="its name")]
    key: Annotated[str | None, doc("the key itself, hashed at load; prefer `hash`, ${VARIABLE} or file:/path")] = None
    hash: Annotated[str | None, doc("'sha256:' and the 64 hex digits of the key's SHA-256, as `penstock check` prints it")] = None
    priority_ceiling: Annotated[Priority, doc("highest priority that its calls get, whatever they ask for in x-penstock-priority")] = "critical"
    tenant: Annotated[str | None, doc("the tenant that it belongs to, one of `tenants`; none: a tenant of the key's own name")] = None
    tier: Annotated[Tier, doc("what its calls are worth where `queue.order` is score, and which of `tiers` limits them; a tenant of `tenants` has its own")] = "standard"
    limits: Annotated[AllowanceSpec | None, doc("what may be used with this key, beside what its tenant may use; keys of one name share it")] = None
    models: Annotated[tuple[str, ...] | None, doc("models that it may use, and names that stand for them in `aliases`; none given: all")] = None
    expires: Annotated[str | None, doc("from when on it is refused: 2027-03-31 (its end, UTC) or a time like 2027-03-31T18:00:00+01:00; none: never")] = None


class TenantConf(Strict, frozen=True, kw_only=True):
    """Who pays for the calls of some keys."""

    name: Annotated[str, Meta(min_length=1, max_length=128, description="its name")]
    tier: Annotated[Tier, doc("what its calls are worth where `queue.order` is score, and which of `tiers` limits them")] = "standard"
    limits: Annotated[AllowanceSpec | None, doc("its own limits, instead of its tier's")] = None


class TlsConf(Strict, frozen=True, kw_only=True):
    """TLS of the data port."""

    cert: Annotated[str, doc("file with the certificate chain, PEM")]
    key: Annotated[str, doc("file with the private key, PEM")]


EngineChoice = Literal["auto", "generic", "vllm", "sglang", "tgi", "triton", "llamacpp", "ollama"]


class UpstreamTlsConf(Strict, frozen=True, kw_only=True):
    """TLS towards an https:// replica."""

    ca: Annotated[str | None, doc("file with the CA certificates to trust; none: the system's")] = None
    verify: Annotated[bool, doc("false: accept any certificate")] = True
    server_name: Annotated[str | None, doc("name that its certificate must have; none: the URL's host, or the DNS name by which it was discovered")] = None


class GpuMetricsConf(Strict, frozen=True, kw_only=True):
    """Where to read a replica's GPUs, every 5 s [F6]: exactly one of the three. An agent may push them as well."""

    nvml: Annotated[bool, doc("ask the driver's library on this host; needs the extra `gpu`")] = False
    smi: Annotated[bool, doc("ask nvidia-smi on this host")] = False
    dcgm: Annotated[str | None, doc("http(s)://host:port/metrics of a DCGM exporter")] = None
    devices: Annotated[tuple[str, ...], doc("which GPUs are the replica's, by index (in quotes) or UUID; empty: all that are found")] = ()


class TemplateConf(Strict, frozen=True, kw_only=True):
    """What holds for every replica that a source finds: all that a replica may have but its address and name."""

    engine: Annotated[EngineChoice, doc("which engine it is: decides health path and metrics; auto: it is asked")] = "generic"
    models: Annotated[dict[str, str] | tuple[str, ...], doc("served names, or served name -> the upstream's own name; empty: whatever it lists")] = ()
    max_concurrent_requests: Annotated[Count | None, doc("its seats: calls in flight at once; none: what `engine: auto` is told, else 8")] = None
    max_queue_size: Annotated[Count, doc("calls waiting for it, pinned ones here and the engine's own queue, before it counts as overloaded and takes no more pinned ones")] = 100
    weight: Annotated[float, Meta(gt=0, description="share of traffic in weighted_round_robin and consistent_hash")] = 1.0
    backup: Annotated[bool, doc("gets traffic only while no primary replica can serve")] = False
    region: Annotated[str, doc("where it stands, e.g. eu-west")] = ""
    zone: Annotated[str, doc("where in its region")] = ""
    hourly_cost: Annotated[float, Meta(ge=0, description="money per hour")] = 0.0
    purchase: Annotated[Purchase, doc("how it is paid for")] = "on_demand"
    gpus: Annotated[tuple[str, ...], doc("its GPUs, e.g. [h100, h100]")] = ()
    compatibility: Annotated[dict[str, Compatibility], doc("served name -> how well it runs here; left out: native; unsupported: never sent here")] = field(default_factory=dict)
    gpu_metrics: Annotated[GpuMetricsConf | None, doc("where to read its GPUs, for gpu_aware and the admin API; none: nowhere")] = None
    api_key: Annotated[str | None, doc("key that the gateway shows to it, as a bearer token; write ${VARIABLE} or file:/path")] = None
    headers: Annotated[dict[str, str], doc("extra request headers; values may be ${VARIABLE} or file:/path")] = field(default_factory=dict)
    tls: Annotated[UpstreamTlsConf, doc("TLS towards it")] = field(default_factory=UpstreamTlsConf)
    metrics_path: Annotated[str | None, doc("path of its metrics; none: the pool's `scrape`, else the engine's own")] = None
    metrics_port: Annotated[Port | None, doc("port of its metrics; none: the pool's `scrape`, else its own")] = None


class ReplicaConf(TemplateConf, frozen=True, kw_only=True):
    """One replica of a pool [F1]."""

    url: Annotated[str, doc("http(s)://host:port, a base path allowed")]
    id: Annotated[str | None, doc("its name in metrics, logs and the admin API; none: host:port and base path")] = None


class DnsConf(DnsSpec, frozen=True, kw_only=True, tag="dns", tag_field="kind"):
    """A DNS name whose addresses are replicas [F4]."""

    scheme: Annotated[Literal["http", "https"], doc("how they are spoken to")] = "http"
    path: Annotated[str, doc("base path of their URLs")] = ""
    replica: TemplateConf = field(default_factory=TemplateConf)


class KubernetesConf(KubernetesSpec, frozen=True, kw_only=True, tag="kubernetes", tag_field="kind"):
    """A Kubernetes service whose ready endpoints are replicas [F4]."""

    scheme: Annotated[Literal["http", "https"], doc("how they are spoken to")] = "http"
    path: Annotated[str, doc("base path of their URLs")] = ""
    replica: TemplateConf = field(default_factory=TemplateConf)


class StaticConf(StaticSpec, frozen=True, kw_only=True, tag="static", tag_field="kind"):
    """Addresses that share one description: shorter than as many `replicas`."""

    scheme: Annotated[Literal["http", "https"], doc("how they are spoken to")] = "http"
    path: Annotated[str, doc("base path of their URLs")] = ""
    replica: TemplateConf = field(default_factory=TemplateConf)


SourceConf = DnsConf | KubernetesConf | StaticConf

ActuatorConf = ProcessSpec | KubernetesScaleSpec | RaySpec | DryRunSpec


class NoticesConf(Strict, frozen=True, kw_only=True):
    """Where a provider's notices are looked for, that spot replicas are taken back [A6]. The admin API takes them as well."""

    file: Annotated[str | None, doc("file with a notice a line: the replica's name, or * for all that are spot, and the time if it is known, like 2026-11-25T17:00:00Z")] = None
    metadata: Annotated[str | None, doc("URL of the machine's own spot/instance-action, as AWS has it: it is about all of the pool's spot replicas; 404: there is none")] = None
    token: Annotated[str | None, doc("URL where a token for it is asked for first (IMDSv2); none: it needs none")] = None
    every_s: Annotated[Seconds, doc("how often; at least every second")] = field(default=5.0, name="every")


class SpotConf(SpotSpec, frozen=True, kw_only=True):
    """Spot replicas beside a base on demand. A provider that takes one back says so: it drains within that notice, and
    another is ordered at once. Where spot cannot be had, on-demand replicas stand in until it can again."""

    notices: Annotated[NoticesConf | None, doc("where notices are looked for; none: only the admin API takes them")] = None


class ScaleConf(ScaleSpec, frozen=True, kw_only=True):
    """The pool starts and stops replicas by itself, beside those that are listed or found [A1, A2, A5, A7]."""

    spot: Annotated[SpotConf | None, doc("how many of them are spot; none: none is")] = None

    actuator: Annotated[ActuatorConf, doc("who starts and stops them: {kind: process, command: …}, {kind: kubernetes, deployment: …}, {kind: ray, command: …}, or {kind: dry_run}, which only shows what it would do")]
    replica: TemplateConf = field(default_factory=TemplateConf)


class PoolConf(PolicySpec, frozen=True, kw_only=True):
    """A pool of replicas. Blocks that are left out, and fields left out in a block, are the gateway's own."""

    name: Annotated[str, Meta(min_length=1, max_length=128, description="its name")]
    models: Annotated[tuple[str, ...], doc("served names; empty: whatever its replicas list")] = ()
    replicas: Annotated[tuple[ReplicaConf, ...], doc("its replicas")] = ()
    discover: Annotated[tuple[SourceConf, ...], doc("where more of them are found at run time: {kind: dns, name: …}, {kind: kubernetes, service: …} and the like")] = ()
    scale: Annotated[ScaleConf | None, doc("how many more it starts and stops by itself; none: it does not")] = None


class GatewayTimeouts(TimeoutSpec, frozen=True, kw_only=True):
    """How long anything may take. The first three may be set per pool."""

    request_head_s: Annotated[Seconds, doc("for a client to send a request's head")] = field(default=10.0, name="request_head")
    request_body_s: Annotated[Seconds, doc("between two reads of a request's body")] = field(default=60.0, name="request_body")
    keep_alive_s: Annotated[Seconds, doc("how long an idle client connection is kept")] = field(default=75.0, name="keep_alive")
    send_s: Annotated[Seconds, doc("how long a client may read nothing of an answer that waits for it")] = field(default=120.0, name="send")
    drain_s: Annotated[Seconds, doc("how long a stopping gateway lets answers finish")] = field(default=30.0, name="drain")


class LimitSpec(Strict, frozen=True, kw_only=True):
    """Bounds on what clients can make the gateway hold."""

    head_bytes: Annotated[Bytes, doc("a request's head")] = field(default=64 << 10, name="head")
    headers: Annotated[Count, doc("headers of a request")] = 100
    body_bytes: Annotated[Bytes, doc("a request's body")] = field(default=32 << 20, name="body")
    buffered_bytes: Annotated[Bytes, doc("request bodies held at once, all together; more get 503")] = field(default=1 << 30, name="buffered")
    per_client: Annotated[Count | None, doc("calls a second of one client, after as many at once; more get 429. A client is a key, or without keys an address (of IPv6 its /64), also one that `trusted_proxies` tell; none: no limit")] = None
    connections: Annotated[Count, doc("client connections at once; more get 503")] = 20_000
    backlog: Annotated[Count, doc("connections that the kernel may hold before they are accepted")] = 16_384


class UpstreamSpec(Strict, frozen=True, kw_only=True):
    """Connections to replicas: how they are kept for reuse, and their bounds [H3]."""

    idle: Annotated[Count, doc("in all")] = 100
    idle_per_replica: Annotated[Count, doc("to one replica")] = 20
    keep_alive_s: Annotated[Seconds, doc("how long an idle one is kept")] = field(default=30.0, name="keep_alive")
    lost_after_s: Annotated[Seconds, doc("a connection whose other side acknowledges nothing for so long is given up, as where a region is cut off (TCP keep-alive; Linux); 0: as the system does")] = field(default=10.0, name="lost_after")
    requests_per_connection: Annotated[Count | None, doc("requests after which a connection is closed and made anew; none: never")] = None
    pending_per_replica: Annotated[Count, doc("requests that may wait for a connection to one replica to open; more go to another replica")] = 1024


class CompressionSpec(Strict, frozen=True, kw_only=True):
    """Whole answers go in gzip to clients that take it [D5]: texts and JSON, never streams, and nothing that is compressed
    already or that a header of the engine vouches for (`etag`, digests, `no-transform`)."""

    min_bytes: Annotated[Bytes, doc("smaller answers go as they are: compressing costs more than it saves")] = field(default=16 << 10, name="min")
    max_bytes: Annotated[Bytes, doc("and so do larger ones: meanwhile everybody waits. Above 256KiB answers are not held back, so hardly any is whole")] = field(default=256 << 10, name="max")
    level: Annotated[int, Meta(ge=1, le=9, description="1: quick, 9: small")] = 1


class LogSpec(Strict, frozen=True, kw_only=True):
    """Structured logs on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], doc("lowest level that is written")] = "info"
    format: Annotated[Literal["json", "text"], doc("one JSON object a line, or text for people")] = "json"
    access: Annotated[bool, doc("one line per call")] = False
    slow_s: Annotated[Seconds, doc("calls that take longer are logged even where access is off; 0: never")] = field(default=0.0, name="slow")


class File(Strict, frozen=True, kw_only=True):
    """A whole configuration file."""

    listen: Annotated[str, doc("host:port of the data port")] = "127.0.0.1:8080"
    admin: Annotated[str | None, doc("host:port of the admin API; none: no admin API")] = "127.0.0.1:9090"
    metrics: Annotated[str | None, doc("host:port of Prometheus metrics, open, so that it can be scraped in a cluster; none: only at the admin API")] = None
    workers: Annotated[Annotated[int, Meta(ge=1, le=64)] | Literal["auto"], doc("processes that serve, each on a core of its own, under one parent that looks at replicas, scales and has the admin API; auto: as many as there are CPU cores. 1: one process does everything")] = 1
    auth: Annotated[Literal["keys", "none"] | None, doc("none: an open gateway even beyond loopback; left out: keys where there are any")] = None
    admin_key: Annotated[str | None, doc("key that the admin API asks for (plain, ${VARIABLE}, file:/path or 'sha256:…'); must be set for an admin address beyond loopback")] = None
    keys: Annotated[tuple[KeyConf, ...], doc("API keys of clients; neither these nor a `keys_file`: an open gateway, on loopback only")] = ()
    keys_file: Annotated[str | None, doc("file with further keys, which `penstock keys` makes, rotates and revokes: hashes and settings, JSON. A relative path is seen from this file's folder; none: there is none")] = None
    tenants: Annotated[tuple[TenantConf, ...], doc("tenants with several keys, or with limits of their own")] = ()
    tiers: Annotated[TiersSpec | None, doc("limits by tier; none: no tier is limited")] = None
    everybody: Annotated[AllowanceSpec | None, doc("what all tenants together may use; none: no limit")] = None
    shared_limits: Annotated[SharedConf | None, doc("how limits hold for several gateways together; none: each gateway has its own")] = None
    shaping: Annotated[ShapingSpec | None, doc("smooths bursts, by model and priority; none: not at all")] = None
    prices: Annotated[dict[str, PriceSpec], doc("served model -> what its tokens cost")] = field(default_factory=dict)
    unknown_price: Annotated[Literal["refuse", "free"] | None, doc("what becomes of calls to models without a price where a budget applies; must be said once there is a budget")] = None
    default_max_tokens: Annotated[Count, doc("longest answer, in tokens, where a request does not say and a limit on tokens or money applies; at most a quarter of the least such limit on tokens")] = 1024
    tls: Annotated[TlsConf | None, doc("serve HTTPS on the data port")] = None
    trusted_proxies: Annotated[tuple[str, ...], doc("addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed")] = ()
    limits: LimitSpec = field(default_factory=LimitSpec)
    upstream: UpstreamSpec = field(default_factory=UpstreamSpec)
    compression: Annotated[CompressionSpec | None, doc("whole answers are compressed for clients that take it; null: never")] = field(default_factory=CompressionSpec)
    log: LogSpec = field(default_factory=LogSpec)
    journal: Annotated[str | None, doc("file that every decision is appended to, without prompts or keys; none: only the last ones in memory")] = None
    ledger: Annotated[LedgerSpec | None, doc("where every call is written down; none: nowhere")] = None
    cache: Annotated[CacheConf | None, doc("answers that are given again; none: none is, and it costs nothing")] = None
    queue: QueueSpec = field(default_factory=QueueSpec)
    max_waiting: Annotated[Count, doc("calls that may wait in all pools together")] = 10_000
    explain: ExplainSpec = field(default_factory=ExplainSpec)
    timeouts: GatewayTimeouts = field(default_factory=GatewayTimeouts)
    retries: RetrySpec = field(default_factory=RetrySpec)
    breaker: BreakerSpec = field(default_factory=BreakerSpec)
    outliers: OutlierSpec = field(default_factory=OutlierSpec)
    panic: PanicSpec = field(default_factory=PanicSpec)
    probe: ProbeSpec = field(default_factory=ProbeSpec)
    scrape: ScrapeSpec = field(default_factory=ScrapeSpec)
    benchmark: BenchmarkSpec = field(default_factory=BenchmarkSpec)
    regions: Annotated[RegionsSpec | None, doc("where replicas and clients are, for the strategy regional; none: it does not matter")] = None
    pools: Annotated[tuple[PoolConf, ...], doc("the pools; at least one")] = ()
    aliases: Annotated[dict[str, str], doc("name that clients use -> served name")] = field(default_factory=dict)
    fallback: Annotated[dict[str, tuple[str, ...]], doc("served name -> names to try in turn where it cannot be served")] = field(default_factory=dict)
    splits: Annotated[dict[str, dict[str, Annotated[float, Meta(gt=0)]]], doc("name that clients use -> served name -> weight: one of them is drawn for each call, the same for all calls of a session or user (canary, A/B)")] = field(default_factory=dict)
    routes: Annotated[tuple[RouteRule, ...], doc("rules by host and path; the first that matches holds")] = ()


class Access(Strict, frozen=True, kw_only=True):
    """What a replica must be shown: kept outside of `Replica`, so that it never reaches a journal or a log."""

    api_key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    tls: UpstreamTlsConf = field(default_factory=UpstreamTlsConf)
    gpu_metrics: GpuMetricsConf | None = None
    """Where this gateway reads its GPUs: no secret, but the gateway's business alone, like the rest here."""
    metrics_path: str | None = None
    metrics_port: int | None = None
    asks_engine: bool = False
    """`engine: auto`: which engine it is, is asked of itself."""
    asks_seats: bool = False
    """Its seats were not written: what such an engine tells holds."""

    def __repr__(self) -> str:
        return "Access(…)"


class Discovered(Strict, frozen=True, kw_only=True):
    """One source of a pool's replicas, and what each replica that it finds is like."""

    pool: str
    spec: SourceConf
    template: Replica
    """Its id and URL stand for nothing."""
    access: Access


class ScaledPool(Strict, frozen=True, kw_only=True):
    """One pool that scales itself, and what each replica that it runs is like."""

    pool: str
    spec: ScaleConf
    template: Replica
    """Its id and URL stand for nothing."""
    access: Access


class KeyTerms(Strict, frozen=True, kw_only=True):
    """What goes with a key beside its name."""

    ceiling: Priority = "critical"
    tier: Tier = "standard"
    tenant: str = ""
    """Empty: the key's own name."""
    most_tokens: int | None = None
    """Tokens that an answer may have where the request does not say; None: no limit asks for it."""
    models: tuple[str, ...] | None = None
    """Names that its calls may ask for; None: all."""
    expires_at: float | None = None
    """When it is refused from then on, in seconds since 1970; None: never."""


class ServerSpec(Strict, frozen=True, kw_only=True):
    """The gateway's body: sockets, limits, keys. Addresses and TLS files hold until a restart; the rest reloads."""

    listen: tuple[str, int] = ("127.0.0.1", 8080)
    admin: tuple[str, int] | None = ("127.0.0.1", 9090)
    metrics: tuple[str, int] | None = None
    admin_key_hash: str | None = None
    """SHA-256, hex."""
    key_names: dict[str, str] = field(default_factory=dict)
    """SHA-256 of a key, hex -> the key's name."""
    key_terms: dict[str, KeyTerms] = field(default_factory=dict)
    """SHA-256 of a key, hex -> its terms, where they are not the usual ones."""
    keys_file: str | None = None
    stored_keys: tuple[str, ...] | None = None
    """SHA-256, hex, of those keys that the keys file holds; None: there is no such file."""
    open: bool = True
    """No key is asked for."""
    most_tokens: int | None = None
    """As the key's, for calls without a key."""
    tls: TlsConf | None = None
    trusted_proxies: tuple[str, ...] = ()
    session_headers: tuple[str, ...] = ()
    """Request headers, in lower case, that name a session for some pool; the first that a request has holds."""
    session_cookies: tuple[str, ...] = ()
    regions: RegionsSpec | None = None
    """By which a call's region is told; None: nobody asks."""
    limits: LimitSpec = field(default_factory=LimitSpec)
    timeouts: GatewayTimeouts = field(default_factory=GatewayTimeouts)
    upstream: UpstreamSpec = field(default_factory=UpstreamSpec)
    compression: CompressionSpec | None = field(default_factory=CompressionSpec)
    log: LogSpec = field(default_factory=LogSpec)
    journal: str | None = None
    ledger: LedgerSpec | None = None
    workers: int = 1
    lease_store: str | None = None
    """URL of the store of shared limits; None: each process has its own."""
    shared_cache: str | None = None
    """URL of the store of the cache; None: there is none."""


class Settings(Strict, frozen=True, kw_only=True):
    """A checked configuration, ready to build from."""

    server: ServerSpec = field(default_factory=ServerSpec)
    gate: GateSpec = field(default_factory=GateSpec)
    replicas: tuple[Replica, ...] = ()
    access: dict[str, Access] = field(default_factory=dict)
    """By replica id."""
    sources: tuple[Discovered, ...] = ()
    """Where more replicas are found at run time."""
    scaled: tuple[ScaledPool, ...] = ()
    """Pools that start and stop replicas by themselves."""
    warnings: tuple[str, ...] = ()
    """What is allowed but unwise, for people."""
    read_at_s: float = 0.0
    """When its file was begun to be read, in seconds since 1970; 0: it comes from no file."""
