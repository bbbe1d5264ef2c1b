"""The actuator whose replicas are pods of a Kubernetes Deployment [A7]; spot replicas are those of a second one, whose
pods stand on spot nodes.
"""

import asyncio

from penstock.adapters.actuators.deployment import Deployment, KubernetesSpec
from penstock.adapters.kubernetes.client import Cluster
from penstock.base.nouns import Purchase, Unit


class KubernetesActuator:
    """See `base.ports.Actuator`."""

    def __init__(self, spec: KubernetesSpec, pool: str) -> None:
        self.spec = spec
        cluster = Cluster(spec.namespace, spec.kubeconfig, spec.context)
        self._fleets: dict[Purchase, Deployment] = {
            "on_demand": Deployment(spec, spec.deployment, cluster, f"{pool}-found", "on_demand")
        }
        if spec.spot_deployment is not None:
            self._fleets["spot"] = Deployment(spec, spec.spot_deployment, cluster, f"{pool}-spot-found", "spot")

    def respec(self, spec: KubernetesSpec) -> bool:
        """New settings; whether all of them hold: the Deployments stay what they were."""
        if _place(spec) != _place(self.spec):
            return False
        self.spec = spec
        for fleet in self._fleets.values():
            fleet.spec = spec
        return True

    async def look(self, timeout_s: float) -> tuple[Unit, ...]:
        """All pods, and what the scales have beyond them."""
        shown: list[Unit] = []
        async with asyncio.timeout(timeout_s):
            for fleet in self._fleets.values():
                shown += await fleet.look(timeout_s)
        return tuple(shown)

    async def start(self, unit: str, purchase: Purchase = "on_demand") -> None:
        """One more, of the Deployment for such replicas."""
        fleet = self._fleets.get(purchase)
        if fleet is None:
            raise OSError(f"there is no Deployment for {purchase} replicas: set `spot_deployment`")
        await fleet.start(unit)

    async def stop(self, unit: str) -> None:
        """One fewer, and this one. The Deployment that has it obeys; to others it is nobody."""
        for fleet in self._fleets.values():
            await fleet.stop(unit)

    async def drain(self, unit: str, drain: bool) -> None:
        """Whoever else makes its Deployment smaller meanwhile takes this one first."""
        for fleet in self._fleets.values():
            await fleet.drain(unit, drain)

    def close(self, end: bool = False) -> None:
        """Nothing is held between two orders."""


def _place(spec: KubernetesSpec) -> tuple[str | None, ...]:
    return spec.deployment, spec.spot_deployment, spec.namespace, spec.kubeconfig, spec.context
