"""What `penstock check` says of a configuration that can be used: plain data, for a table or for JSON."""

from typing import Any

from penstock.adapters.discovery.registry import describe
from penstock.base.units import show_seconds
from penstock.config.addresses import show_address
from penstock.config.schema import KeyTerms, Settings
from penstock.core.limits.spec import AllowanceSpec, RateSpec
from penstock.core.spec import PoolSpec


def report(settings: Settings) -> dict[str, Any]:
    """The effective result: addresses, who may call, pools, replicas, names, warnings. No secret, no hash."""
    server = settings.server
    names = sorted(dict.fromkeys(server.key_names.values()))
    return {
        "listen": ("https://" if server.tls else "http://") + show_address(server.listen),
        "admin": show_address(server.admin) if server.admin else None,
        "metrics": show_address(server.metrics) if server.metrics else None,
        "open": server.open,
        "keys": names,
        "pools": [_pool(pool, settings) for pool in settings.gate.pools],
        "replicas": [
            {
                "id": replica.id, "url": replica.url, "pool": replica.pool,
                "engine": "auto" if _asks(settings, replica.id) else replica.engine,
                "models": dict(replica.models), "seats": replica.max_concurrent_requests, "weight": replica.weight,
                "backup": replica.backup,
            }
            for replica in settings.replicas
        ],
        "sources": [
            {
                "pool": source.pool, "source": describe(source.spec), "scheme": source.spec.scheme,
                "engine": "auto" if source.access.asks_engine else source.template.engine,
                "models": dict(source.template.models), "seats": source.template.max_concurrent_requests,
            }
            for source in settings.sources
        ],
        "scaled": [
            {
                "pool": one.pool, "actuator": str(one.spec.actuator.__struct_config__.tag), "min": one.spec.min,
                "max": one.spec.max, "max_hourly_cost": one.spec.max_hourly_cost,
                "engine": "auto" if one.access.asks_engine else one.template.engine,
                "models": dict(one.template.models), "seats": one.template.max_concurrent_requests,
            }
            for one in settings.scaled
        ],
        "aliases": dict(settings.gate.aliases),
        "fallback": {name: list(targets) for name, targets in settings.gate.fallback.items()},
        "splits": {name: _shares(weights) for name, weights in settings.gate.splits.items()},
        "routes": len(settings.gate.routes),
        "limits": _limits(settings),
        "prices": _prices(settings),
        "warnings": list(settings.warnings),
    }  # fmt: skip


def _limits(settings: Settings) -> list[dict[str, Any]]:
    """What applies to whom: every tenant's own or its tier's, every key's, everybody's. Who is not limited is not
    here."""
    spec = settings.gate.limits
    if spec is None:
        return []
    tiers: dict[str, str] = {} if settings.server.key_names and not settings.server.open else {"anonymous": "standard"}
    for digest, name in settings.server.key_names.items():
        terms = settings.server.key_terms.get(digest, KeyTerms())
        tiers[terms.tenant or name] = terms.tier
    found = []
    for tenant in sorted({*tiers, *spec.tenants}):
        tier = tiers.get(tenant, "standard")
        own = spec.tenants.get(tenant)
        given = own or (spec.tiers.of(tier) if spec.tiers is not None else None)
        if given is not None:
            found.append(_allowance("tenant", tenant, "its own" if own is not None else f"tier {tier}", given))
    found += [_allowance("key", name, "its own", given) for name, given in spec.keys.items()]
    if spec.everybody is not None:
        found.append(_allowance("everybody", "", "", spec.everybody))
    return found


def _allowance(kind: str, name: str, by: str, spec: AllowanceSpec) -> dict[str, Any]:
    models = {model: _written(one) for model, one in spec.models.items()}
    return {"whose": kind, "name": name, "by": by, "limits": _written(spec), "models": models}


def _written(spec: RateSpec) -> dict[str, Any]:
    """The limits that it sets, and what happens beyond them where that is unusual."""
    usual = RateSpec()
    set_here = ((name, getattr(spec, name)) for name in RateSpec.__struct_fields__ if name != "wait_s")
    return {name: value for name, value in set_here if value != getattr(usual, name)}


def _prices(settings: Settings) -> list[dict[str, Any]]:
    """Of a million tokens, by model."""
    prices = {} if settings.gate.limits is None else settings.gate.limits.prices
    return [
        {
            "model": model, "prompt": price.prompt, "completion": price.completion,
            "cached": price.prompt if price.cached is None else price.cached,
        }
        for model, price in prices.items()
    ]  # fmt: skip


def _asks(settings: Settings, replica: str) -> bool:
    access = settings.access.get(replica)
    return access is not None and access.asks_engine


def _shares(weights: dict[str, float]) -> dict[str, str]:
    total = sum(weights.values())
    return {name: f"{weight / total:.1%}" for name, weight in weights.items()}


def _sticky(pool: PoolSpec) -> str:
    """How sessions are told, and for how long; empty: not at all."""
    if pool.sticky is None:
        return ""
    named = [
        f"{kind} {name}" for kind, name in (("header", pool.sticky.header), ("cookie", pool.sticky.cookie)) if name
    ]
    return f"{' or '.join(named)}, {show_seconds(pool.sticky.ttl_s)}"


def _pool(pool: PoolSpec, settings: Settings) -> dict[str, Any]:
    replicas = [replica for replica in settings.replicas if replica.pool == pool.name]
    return {
        "name": pool.name,
        "models": list(pool.models),
        "strategy": str(pool.strategy.__struct_config__.tag),
        "sticky": _sticky(pool),
        "replicas": len(replicas),
        "seats": sum(replica.max_concurrent_requests for replica in replicas),
        "queue": f"{pool.queue.max:,} calls, {show_seconds(pool.queue.timeout_s)}",
        "attempts": pool.retries.attempts,
    }
