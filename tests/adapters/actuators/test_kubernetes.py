"""Two Deployments, one on demand and one of spot, as one pool's replicas."""

from pathlib import Path

import pytest

from penstock.adapters.actuators.deployment import KubernetesSpec
from penstock.adapters.actuators.kubernetes import KubernetesActuator
from tests.helpers.kubernetes import DEPLOYMENT, cluster
from tests.helpers.wire import run

pytestmark = pytest.mark.slow

SPOT = f"{DEPLOYMENT}-spot"


def test_spot_replicas_are_another_deployments(tmp_path: Path) -> None:
    """Each is started where it belongs, shown with how it is had, and stopped where it is."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            spec = KubernetesSpec(deployment=DEPLOYMENT, spot_deployment=SPOT, kubeconfig=config)
            actuator = KubernetesActuator(spec, "p")
            await actuator.start("p-1")
            await actuator.start("p-2", "spot")
            assert {unit.id: unit.purchase for unit in await actuator.look(5.0)} == {"p-1": "on_demand", "p-2": "spot"}
            assert server.scales == {DEPLOYMENT: 1, SPOT: 1}
            await actuator.drain("p-2", True)
            await actuator.stop("p-2")
            assert [unit.id for unit in await actuator.look(5.0)] == ["p-1"]
            assert server.scales == {DEPLOYMENT: 1, SPOT: 0}
            server.scale(1, SPOT)
            assert {unit.purchase for unit in await actuator.look(5.0)} == {"on_demand", "spot"}

    run(main)


def test_without_a_deployment_for_spot(tmp_path: Path) -> None:
    """An order for a spot replica is refused, with what is missing."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            actuator = KubernetesActuator(KubernetesSpec(deployment=DEPLOYMENT, kubeconfig=config), "p")
            with pytest.raises(OSError, match="set `spot_deployment`"):
                await actuator.start("p-1", "spot")
            assert server.scales[DEPLOYMENT] == 0

    run(main)


def test_new_settings(tmp_path: Path) -> None:
    """Ports and the like hold at once; another Deployment or cluster needs a restart."""

    async def main() -> None:
        async with cluster(tmp_path) as (_, config):
            actuator = KubernetesActuator(KubernetesSpec(deployment=DEPLOYMENT, kubeconfig=config), "p")
            await actuator.start("p-1")
            new = KubernetesSpec(deployment=DEPLOYMENT, kubeconfig=config, port=9, scheme="https")
            assert actuator.respec(new)
            assert (await actuator.look(5.0))[0].url == "https://127.0.1.1:9"
            assert not actuator.respec(KubernetesSpec(deployment="another", kubeconfig=config))
            assert not actuator.respec(KubernetesSpec(deployment=DEPLOYMENT, kubeconfig="elsewhere"))
            assert not actuator.respec(KubernetesSpec(deployment=DEPLOYMENT, kubeconfig=config, spot_deployment="s"))
            assert actuator.spec == new

    run(main)
