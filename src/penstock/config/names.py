"""Names that point at names: pools, models, aliases, fallbacks, routes. What points nowhere, or in a circle, is said.

Which models there are is known only where every pool lists its own (or each of its replicas does); with one pool that
takes whatever its engines list, names of models are believed.

A model may stand in several pools: they are tried in the file's order. Two models may be each other's fallback: chains
are not followed on, so nothing can go round; only a model that falls back to itself is a mistake.
"""

import re

from penstock.config.fleet import models_of
from penstock.config.mistakes import Mistakes, Path, did_you_mean
from penstock.config.schema import File, PoolConf

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9a-fA-F:.]+\]")


def known_models(file: File) -> list[str] | None:
    """All served names, in the file's order; None: they cannot be known from the file."""
    found: dict[str, None] = {}
    for pool in file.pools:
        listed = listed_models(pool)
        if not listed:
            return None
        found |= dict.fromkeys(listed)
    return list(found)


def listed_models(pool: PoolConf) -> list[str]:
    """What a pool is said to serve; empty: whatever its engines list."""
    if pool.models:
        return list(pool.models)
    described = [*pool.replicas, *(source.replica for source in pool.discover)]
    described += [] if pool.scale is None else [pool.scale.replica]
    if not described or not all(replica.models for replica in described):
        return []
    return list(dict.fromkeys(name for replica in described for name in models_of(replica)))


def check_pools(file: File, mistakes: Mistakes) -> list[str]:
    """Mistakes in pools' names and models. Returns warnings."""
    warnings: list[str] = []
    if not file.pools:
        mistakes.say(("pools",), "found none, expected at least one pool")
    seen: dict[str, int] = {}
    for at, pool in enumerate(file.pools):
        if pool.name in seen:
            mistakes.say(("pools", at, "name"), f"pools[{seen[pool.name]}] is called {pool.name!r} already")
        seen.setdefault(pool.name, at)
        if not pool.replicas and not pool.discover and pool.scale is None and not mistakes.any_below("pools", at):
            warnings.append(f"pool {pool.name}: it has no replicas until the admin API adds some")
        _check_models(pool, at, mistakes)
    return warnings


def _check_models(pool: PoolConf, at: int, mistakes: Mistakes) -> None:
    for index, model in enumerate(pool.models):
        if not model:
            mistakes.say(("pools", at, "models", index), "found an empty name, expected a model's")
        elif model in pool.models[:index]:
            mistakes.say(("pools", at, "models", index), f"{model!r} is in the list already")


def resolve_aliases(file: File, mistakes: Mistakes) -> tuple[dict[str, str], list[str]]:
    """Name that clients use -> served name, with aliases of aliases followed to their end; and warnings."""
    models = None if mistakes.any_below("pools") else known_models(file)
    resolved: dict[str, str] = {}
    warnings: list[str] = []
    for name in file.aliases:
        chain = [name]
        while chain[-1] in file.aliases and chain.count(chain[-1]) == 1:
            chain.append(file.aliases[chain[-1]])
        path: Path = ("aliases", name)
        if chain.count(chain[-1]) > 1:
            mistakes.say(path, f"it goes round in a circle ({' -> '.join(chain)})")
        elif models is not None and len(chain) == 2 and chain[-1] not in models:
            _no_model(path, chain[-1], [*models, *file.aliases], mistakes)
        elif models is not None and name in models:
            warnings.append(f"aliases.{name}: hides the model of the same name, which nobody can reach now")
        resolved[name] = chain[-1]
    return resolved, warnings


def resolve_fallback(file: File, aliases: dict[str, str], mistakes: Mistakes) -> dict[str, tuple[str, ...]]:
    """Name -> served names to try in turn. A key may be an alias: then it holds for calls of that name only."""
    models = None if mistakes.any_below("pools") else known_models(file)
    resolved: dict[str, tuple[str, ...]] = {}
    for name, targets in file.fallback.items():
        served = aliases.get(name, name)
        if models is not None and served not in models:
            _no_model(("fallback", name), name, [*models, *aliases], mistakes)
        for at, target in enumerate(targets):
            meant = aliases.get(target, target)
            if models is not None and meant not in models:
                _no_model(("fallback", name, at), target, [*models, *aliases], mistakes)
            elif meant == served:
                mistakes.say(("fallback", name, at), f"{name!r} would fall back to itself")
        resolved[name] = tuple(aliases.get(target, target) for target in targets)
    return resolved


def resolve_splits(file: File, aliases: dict[str, str], mistakes: Mistakes) -> dict[str, dict[str, float]]:
    """Name -> served name -> weight. The name may be a model's own, an alias, or one that exists only here."""
    models = None if mistakes.any_below("pools") else known_models(file)
    resolved: dict[str, dict[str, float]] = {}
    for name, shares in file.splits.items():
        if not shares:
            mistakes.say(("splits", name), "found none, expected at least one name with its weight")
        weights: dict[str, float] = {}
        for other, weight in shares.items():
            meant = aliases.get(other, other)
            if models is not None and meant not in models:
                _no_model(("splits", name, other), other, [*models, *aliases], mistakes)
            weights[meant] = weights.get(meant, 0.0) + weight
        resolved[name] = weights
    return resolved


def check_routes(file: File, aliases: dict[str, str], mistakes: Mistakes) -> list[str]:
    """Mistakes in the rules. Returns warnings."""
    warnings: list[str] = []
    pools = {} if mistakes.any_below("pools") else {pool.name: pool for pool in file.pools}
    everything = ""
    for at, rule in enumerate(file.routes):
        path: Path = ("routes", at)
        if pools and rule.pool not in pools:
            hint = did_you_mean(rule.pool, pools) or f"the pools are {', '.join(pools)}"
            mistakes.say((*path, "pool"), f"there is no pool {rule.pool!r}", hint)
        elif pools and rule.model is not None:
            models = listed_models(pools[rule.pool])
            if models and aliases.get(rule.model, rule.model) not in models:
                _no_model((*path, "model"), rule.model, models, mistakes)
        if rule.model is not None and any(key.models is not None and rule.model not in key.models for key in file.keys):
            warnings.append(f"routes[{at}]: its calls get {rule.model} with every key, whatever the key's `models` say")
        if rule.host is not None and not _HOST.fullmatch(rule.host):
            mistakes.wrong((*path, "host"), rule.host, "a host name without port, or *.example.com")
        if rule.path is not None and not rule.path.startswith("/"):
            mistakes.wrong((*path, "path"), rule.path, "a path prefix, like /v1/embeddings", "it begins with /")
        if everything:
            warnings.append(f"routes[{at}]: never reached, for {everything} takes everything")
        elif rule.host is None and rule.path in (None, "/"):
            everything = f"routes[{at}]"
    return warnings


def _no_model(path: Path, name: str, models: list[str], mistakes: Mistakes) -> None:
    hint = did_you_mean(name, models) or f"there are {', '.join(models[:10])}"
    mistakes.say(path, f"there is no model {name!r}", hint)
