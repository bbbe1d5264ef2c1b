"""Replicas and pools from what the file says of them: ids, URLs, what a replica must be shown."""

import re

import msgspec
from msgspec.structs import replace

from penstock.adapters.discovery.registry import describe
from penstock.base.nouns import Engine, Replica
from penstock.base.units import show_seconds
from penstock.config.addresses import Base, parse_url
from penstock.config.keys import ReadFile, reveal, why
from penstock.config.mistakes import Mistakes, Path
from penstock.config.scaling import check_scale
from penstock.config.schema import (
    Access,
    Discovered,
    DnsConf,
    File,
    PoolConf,
    ReplicaConf,
    ScaleConf,
    ScaledPool,
    SourceConf,
    TemplateConf,
)
from penstock.config.sources import check_source, is_path
from penstock.core.regions import RegionsSpec
from penstock.core.route.presets import ConsistentHash
from penstock.core.spec import PolicySpec, PoolSpec, StickySpec

SEATS = 8
"""Of a replica whose seats nobody has told."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff]*")
_OURS = frozenset({
    "host", "connection", "content-length", "transfer-encoding", "keep-alive", "te", "trailer", "upgrade", "expect",
    "proxy-connection", "accept-encoding",
})  # fmt: skip
"""Headers that frame a message: the gateway writes them, or it would lose count of the bytes."""


class Fleet:
    """What was assembled, by replica id."""

    def __init__(self) -> None:
        self.replicas: dict[str, Replica] = {}
        self.access: dict[str, Access] = {}
        self.sources: list[Discovered] = []
        self.scaled: list[ScaledPool] = []
        self.warnings: list[str] = []


def assemble(file: File, mistakes: Mistakes, read_file: ReadFile) -> Fleet:
    """All replicas of all pools."""
    fleet = Fleet()
    for at, pool in enumerate(file.pools):
        for index, conf in enumerate(pool.replicas):
            add_replica(conf, pool, ("pools", at, "replicas", index), fleet, mistakes, read_file)
        for index, source in enumerate(pool.discover):
            _add_source(source, pool, ("pools", at, "discover", index), fleet, mistakes, read_file)
        if pool.scale is not None:
            _add_scale(pool.scale, pool, ("pools", at, "scale"), fleet, mistakes, read_file)
    return fleet


def _add_source(
    conf: SourceConf, pool: PoolConf, path: Path, fleet: Fleet, mistakes: Mistakes, read_file: ReadFile
) -> None:
    """One source of a pool, with the description of the replicas that it will find."""
    if mistakes.is_broken(path):
        return
    check_source(conf, path, mistakes)
    name = describe(conf)
    if any(other.pool == pool.name and describe(other.spec) == name for other in fleet.sources):
        mistakes.say(path, f"the pool asks for {name} already")
    alone = _described(conf.replica, f"{conf.scheme}://discovered:1", name, pool, path, mistakes, read_file)
    fleet.warnings += alone.warnings
    if not alone.replicas:
        return
    access = alone.access[name]
    if conf.scheme == "https" and isinstance(conf, DnsConf) and conf.type != "srv" and access.tls.server_name is None:
        # its URL has an address, and certificates are made out to names
        access = replace(access, tls=replace(access.tls, server_name=conf.name.rstrip(".")))
    fleet.sources.append(Discovered(pool=pool.name, spec=conf, template=alone.replicas[name], access=access))


def _add_scale(
    conf: ScaleConf, pool: PoolConf, path: Path, fleet: Fleet, mistakes: Mistakes, read_file: ReadFile
) -> None:
    """A pool that scales itself, with the description of the replicas that it will run."""
    if mistakes.is_broken(path):
        return
    check_scale(conf, pool, path, mistakes)
    alone = _described(conf.replica, "http://scaled:1", "scaled", pool, path, mistakes, read_file)
    if alone.replicas:
        template, access = alone.replicas["scaled"], alone.access["scaled"]
        fleet.scaled.append(ScaledPool(pool=pool.name, spec=conf, template=template, access=access))
    shortest_s = min(pool.queue.unavailable_wait_s, pool.queue.timeout_s)
    if not conf.min and shortest_s < pool.queue.waiting_room_s:
        fleet.warnings.append(
            f"pool {pool.name}: with scale.min 0, calls that come while the first replica loads are refused after"
            f" {show_seconds(shortest_s)}: set queue.unavailable_wait and queue.timeout to what loading takes"
        )


def _described(
    like: TemplateConf, url: str, name: str, pool: PoolConf, path: Path, mistakes: Mistakes, read_file: ReadFile
) -> Fleet:
    """One replica as a template describes it, by this name and URL; none where something is wrong."""
    fields = {field.name: getattr(like, field.name) for field in msgspec.structs.fields(TemplateConf)}
    alone = Fleet()
    add_replica(ReplicaConf(url=url, id=name, **fields), pool, (*path, "replica"), alone, mistakes, read_file)
    return alone


def pool_spec(conf: PoolConf, regions: RegionsSpec | None = None) -> PoolSpec:
    """The Gate's view of a pool."""
    policy = {name: getattr(conf, name) for name in PolicySpec.__struct_fields__}
    return PoolSpec(name=conf.name, models=conf.models, regions=regions, **policy)


def check_sessions(file: File, mistakes: Mistakes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The headers (in lower case) and the cookies that name sessions for some pool, in the file's order."""
    headers: dict[str, None] = {}
    cookies: dict[str, None] = {}
    for at, pool in enumerate(file.pools):
        sources: list[tuple[str, StickySpec | ConsistentHash]] = []
        if pool.sticky is not None:
            sources.append(("sticky", pool.sticky))
            if pool.sticky.header is None and pool.sticky.cookie is None:
                mistakes.say(("pools", at, "sticky"), "by what? expected `header`, `cookie`, or both")
            if not pool.sticky.ttl_s and mistakes.is_written(("pools", at, "sticky", "ttl")):
                mistakes.say(("pools", at, "sticky", "ttl"), "found 0, expected more than 0")
        if isinstance(pool.strategy, ConsistentHash):
            sources.append(("strategy", pool.strategy))
        for block, source in sources:
            for kind, name in (("header", source.header), ("cookie", source.cookie)):
                if name is not None and not _TOKEN.fullmatch(name):
                    mistakes.say(("pools", at, block, kind), f"this is no name of a {kind}")
            headers |= {source.header.lower(): None} if source.header else {}
            cookies |= {source.cookie: None} if source.cookie else {}
    return tuple(headers), tuple(cookies)


def models_of(conf: TemplateConf) -> dict[str, str]:
    """Served name -> the upstream's own name."""
    return dict(conf.models) if isinstance(conf.models, dict) else {name: name for name in conf.models}


def add_replica(
    conf: ReplicaConf, pool: PoolConf, path: Path, fleet: Fleet, mistakes: Mistakes, read_file: ReadFile
) -> None:
    """One replica of a pool, written at this path. Where something is wrong, the mistakes know it."""
    base = _base(conf, path, fleet, mistakes)
    if base is None or mistakes.is_broken(path):
        return
    name = conf.id or base.id
    if name in fleet.replicas:
        other = fleet.replicas[name].pool
        hint = "" if conf.id else "give one of them an `id`"
        mistakes.say((*path, "id" if conf.id else "url"), f"the replica {name!r} is in pool {other!r} already", hint)
        return
    _check_models(conf, pool, path, mistakes)
    fleet.replicas[name] = Replica(
        id=name, url=base.url, pool=pool.name, engine=_engine(conf), models=models_of(conf),
        max_concurrent_requests=conf.max_concurrent_requests or SEATS, max_queue_size=conf.max_queue_size,
        weight=conf.weight, backup=conf.backup, region=conf.region, zone=conf.zone, hourly_cost=conf.hourly_cost,
        purchase=conf.purchase, gpus=conf.gpus, compatibility=dict(conf.compatibility),
    )  # fmt: skip
    fleet.access[name] = _access(conf, base, name, path, fleet, mistakes, read_file)


def _engine(conf: TemplateConf) -> Engine:
    """Until it has said which it is, it is spoken to like any OpenAI server."""
    return "generic" if conf.engine == "auto" else conf.engine


def _base(conf: ReplicaConf, path: Path, fleet: Fleet, mistakes: Mistakes) -> Base | None:
    try:
        base = parse_url(conf.url)
    except ValueError as error:
        mistakes.wrong((*path, "url"), conf.url, "http(s)://host:port, a base path allowed", str(error))
        return None
    if base.path.endswith("/v1"):
        text = f"{base.url}: calls to /v1/… would go to {base.path}/v1/…; leave /v1 out unless that is meant"
        fleet.warnings.append(text)
    return base


def _check_models(conf: ReplicaConf, pool: PoolConf, path: Path, mistakes: Mistakes) -> None:
    for at, name in enumerate(models_of(conf)):
        step: str | int = name if isinstance(conf.models, dict) else at
        if not name or not models_of(conf)[name]:
            mistakes.say((*path, "models", step), "found an empty name, expected a model's")
        elif pool.models and name not in pool.models and not mistakes.any_below(*path[:2], "models"):
            hint = f"its models are {', '.join(pool.models)}"
            mistakes.say((*path, "models", step), f"the pool does not serve {name!r}", hint)


def _access(
    conf: ReplicaConf, base: Base, name: str, path: Path, fleet: Fleet, mistakes: Mistakes, read_file: ReadFile
) -> Access:
    if conf.tls.ca is not None:
        check_pem(conf.tls.ca, "CERTIFICATE", (*path, "tls", "ca"), mistakes, read_file)
    if base.secure and not conf.tls.verify:
        fleet.warnings.append(f"{name}: tls.verify is false, so anybody on the way can pose as this replica")
    if not base.secure and (conf.api_key or conf.tls.ca or not conf.tls.verify):
        what = "its api_key travels in plain text" if conf.api_key else "its tls block has no effect"
        fleet.warnings.append(f"{name}: the URL is http://, so {what}")
    key = conf.api_key
    if key is not None:
        key = reveal(key, (*path, "api_key"), mistakes, read_file)
        if not key or not _VALUE.fullmatch(key):
            mistakes.say((*path, "api_key"), "found a key that cannot be sent, expected a text on one line")
        if any(header.lower() == "authorization" for header in conf.headers):
            mistakes.say((*path, "api_key"), "headers has an Authorization as well, expected one of the two")
    _check_gpus(conf, path, mistakes)
    headers = _headers(conf, path, mistakes, read_file)
    if conf.metrics_path is not None and not is_path(conf.metrics_path):
        mistakes.wrong((*path, "metrics_path"), conf.metrics_path, "a path, like /metrics", "it begins with /")
    auto = conf.engine == "auto"
    return Access(
        api_key=key, headers=headers, tls=conf.tls, gpu_metrics=conf.gpu_metrics, metrics_path=conf.metrics_path,
        metrics_port=conf.metrics_port, asks_engine=auto, asks_seats=auto and conf.max_concurrent_requests is None,
    )  # fmt: skip


def _check_gpus(conf: ReplicaConf, path: Path, mistakes: Mistakes) -> None:
    gpus = conf.gpu_metrics
    if gpus is None:
        return
    if gpus.nvml + gpus.smi + (gpus.dcgm is not None) != 1:
        mistakes.say((*path, "gpu_metrics"), "expected exactly one of `nvml: true`, `smi: true`, `dcgm: URL`")
    if gpus.dcgm is not None:
        try:
            parse_url(gpus.dcgm)
        except ValueError as error:
            mistakes.wrong((*path, "gpu_metrics", "dcgm"), gpus.dcgm, "http(s)://host:port/metrics", str(error))


def _headers(conf: ReplicaConf, path: Path, mistakes: Mistakes, read_file: ReadFile) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    seen: set[str] = set()
    for name, text in conf.headers.items():
        here: Path = (*path, "headers", name)
        if not _TOKEN.fullmatch(name):
            mistakes.say(here, "this is no name of a header")
        elif name.lower() in _OURS:
            mistakes.say(here, "the gateway writes this header itself")
        elif name.lower() in seen:
            mistakes.say(here, "this header is here already, in other capitals")
        seen.add(name.lower())
        value = reveal(text, here, mistakes, read_file)
        if not _VALUE.fullmatch(value):
            mistakes.say(here, "found a value that cannot be sent, expected a text on one line")
        found.append((name, value))
    return tuple(found)


def check_pem(file: str, kind: str, path: Path, mistakes: Mistakes, read_file: ReadFile) -> None:
    """A mistake where the file cannot be read or has no PEM block of this kind."""
    try:
        text = read_file(file)
    except (OSError, ValueError) as error:
        mistakes.say(path, f"the file {file!r} cannot be read ({why(error)})")
        return
    if not re.search(rf"-----BEGIN [A-Z ]*{kind}-----", text):
        mistakes.say(path, f"the file {file!r} has no {kind} block, expected PEM")
