"""What a report says of the engines that were simulated: what they were made from, and how wrong they may be."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from penstock.config.scenarios import Group
from penstock.engine.modelled import Modelled


def title(group: Group) -> str:
    """A few words for one of them."""
    return group.modelled().about


def fleets_told(fleets: Sequence[tuple[Group, ...]]) -> str:
    """Who serves, in words; fleets that differ in their size alone are told together."""
    if all(len(each) == 1 for each in fleets):
        group, counts = fleets[0][0], [str(each[0].count) for each in fleets]
        if all(replace(each[0], count=group.count) == group for each in fleets):
            return _several(f"{', '.join(counts[:-1])} or {counts[-1]}" if len(counts) > 1 else counts[0], group)
    return " or ".join(", ".join(_several(str(group.count), group) for group in fleet) for fleet in fleets)


def _several(count: str, group: Group) -> str:
    return f"{count} × {title(group)} (speed {group.speed:g})"


def told(groups: Iterable[Group]) -> list[str]:
    """A line for each kind of engine, in the order in which they come."""
    return list(dict.fromkeys(_line(group, group.modelled()) for group in groups))


def _line(group: Group, modelled: Modelled) -> str:
    if isinstance(group.cost, str):
        return f"{modelled.about}: {modelled.doubts()}"
    spec = group.engine()
    facts = [
        f"{spec.kv_blocks:,} KV blocks of {spec.block_size} tokens", f"{spec.max_num_seqs:,} sequences",
        f"{spec.max_num_batched_tokens:,} tokens a step", f"{modelled.outside_s * 1000:.3g} ms outside of the engine",
    ]  # fmt: skip
    if group.hourly_cost is None and modelled.hourly_cost:
        facts.append(f"{modelled.hourly_cost:.4g} USD an hour ({modelled.price_of})")
    return f"{modelled.about}: {', '.join(facts)}. {modelled.doubts()}"
