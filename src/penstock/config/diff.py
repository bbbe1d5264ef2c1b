"""What a reload changes, in lines for people: names, never secrets.

Sockets are bound and TLS files are opened once, so some changes wait for a restart; the line says so.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import fields, replace

from penstock.adapters.actuators.process import ProcessSpec
from penstock.adapters.actuators.ray import RaySpec
from penstock.adapters.discovery.registry import describe
from penstock.base.units import show_seconds
from penstock.config.addresses import show_address
from penstock.config.schema import KeyTerms, ScaleConf, ScaledPool, ServerSpec, Settings
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, SharedSpec

RESTART = (
    "listen", "admin", "metrics", "tls", "journal", "ledger", "workers", "limits.backlog", "shared_limits.store",
    "cache.redis",
)  # fmt: skip
"""What holds until a restart."""
_SEPARATE = (
    "pools", "key_names", "key_terms", "stored_keys", "admin_key_hash", "most_tokens", "ledger", "lease_store",
    "shared_cache",
)  # fmt: skip


def changes(old: Settings, new: Settings) -> list[str]:
    """One line per difference; empty: nothing changed."""
    return [line + (" (needs a restart)" if _waits(path) else "") for path, line in _changes(old, new)]


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """The lines of `changes` that do not hold before a restart."""
    return [line for path, line in _changes(old, new) if _waits(path)]


def _waits(path: str) -> bool:
    return any(path == name or path.startswith(name + ".") for name in RESTART)


def _changes(old: Settings, new: Settings) -> Iterator[tuple[str, str]]:
    yield from _structs("", old.server, new.server)
    yield from _keys(old.server, new.server)
    if old.server.lease_store != new.server.lease_store:  # so may this
        yield "shared_limits.store", "shared_limits.store: changed"
    if old.server.shared_cache != new.server.shared_cache:  # so may this
        yield "cache.redis", "cache.redis: changed"
    if old.server.ledger != new.server.ledger:  # the URL of its database may hold a password
        yield "ledger", "ledger: changed"
    yield from _structs("", replace(old.gate, limits=None), replace(new.gate, limits=None))
    yield from _limits(old.gate.limits or LimitsSpec(), new.gate.limits or LimitsSpec())
    before, after = (
        {pool.name: replace(pool, regions=None) for pool in gate.pools} for gate in (old.gate, new.gate)
    )  # each pool has the file's, which were compared above
    yield from _named("pool", before, after)
    yield from _named("replica", {r.id: r for r in old.replicas}, {r.id: r for r in new.replicas})
    yield from _sources(old, new)
    yield from _scaled(old, new)
    for name, access in new.access.items():
        if old.access.get(name, access) != access:
            yield f"replica {name}", f"replica {name}: what it is shown (api_key, headers, tls) changed"


def _sources(old: Settings, new: Settings) -> Iterator[tuple[str, str]]:
    before = {f"source {one.pool}, {describe(one.spec)}": one for one in old.sources}
    after = {f"source {one.pool}, {describe(one.spec)}": one for one in new.sources}
    for name in before:
        if name not in after:
            yield name, f"{name}: removed"
    for name, now in after.items():
        was = before.get(name)
        if was is None:
            yield name, f"{name}: added"
            continue
        # the description of its replicas as it was written has secrets: what was made of it is compared instead
        yield from _structs(f"{name}: ", msgspec.structs.replace(was.spec, replica=now.spec.replica), now.spec)
        yield from _structs(f"{name}: replica.", was.template, now.template)
        if was.access != now.access:
            yield name, f"{name}: what its replicas are shown (api_key, headers, tls) changed"


def _scaled(old: Settings, new: Settings) -> Iterator[tuple[str, str]]:
    before, after = {one.pool: one for one in old.scaled}, {one.pool: one for one in new.scaled}
    for pool in before:
        if pool not in after:
            yield f"scale {pool}", f"scale {pool}: removed, its replicas drain and stop"
    for pool, now in after.items():
        name, was = f"scale {pool}", before.get(pool)
        if was is None:
            yield name, f"{name}: added"
            continue
        # the description of its replicas, their command and environment may hold secrets: these are not shown
        yield from _structs(f"{name}: ", msgspec.structs.replace(was.spec, replica=now.spec.replica), _plain(was, now))
        yield from _structs(f"{name}: replica.", was.template, now.template)
        if was.access != now.access:
            yield name, f"{name}: what its replicas are shown (api_key, headers, tls) changed"
        if _run(was) != _run(now):
            yield name, f"{name}: actuator: command or env changed, for replicas that are started from now on"


def _run(pool: ScaledPool) -> tuple[str, dict[str, str]] | None:
    actuator = pool.spec.actuator
    return (actuator.command, actuator.env) if isinstance(actuator, ProcessSpec | RaySpec) else None


def _plain(was: ScaledPool, now: ScaledPool) -> ScaleConf:
    """The new spec, with the old command and environment."""
    actuator, before = now.spec.actuator, was.spec.actuator
    if isinstance(actuator, ProcessSpec | RaySpec) and isinstance(before, ProcessSpec | RaySpec):
        actuator = msgspec.structs.replace(actuator, command=before.command, env=before.env)
    return msgspec.structs.replace(now.spec, actuator=actuator)


def _keys(old: ServerSpec, new: ServerSpec) -> Iterator[tuple[str, str]]:
    if old.admin_key_hash != new.admin_key_hash:
        yield "admin_key", "admin_key: changed"
    for sign, ours, others in (("removed", old.key_names, new.key_names), ("added", new.key_names, old.key_names)):
        for digest, name in ours.items():
            if digest not in others:
                yield "keys", f"keys: {name} {sign}"
    for digest, name in old.key_names.items():
        if new.key_names.get(digest, name) != name:
            yield "keys", f"keys: {name} is called {new.key_names[digest]} now"
    for digest, name in new.key_names.items():
        before, after = old.key_terms.get(digest, KeyTerms()), new.key_terms.get(digest, KeyTerms())
        if digest in old.key_names and before != after:
            yield from _structs(f"keys: {name}: ", before, after)


def _limits(old: LimitsSpec, new: LimitsSpec) -> Iterator[tuple[str, str]]:
    yield from _named("limits of tenant", old.tenants, new.tenants)
    yield from _named("limits of key", old.keys, new.keys)
    yield from _named("price of", old.prices, new.prices)
    yield from _named("limits of", _whole(old), _whole(new))
    yield from _structs("shared_limits.", old.shared or SharedSpec(), new.shared or SharedSpec())
    for name in ("shaping", "unknown_price", "default_max_tokens"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield name, f"{name}: {_shown(name, before)} -> {_shown(name, after)}"


def _whole(spec: LimitsSpec) -> dict[str, AllowanceSpec]:
    """Limits that are nobody's own."""
    given = {"everybody": spec.everybody}
    if spec.tiers is not None:
        given |= {f"tier {name}": getattr(spec.tiers, name) for name in spec.tiers.__struct_fields__}
    return {name: limits for name, limits in given.items() if limits is not None}


def _named(
    kind: str, old: Mapping[str, msgspec.Struct], new: Mapping[str, msgspec.Struct]
) -> Iterator[tuple[str, str]]:
    for name in old:
        if name not in new:
            yield f"{kind} {name}", f"{kind} {name}: removed"
    for name, after in new.items():
        before = old.get(name)
        if before is None:
            yield f"{kind} {name}", f"{kind} {name}: added"
        else:
            yield from _structs(f"{kind} {name}: ", before, after)


def _structs(prefix: str, old: msgspec.Struct, new: msgspec.Struct) -> Iterator[tuple[str, str]]:
    for field in fields(new):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after or field.name in _SEPARATE:
            continue
        path = prefix + field.encode_name
        if isinstance(before, msgspec.Struct) and isinstance(after, msgspec.Struct) and type(before) is type(after):
            yield from _structs(path + ".", before, after)
        else:
            yield path, f"{path}: {_shown(field.name, before)} -> {_shown(field.name, after)}"


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if name in ("listen", "admin", "metrics"):
        return show_address(value)
    if isinstance(value, float) and name.endswith("_s"):
        return show_seconds(value)
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        return (
            str(tag)
            if tag
            else ", ".join(f"{f.encode_name} {_shown(f.name, getattr(value, f.name))}" for f in fields(value))
        )
    if isinstance(value, dict):
        return ", ".join(f"{key} = {_shown('', item)}" for key, item in value.items()) or "none"
    if isinstance(value, tuple):
        return ", ".join(_shown("", item) for item in value) or "none"
    return str(value)
