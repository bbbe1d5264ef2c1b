"""What is tried in a scenario: the policy over its replicas, and which models they serve.

Without `pools` a fleet is one pool that serves whatever a request names. With them each group of replicas is in one of
them, as in a gateway's own file.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, field

from penstock.base.units import Seconds
from penstock.config.strict import Strict, doc
from penstock.core.cache.spec import CacheSpec
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, TiersSpec
from penstock.core.regions import RegionsSpec
from penstock.core.spec import PolicySpec, PoolSpec

POOL = "sim"
MODEL = "model"
"""Of a fleet without `pools`."""
Count = Annotated[int, Meta(ge=1)]
Named = Annotated[str, Meta(min_length=1)]


class Policy(PolicySpec, frozen=True, kw_only=True):
    """What is tried: the blocks of a pool, with the gateway's own defaults; sessions are the workload's."""

    limits: Annotated[AllowanceSpec | None, doc("what each of the workload's tenants may use; none: no limits")] = None
    cache: Annotated[
        CacheSpec | None,
        doc("answers that are given again to equal prompts, where the workload tells prompts whole; none: none is"),
    ] = None

    def pool(
        self, name: str = POOL, models: tuple[str, ...] = (MODEL,), regions: RegionsSpec | None = None
    ) -> PoolSpec:
        """As the Gate reads it."""
        blocks: dict[str, Any] = {each: getattr(self, each) for each in PolicySpec.__struct_fields__}
        return PoolSpec(name=name, models=models, regions=regions, **blocks)

    def gate_limits(self) -> LimitsSpec | None:
        """What the Gate holds every tenant to."""
        return None if self.limits is None else LimitsSpec(tiers=TiersSpec(standard=self.limits), unknown_price="free")


def policy_from(pool: PoolSpec) -> Policy:
    """The policy of a pool."""
    return Policy(**{name: getattr(pool, name) for name in PolicySpec.__struct_fields__})


class ScenarioPool(Strict, frozen=True, kw_only=True):
    """Replicas that serve the same models: the groups that name it."""

    models: Annotated[tuple[Named, ...], Meta(min_length=1, description="models that each of its replicas serves")]
    policy: Annotated[
        Policy | None,
        doc("its own; none: the scenario's, and what is tried in its place by --strategies and --compare"),
    ] = None


class Loras(Strict, frozen=True, kw_only=True):
    """LoRA adapters in the engines' memory, loaded when they are asked for; the least recently used makes room. While
    one is loaded its requests wait; others go on."""

    max_loras: Annotated[Count, doc("adapters that an engine holds at once")]
    load_s: Annotated[Seconds, doc("how long it takes to bring one in")] = field(name="load")


def mistakes_in(
    pools: Mapping[str, ScenarioPool], used: Mapping[str, None], aliases: Mapping[str, str],
    fallback: Mapping[str, tuple[str, ...]], asked: list[str],
) -> list[str]:  # fmt: skip
    """What is wrong with a scenario's pools together. `used`: those that its groups name (empty: none is named);
    `asked`: models of which something is expected."""
    found = []
    if not pools:
        if any(used):
            found.append(f"a group is in pool {next(iter(filter(None, used)))!r}: name it under `pools`")
        if aliases or fallback or asked:
            found.append("`aliases`, `fallback` and an `expect` of one model are about `pools`, and there are none")
        return found
    for name in used:
        if name not in pools:
            whose = f"{name!r} is none of `pools`" if name else "where there are `pools`, every group says its `pool`"
            found.append(f"{whose}: there are {', '.join(pools)}")
    found += [f"pool {name!r} has no replicas: no group of the fleet is in it" for name in pools if name not in used]
    served = {model: None for pool in pools.values() for model in pool.models}
    for name, model in aliases.items():
        if model not in served:
            found.append(f"alias {name!r}: no pool serves {model!r}: there are {', '.join(served)}")
    for model in dict.fromkeys(each for name, chain in fallback.items() for each in (name, *chain)):
        if model not in served:
            found.append(f"`fallback` names {model!r}, which no pool serves: there are {', '.join(served)}")
    for model in asked:
        if model not in served and model not in aliases:
            found.append(f"`expect` names {model!r}, which no pool serves: there are {', '.join([*served, *aliases])}")
    return found
