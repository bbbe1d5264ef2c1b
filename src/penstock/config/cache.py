"""The cache, from what the file says of it."""

from msgspec.structs import asdict

from penstock.config.mistakes import Mistakes, did_you_mean
from penstock.config.schema import File
from penstock.config.sharing import STORES
from penstock.core.cache.spec import CacheSpec, SemanticSpec

MOST_COMPARED_BYTES = 8 << 10
"""A longer question would hold up others while its embedding is made."""


def assemble(file: File, mistakes: Mistakes) -> CacheSpec | None:
    """What the Gate needs; None: there is no cache."""
    conf = file.cache
    if conf is None:
        return None
    for name in ("memory", "largest"):
        if getattr(conf, f"{name}_bytes") == 0 and mistakes.is_written(("cache", name)):
            mistakes.say(("cache", name), "found 0, expected more than 0")
    if conf.largest_bytes > conf.memory_bytes and not mistakes.any_below("cache"):
        mistakes.say(("cache", "largest"), "it is more than `memory`, so an answer of that size could never be kept")
    if conf.redis is not None and not conf.redis.startswith(STORES):  # what it says may hold a password
        mistakes.say(("cache", "redis"), "expected a URL, like redis://host:6379/0")
    _check_rules(file, mistakes)
    if conf.semantic is not None:
        _check_semantic(file, conf.semantic, mistakes)
    return CacheSpec(**{name: value for name, value in asdict(conf).items() if name in CacheSpec.__struct_fields__})


def _check_rules(file: File, mistakes: Mistakes) -> None:
    assert file.cache is not None
    tenants = {tenant.name for tenant in file.tenants} | {key.tenant or key.name for key in file.keys} | {"anonymous"}
    for at, rule in enumerate(file.cache.rules):
        path = ("cache", "rules", at)
        if mistakes.any_below(*path):
            continue
        if rule.tenant is not None and rule.tenant not in tenants and not mistakes.any_below("tenants"):
            hint = did_you_mean(rule.tenant, tenants)
            mistakes.say((*path, "tenant"), f"there is no tenant {rule.tenant!r}", hint)
        if rule.model in file.aliases:
            meant = file.aliases[rule.model]
            mistakes.say((*path, "model"), f"{rule.model!r} is an alias", f"name the model: {meant}")
        if rule.semantic is not None and file.cache.semantic is None:
            mistakes.say((*path, "semantic"), "there is no semantic cache", "give `cache` a `semantic` block")
        if rule.path is not None and not rule.path.startswith("/"):
            mistakes.wrong((*path, "path"), rule.path, "a path", "it begins with /")


def _check_semantic(file: File, semantic: SemanticSpec, mistakes: Mistakes) -> None:
    path = ("cache", "semantic")
    if mistakes.any_below(*path):
        return
    if not 0 < semantic.longest_bytes <= MOST_COMPARED_BYTES:
        mistakes.wrong((*path, "longest"), semantic.longest_bytes, "1 to 8192 bytes", "questions are short")
    model = semantic.model
    if model is None:
        return
    if model in file.aliases:
        mistakes.say((*path, "model"), f"{model!r} is an alias", f"name the model: {file.aliases[model]}")
        return
    served = [pool.models for pool in file.pools]
    if served and all(served) and model not in {name for models in served for name in models or ()}:
        names = {name for models in served for name in models or ()}
        mistakes.say((*path, "model"), f"no pool serves {model!r}", did_you_mean(model, names))
