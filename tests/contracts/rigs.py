"""The worlds that actuators act on, for the suite that all of them keep to: processes, a cluster, nothing at all."""

import contextlib
import os
import shlex
import signal
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.adapters.actuators.deployment import KubernetesSpec
from penstock.adapters.actuators.dry_run import DryRunSpec
from penstock.adapters.actuators.kernel import PROC, Mark, lives
from penstock.adapters.actuators.process import ProcessActuator, Processes
from penstock.adapters.actuators.ray import RayActuator, RaySpec
from penstock.adapters.actuators.ray_agent import GUARD
from penstock.adapters.actuators.registry import actuator_of
from penstock.base.nouns import Unit
from penstock.base.ports import Actuator
from tests.adapters.actuators.programs import command, end_all, spec, until
from tests.helpers import ray_cluster
from tests.helpers.actuators import Obedient
from tests.helpers.kubernetes import DEPLOYMENT, SPOT, ApiServer


class Rig:
    """One kind of actuator, and the world that it acts on."""

    serves = True
    """Its replicas have addresses."""
    remembers = True
    """What it runs outlives it."""

    def __init__(self, folder: Path, pool: str) -> None:
        self.folder = folder
        self.pool = pool

    async def open(self) -> None:
        """The world begins."""

    async def close(self) -> None:
        """It ends, with all that runs in it."""

    def make(self) -> Actuator:
        """An actuator, as a gateway makes it when it starts."""
        raise NotImplementedError

    def kill(self, unit: str) -> None:
        """A replica goes, and nobody asked for it."""
        raise NotImplementedError

    async def add(self) -> None:
        """One more runs, and nobody here asked for it."""
        raise NotImplementedError

    def break_it(self) -> None:
        """What it needs to obey is taken away."""
        raise NotImplementedError

    async def count(self) -> int:
        """How many really run."""
        raise NotImplementedError


class WithProcesses(Rig):
    """Real ones."""

    def __init__(self, folder: Path, pool: str) -> None:
        super().__init__(folder, pool)
        self.made: ProcessActuator | None = None

    def make(self) -> Actuator:
        self.made = ProcessActuator(spec(self.folder, stop_s=5.0), self.pool)
        return self.made

    @property
    def processes(self) -> Processes:
        """Of the actuator that was made last."""
        assert self.made is not None
        return self.made.processes

    async def close(self) -> None:
        end_all(self.processes)

    def kill(self, unit: str) -> None:
        end_all(self.processes, unit)

    async def add(self) -> None:
        pytest.skip("a process of somebody else's is no replica of the pool")

    def break_it(self) -> None:
        self.processes.spec = spec(self.folder, cwd="/no/such/folder")

    async def count(self) -> int:
        return len(running(self.processes))


def running(made: Processes) -> list[str]:
    """Replicas whose processes live."""
    return [unit for unit, entry in made.ledger.units.items() if lives(Mark(entry.pid, entry.started))]


class WithKubernetes(Rig):
    """An API server stand-in, over real sockets."""

    def __init__(self, folder: Path, pool: str) -> None:
        super().__init__(folder, pool)
        self.server = ApiServer()
        self.config = ""

    async def open(self) -> None:
        await self.server.__aenter__()
        self.config = self.server.kubeconfig(self.folder)

    async def close(self) -> None:
        await self.server.__aexit__()

    def make(self) -> Actuator:
        return actuator_of(
            KubernetesSpec(deployment=DEPLOYMENT, spot_deployment=SPOT, kubeconfig=self.config), self.pool
        )

    def kill(self, unit: str) -> None:
        (name,) = [
            name for name, pod in self.server.pods.items()
            if pod["metadata"].get("annotations", {}).get("penstock/unit") == unit
        ]  # fmt: skip
        self.server.set_status(name, {"phase": "Failed", "reason": "Evicted"})

    async def add(self) -> None:
        self.server.scale(self.server.replicas + 1)

    def break_it(self) -> None:
        self.server.token = "another"

    async def count(self) -> int:
        return len([pod for pod in self.server.pods.values() if pod["status"]["phase"] == "Running"])


class WithRay(Rig):
    """A real Ray cluster of several nodes, which this machine plays."""

    def __init__(self, folder: Path, pool: str) -> None:
        super().__init__(folder, f"{pool} {folder.name}")
        self.made: list[RayActuator] = []

    async def open(self) -> None:
        ray_cluster.address()

    def make(self) -> RayActuator:
        words = f"{command()} {{unit}} {shlex.quote(str(self.folder))}"
        self.made.append(RayActuator(RaySpec(command=words, address=ray_cluster.address(), cpus=0.1), self.pool))
        return self.made[-1]

    async def close(self) -> None:
        last = self.make()
        while units := await last.look(20.0):
            for unit in units:
                await last.stop(unit.id)
        last.close()

    def _running(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for entry in PROC.iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_text().split("\0") if entry.name.isdecimal() else []
                if str(self.folder) in words and GUARD not in words:
                    found[words[words.index(str(self.folder)) - 1]] = int(entry.name)
        return found

    def kill(self, unit: str) -> None:
        until(lambda: unit in self._running(), "its process, which its guard begins")
        os.kill(self._running()[unit], signal.SIGKILL)

    async def add(self) -> None:
        other = self.make()
        await other.start("somebody")
        while all(unit.id != "somebody" or unit.state != "running" for unit in await other.look(20.0)):
            pass
        other.close()

    def break_it(self) -> None:
        agent = self.made[-1].agent
        agent.end()
        agent.spec = replace(agent.spec, address="127.0.0.1:1", connect_s=1.0)

    async def count(self) -> int:
        return len(self._running())


class DryRig(Rig):
    """None at all."""

    serves = remembers = False

    def make(self) -> Actuator:
        return actuator_of(DryRunSpec(), self.pool)

    def kill(self, unit: str) -> None:
        pytest.skip("what does not run cannot go")

    async def add(self) -> None:
        pytest.skip("nobody else does as if")

    def break_it(self) -> None:
        pytest.skip("it needs nothing")

    async def count(self) -> int:
        return 0


class Fake(Rig):
    """What our tests take for one."""

    remembers = False

    def make(self) -> Actuator:
        self.made = Obedient()
        return self.made

    def kill(self, unit: str) -> None:
        self.made.units[unit] = Unit(id=unit, state="ended", detail="killed")

    async def add(self) -> None:
        self.made.units["somebody"] = Unit(id="somebody", state="running", url="http://somebody")

    def break_it(self) -> None:
        self.made.fails = OSError("broken")

    async def count(self) -> int:
        return len(self.made.units)


NO_RAY = pytest.mark.skipif(not ray_cluster.installed(), reason="ray is not installed: pip install 'penstock[ray]'")
KINDS = [WithProcesses, WithKubernetes, pytest.param(WithRay, marks=NO_RAY), DryRig, Fake]
