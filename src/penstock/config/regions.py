"""Regions as the file and scenarios say them: checks that go across fields, and who asks from where."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from penstock.config.mistakes import Mistakes, Path, did_you_mean
from penstock.config.schema import File, PoolConf, TemplateConf
from penstock.core.regions import RegionsSpec, problems
from penstock.core.route.presets import Regional, RegionalClassic


class ClientRegions(RegionsSpec, frozen=True, kw_only=True):
    """Where replicas are, and where the workload's requests come from. Every region has an entry of its own: a
    request's way is that from its region to the replica's, and back."""

    clients: Annotated[
        dict[str, Annotated[float, Meta(ge=0)]],
        Meta(
            description="region -> weight of the requests that come from there, a session's all from one; empty: all"
            " come from `here`, or else from all alike"
        ),
    ] = {}

    def __post_init__(self) -> None:
        for path, problem in problems(self):
            raise ValueError(f"regions.{'.'.join(path)}: {problem}")
        for name in self.clients:
            if name not in self.places:
                raise ValueError(f"regions.clients: there is no region {name!r}")
        if self.clients and not any(self.clients.values()):
            raise ValueError("regions.clients: found only weights of 0")

    def spec(self) -> RegionsSpec:
        """What the Gate is told of them: as there is an entry everywhere, nothing is measured from one place."""
        return RegionsSpec(places=self.places, round_trips=self.round_trips, inside_s=self.inside_s)

    def weights(self) -> Mapping[str, float]:
        """Region -> weight of its requests."""
        return self.clients or ({self.here: 1.0} if self.here else dict.fromkeys(self.places, 1.0))


def check_regions(file: File, mistakes: Mistakes) -> list[str]:
    """Mistakes about regions; warnings."""
    regions = file.regions
    warnings: list[str] = []
    for at, pool in enumerate(file.pools):
        path: Path = ("pools", at)
        if regions is None:
            if isinstance(pool.strategy, Regional | RegionalClassic):
                mistakes.say((*path, "strategy"), "it needs to know the regions", "add `regions` to the file")
            continue
        _check_pool(pool, regions, path, mistakes)
        if not isinstance(pool.strategy, Regional | RegionalClassic):
            warnings.append(f"pool {pool.name}: its strategy does not weigh regions; regional does")
    for where, problem in problems(regions) if regions is not None else ():
        mistakes.say(("regions", *where), problem)
    return warnings


def _check_pool(pool: PoolConf, regions: RegionsSpec, path: Path, mistakes: Mistakes) -> None:
    replicas: list[tuple[Path, TemplateConf]] = [
        ((*path, "replicas", at), replica) for at, replica in enumerate(pool.replicas)
    ]
    replicas += [((*path, "discover", at, "replica"), source.replica) for at, source in enumerate(pool.discover)]
    if pool.scale is not None:
        replicas.append(((*path, "scale", "replica"), pool.scale.replica))
    for here, replica in replicas:
        if mistakes.is_broken(here):
            continue
        if replica.region not in regions.places:
            hint = did_you_mean(replica.region, regions.places) or f"the places are {', '.join(regions.places)}"
            found = f"there is no region {replica.region!r}" if replica.region else "its region is not said"
            mistakes.say((*here, "region"), found, hint)
    bounded = [name for name, place in regions.places.items() if place.capacity is not None]
    if bounded and (pool.sticky is not None or not isinstance(pool.strategy, Regional | RegionalClassic)):
        text = f"the capacity of {bounded[0]} would not hold: only `regional` keeps to it, and without `sticky`"
        mistakes.say((*path, "strategy"), text)
