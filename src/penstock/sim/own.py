"""A pressure test over somebody's own fleet: the replicas, the policy and the scaling of a gateway's configuration,
under the test's load and faults. What a configuration does not say, how fast engines are and how long they take to
start, is the test's.
"""

from msgspec.structs import asdict, replace

from penstock.base.errors import ConfigError
from penstock.config.scenarios import Fault, Group, Policy, RegionDark, Scale, Scenario, Storm, policy_from
from penstock.config.schema import ScaledPool, Settings
from penstock.core.spec import PoolSpec
from penstock.workload.combine import Merge, Rate, Spec


class Own:
    """What a configuration says of the first pool that scales itself, else of its first pool."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError where there is no pool."""
        pools = settings.gate.pools
        if not pools:
            raise ConfigError(["the configuration has no pool whose fleet could be tried"])
        self.scaled: ScaledPool | None = next(iter(settings.scaled), None)
        name = pools[0].name if self.scaled is None else self.scaled.pool
        self.pool: PoolSpec = next(pool for pool in pools if pool.name == name)
        self.listed = tuple(replica for replica in settings.replicas if replica.pool == name)

    def why_not(self, test: Scenario) -> str:
        """Why a test cannot be played over this fleet; empty: it can."""
        if any(isinstance(fault, RegionDark) for fault in test.faults):
            return "regions of one's own are not played yet"
        if any(isinstance(fault, Storm) for fault in test.faults) and not (self.scaled and self.scaled.spec.spot):
            return "the pool has no spot replicas (`scale.spot`)"
        return ""

    def scenario(self, test: Scenario, load: float) -> Scenario:
        """The test over this fleet, with so many times its load."""
        policy: Policy = policy_from(self.pool)
        fleet, scale = self._fleet(test)
        return replace(
            test, fleet=fleet, scale=scale, policy=policy, workload=loaded(test.workload, load),
            faults=tuple(_moved(fault, test.fleet, fleet) for fault in test.faults),
        )  # fmt: skip

    def _fleet(self, test: Scenario) -> tuple[tuple[Group, ...], Scale | None]:
        like = test.fleet[0 if test.scale is None else test.scale.group]
        groups = [
            replace(
                like,
                count=1,
                seats=one.max_concurrent_requests,
                weight=one.weight,
                hourly_cost=one.hourly_cost or None,
                startup_s=0.0,
            )
            for one in self.listed
        ]
        if self.scaled is None:
            if not groups:
                raise ConfigError(["the configuration's first pool has no replicas and does not scale itself"])
            return tuple(groups), None
        template = self.scaled.template
        groups.append(
            replace(
                like,
                count=self.scaled.spec.min,
                seats=template.max_concurrent_requests,
                weight=template.weight,
                hourly_cost=template.hourly_cost or None,
                startup_s=like.startup_s,
            )
        )
        spec = {name: value for name, value in asdict(self.scaled.spec).items() if name in Scale.__struct_fields__}
        return tuple(groups), Scale(**spec, group=len(groups) - 1)


def loaded(workload: Spec, load: float) -> Spec:
    """So many times as many requests; a merge stays one, for its last part may be a greedy tenant."""
    if load == 1.0:
        return workload
    if isinstance(workload, Merge):
        return replace(workload, of=tuple(Rate(factor=load, spread_s=0.0, of=part) for part in workload.of))
    return Rate(factor=load, spread_s=0.0, of=workload)


def _moved(fault: Fault, was: tuple[Group, ...], fleet: tuple[Group, ...]) -> Fault:
    """It befalls the same share of the fleet."""
    old, new = (max(1, sum(group.count for group in groups)) for groups in (was, fleet))
    numbers = dict.fromkeys(number * new // old for number in fault.replicas)
    return replace(fault, replicas=tuple(numbers))
