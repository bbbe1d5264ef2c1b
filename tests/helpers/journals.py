"""Journals for tests: a small world's story, and a simulated run, written as a gateway writes them."""

from pathlib import Path

from penstock import __version__
from penstock.config.scenarios import Policy
from penstock.core.effects import Effect
from penstock.core.events import Event, FleetSeen, Reconfigured
from penstock.core.spec import GateSpec
from penstock.drive.journal import FileSink, header
from penstock.drive.kernel import Kernel
from penstock.sim.run import Run
from penstock.workload.request import Request
from tests.helpers.world import World
from tests.sim.support import scenario

START_S = 1_700_000_000.0
TIME_S = 60.0


def write_story(
    path: Path, seed: int, version: str = __version__, max_bytes: int = 1 << 30, keep: int = 100, calls: int = 60
) -> list[tuple[float, Event, list[Effect]]]:
    """A story of failures, departures and reconfiguration; its turns."""
    kernel = Kernel(START_S + 1000 * seed)
    world = World(seed, kernel.clock, kernel.call_at, kernel.at)
    world.begin(calls, 12.0)
    kernel.run(kernel.clock() + TIME_S)
    sink = FileSink(path, header(version, seed, world.spec), max_bytes, keep)
    spec, replicas = world.spec, world.replicas
    for turn in world.journal.turns():
        sink.observe(*turn)
        if isinstance(turn[1], Reconfigured):
            spec = turn[1].spec
        elif isinstance(turn[1], FleetSeen):
            replicas = turn[1].replicas
        sink.head = header(version, seed, spec, replicas)
        if max_bytes < 1 << 30:
            assert sink.flush()
    sink.close()
    return world.journal.turns()


def write_run(path: Path, requests: list[Request], policy: Policy | None = None) -> None:
    """A simulated run over two quick replicas, as if it had been real."""
    made = scenario(**({} if policy is None else {"policy": policy}))
    run = Run(made, made.policy, requests, 1)
    sink = FileSink(path, header(__version__, 1, GateSpec(pools=(made.policy.pool(),))))
    run.watch = sink.observe
    run.go()
    sink.close()
