"""A Deployment as a pool's replicas: who is who, who goes, and what happens when others act at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.actuators.deployment import Deployment, KubernetesSpec
from penstock.adapters.actuators.pods import COST, DRAINS_COST, ENDS_COST, STOPPING, UNIT
from penstock.adapters.kubernetes.client import Cluster
from penstock.base.nouns import Unit
from tests.helpers.kubernetes import DEPLOYMENT, ApiServer, cluster
from tests.helpers.wire import run

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD, FOURTH = (f"{DEPLOYMENT}-5d9f-{number}" for number in (1, 2, 3, 4))
Main = Callable[[ApiServer, Deployment], Awaitable[None]]


def acted(folder: Path, main: Main, **fields: Any) -> None:
    """Do this with a server and an actuator."""

    async def bounded() -> None:
        async with cluster(folder) as (server, config):
            await main(server, deployment(spec(config, **fields)))

    run(bounded)


def spec(config: str, **fields: Any) -> KubernetesSpec:
    """A description with this kubeconfig."""
    return KubernetesSpec(deployment=DEPLOYMENT, kubeconfig=config, **fields)


def deployment(given: KubernetesSpec) -> Deployment:
    """One, as a gateway makes it when it starts."""
    cluster = Cluster(given.namespace, given.kubeconfig, given.context)
    return Deployment(given, given.deployment, cluster, "p-found", "on_demand")


def notes(server: ApiServer, pod: str) -> dict[str, str]:
    """A pod's annotations."""
    found: dict[str, str] = server.pods[pod]["metadata"].get("annotations", {})
    return found


async def states(actuator: Deployment) -> dict[str, str]:
    """Replica -> state, after a look."""
    return {unit.id: unit.state for unit in await actuator.look(5.0)}


def test_what_is_ordered_is_starting_until_it_has_an_address(tmp_path: Path) -> None:
    """In the scale, then a pod without an address, then one with: one replica throughout, named on its pod."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        server.controls = server.runs_pods = False
        await actuator.start("p-1")
        assert await states(actuator) == {"p-1": "starting"}
        server.control()
        assert await states(actuator) == {"p-1": "starting"}
        assert notes(server, FIRST)[UNIT] == "p-1"
        server.run_pod(FIRST)
        (unit,) = await actuator.look(5.0)
        assert unit == Unit(id="p-1", state="running", url="http://127.0.1.1:8000")
        assert server.replicas == 1

    acted(tmp_path, main)


def test_readiness_may_be_waited_for(tmp_path: Path) -> None:
    """With `wait_ready` a pod counts once it was ready; that it is unready for a moment later is the probes' matter."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        server.runs_pods = False
        await actuator.start("p-1")
        address = {"phase": "Running", "podIP": "10.0.0.1"}
        server.set_status(FIRST, address)
        assert await states(actuator) == {"p-1": "starting"}
        server.run_pod(FIRST)
        assert await states(actuator) == {"p-1": "running"}
        server.set_status(FIRST, address)
        assert await states(actuator) == {"p-1": "running"}

    acted(tmp_path, main, wait_ready=True)


def test_one_that_has_not_come_can_be_stopped(tmp_path: Path) -> None:
    """What is only in the scale goes from the scale; a pod that loads is chosen like any other."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        server.controls = server.runs_pods = False
        await actuator.start("p-1")
        await actuator.start("p-2")
        await actuator.stop("p-2")
        assert (server.replicas, await states(actuator)) == (1, {"p-1": "starting"})
        server.controls = True
        server.control()
        await actuator.look(5.0)
        await actuator.stop("p-1")
        assert (server.replicas, await states(actuator)) == (0, {})

    acted(tmp_path, main)


def test_a_draining_one_is_cheaper_than_others(tmp_path: Path) -> None:
    """Whoever makes the Deployment smaller takes the one that drains; one that is taken back costs what it did."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        for number in (1, 2, 3):
            await actuator.start(f"p-{number}")
        await actuator.look(5.0)
        await actuator.drain("p-2", True)
        assert notes(server, SECOND)[COST] == DRAINS_COST
        await actuator.drain("p-2", False)
        assert COST not in notes(server, SECOND)
        await actuator.drain("p-1", True)
        server.scale(2)
        assert await states(actuator) == {"p-2": "running", "p-3": "running"}

    acted(tmp_path, main)


def test_costs_of_others_are_left_alone(tmp_path: Path) -> None:
    """A cost that somebody else has set stays, until the replica is told to end."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        server.lingers = True
        await actuator.start("p-1")
        server.pods[FIRST]["metadata"]["annotations"] = {COST: "7"}
        await actuator.look(5.0)
        assert notes(server, FIRST)[COST] == "7"
        await actuator.stop("p-1")
        assert notes(server, FIRST)[COST] == ENDS_COST
        assert await states(actuator) == {"p-1": "stopping"}
        server.bury(FIRST)
        assert await states(actuator) == {}

    acted(tmp_path, main)


def test_where_another_went_the_chosen_one_goes_all_the_same(tmp_path: Path) -> None:
    """Kubernetes ends who is not ready before it looks at costs. Then the chosen one is deleted, and the one that was
    lost is made anew: in the end there are as many as were wanted, and not the chosen one."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        await actuator.start("p-1")
        server.runs_pods = False
        await actuator.start("p-2")
        assert await states(actuator) == {"p-1": "running", "p-2": "starting"}
        await actuator.stop("p-1")
        assert list(server.pods) == [FIRST]  # the one that loaded was taken
        shown = await states(actuator)
        assert shown.pop("p-1") == "stopping"
        assert list(shown.values()) == ["starting"]
        assert list(server.pods) == [THIRD]
        assert await states(actuator) == shown
        assert notes(server, THIRD)[UNIT] == next(iter(shown))
        assert server.replicas == 1

    acted(tmp_path, main)


def test_one_stops_while_another_starts(tmp_path: Path) -> None:
    """The scale is what it was, so Kubernetes would end nobody: the chosen one is deleted, and its place is filled."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        await actuator.start("p-1")
        await actuator.look(5.0)
        server.controls = False
        await actuator.stop("p-1")
        await actuator.start("p-2")
        server.controls = True
        assert await states(actuator) == {"p-1": "stopping", "p-2": "starting"}
        assert await states(actuator) == {"p-2": "running"}
        assert (list(server.pods), server.replicas) == ([SECOND], 1)

    acted(tmp_path, main)


def test_what_was_ordered_before_a_restart_is_not_ordered_twice(tmp_path: Path) -> None:
    """A gateway that dies after it raised the scale: the next one shows what is to come, under a name of its own, and
    the pod keeps it."""

    async def main(server: ApiServer, first: Deployment) -> None:
        server.controls = False
        await first.start("p-1")
        second = deployment(first.spec)
        assert await states(second) == {"p-found-1": "starting"}
        server.control()
        assert await states(second) == {"p-found-1": "running"}
        assert await states(deployment(first.spec)) == {"p-found-1": "running"}
        assert server.replicas == 1

    acted(tmp_path, main)


def test_pods_that_were_there_before_are_adopted(tmp_path: Path) -> None:
    """By their own names, which they keep however many are ordered beside."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        server.scale(2)
        await actuator.start("p-1")
        assert await states(actuator) == {FIRST: "running", SECOND: "running", "p-1": "running"}
        await actuator.stop(FIRST)
        assert await states(actuator) == {SECOND: "running", "p-1": "running"}

    acted(tmp_path, main)


def test_one_that_vanished_is_made_anew_by_the_deployment(tmp_path: Path) -> None:
    """It is gone, and what comes in its place is shown as one more that comes, so that nobody orders another."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        await actuator.start("p-1")
        await actuator.look(5.0)
        server.controls = False
        server.delete_pod(FIRST)
        assert await states(actuator) == {"p-found-1": "starting"}
        server.control()
        assert await states(actuator) == {"p-found-1": "running"}

    acted(tmp_path, main)


def test_somebody_else_makes_it_smaller(tmp_path: Path) -> None:
    """What was ordered and will not come any more is not shown any more; its order may come again."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        server.controls = False
        await actuator.start("p-1")
        await actuator.start("p-2")
        server.scale(1)
        assert await states(actuator) == {"p-1": "starting"}
        server.scale(0)
        assert await states(actuator) == {}

    acted(tmp_path, main)


def test_one_that_crashes_over_and_over_has_ended(tmp_path: Path) -> None:
    """Its reason is told, and a stop makes the Deployment smaller by this one."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        await actuator.start("p-1")
        await actuator.start("p-2")
        await actuator.look(5.0)
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s"}
        container = {
            "name": "vllm", "image": "vllm", "imageID": "", "ready": False, "restartCount": 3,
            "state": {"waiting": waiting}, "lastState": {"terminated": {"exitCode": 1}},
        }  # fmt: skip
        server.set_status(FIRST, {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [container]})
        (unit,) = [unit for unit in await actuator.look(5.0) if unit.id == "p-1"]
        assert unit.state == "ended"
        assert unit.detail == "its container waits: CrashLoopBackOff (back-off 40s, it ended with status 1)"
        await actuator.stop("p-1")
        assert (await states(actuator), server.replicas) == ({"p-2": "running"}, 1)

    acted(tmp_path, main)


def test_scales_that_somebody_else_changes(tmp_path: Path) -> None:
    """A change meets another one: it is made on top of it. Where that never ends it is told, and not made."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        server.conflicts = 2
        await actuator.start("p-1")
        assert server.replicas == 1
        server.conflicts = 9
        with pytest.raises(OSError, match="somebody else keeps changing its scale"):
            await actuator.start("p-2")
        assert (server.replicas, await states(actuator)) == (1, {"p-1": "running"})

    acted(tmp_path, main)


@pytest.mark.parametrize("question", ["get deployments/scale", "list pods", "patch pods", "patch deployments/scale"])
def test_any_question_may_fail(question: str, tmp_path: Path) -> None:
    """Wherever an order fails it says so, and given once more it is done, once."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        await actuator.start("p-1")
        await actuator.start("p-2")
        await actuator.look(5.0)
        server.refuses[question] = (503, "try later")
        with pytest.raises(OSError, match="503: try later"):
            await actuator.stop("p-1")
        await actuator.stop("p-1")
        assert (await states(actuator), server.replicas) == ({"p-2": "running"}, 1)

    acted(tmp_path, main)


def test_the_mark_may_fail(tmp_path: Path) -> None:
    """The scale is smaller, but the pod was not marked: the order once more makes it no smaller, and marks it."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        await actuator.start("p-1")
        await actuator.start("p-2")
        await actuator.look(5.0)
        server.controls = False
        server.refuses_changes_of = STOPPING
        with pytest.raises(OSError, match="503: try later"):
            await actuator.stop("p-1")
        assert (server.replicas, STOPPING in notes(server, FIRST)) == (1, False)
        await actuator.stop("p-1")
        assert (server.replicas, STOPPING in notes(server, FIRST)) == (1, True)
        server.control()
        assert await states(actuator) == {"p-2": "running"}

    acted(tmp_path, main)


def test_pods_that_go_meanwhile(tmp_path: Path) -> None:
    """A pod that is gone between a list and a change is no failure."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        server.controls = False
        await actuator.start("p-1")
        server.control()
        server.refuses["patch pods"] = (404, "not found")
        assert await states(actuator) == {FIRST: "running"}
        await actuator.stop(FIRST)
        server.refuses["delete pods"] = (404, "not found")
        server.scale(1)
        assert (await states(actuator))[FIRST] == "stopping"

    acted(tmp_path, main)


def test_a_silent_server_costs_its_time_only(tmp_path: Path) -> None:
    """Orders end with their time, and so do looks that wait behind them."""

    async def main(server: ApiServer, actuator: Deployment) -> None:
        await actuator.look(5.0)
        server.silent = True
        order = asyncio.get_running_loop().create_task(actuator.start("p-1"))
        with pytest.raises(TimeoutError):
            await actuator.look(0.05)
        with pytest.raises(TimeoutError):
            await order

    acted(tmp_path, main, order_s=0.2)
