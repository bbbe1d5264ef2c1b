"""Readings: GPUs every five seconds, late or not at all where a fault says so; and routing that reads them."""

from typing import Any

from penstock.config.scenarios import GpuOutage, Gpus, Group, Network, Policy, RegionDark
from penstock.core.effects import Send
from penstock.core.events import Event, Metered
from penstock.core.route.presets import GpuAware
from penstock.drive.kernel import Kernel
from penstock.sim.cloud import Cloud
from penstock.sim.run import Run
from tests.sim.support import request, scenario, steady

HOT = Gpus(idle_c=90.0, busy_c=95.0)


class Room:
    """One engine whose GPU is read, and what is told of it."""

    def __init__(self, **fields: Any) -> None:
        self.kernel = Kernel()
        self.heard: list[tuple[float, Metered]] = []
        group = Group(cost="demo", gpus=Gpus(), **fields)
        self.cloud = Cloud((group,), Network(round_trip_s=0.0), self.kernel, self._tell)
        self.engine = self.cloud.engines["r0"]

    def _tell(self, event: Event) -> None:
        if isinstance(event, Metered):
            self.heard.append((self.kernel.clock(), event))

    def used(self) -> list[tuple[float, float | None]]:
        """When which utilisation was told."""
        return [(at, event.gpus[0].utilisation) for at, event in self.heard]


def send(room: Room, output_tokens: int) -> None:
    """A request that keeps the engine busy for a while."""
    order = Send("c", 1, "r0", "model", 5.0, 600.0, 600.0, 0.0)
    room.engine.submit(order, request(0.0, 100, output_tokens), 0)


def test_a_look_every_five_seconds_tells_how_busy_it_was() -> None:
    """Idle, then busy with one long answer, then dead: no steps, and no model in its memory."""
    room = Room()
    room.kernel.run(5.0)
    send(room, 2000)
    room.kernel.run(10.0)
    room.engine.die()
    room.kernel.run(15.0)
    assert [at for at, _ in room.heard] == [5.0, 10.0, 15.0]
    idle, busy, dead = (event.gpus[0] for _, event in room.heard)
    assert (idle.utilisation, dead.utilisation, dead.memory_used_bytes) == (0.0, 0.0, 0)
    assert busy.utilisation is not None
    assert busy.utilisation > 0.9
    assert idle.memory_used_bytes == 16_000_000_000
    assert (busy.memory_used_bytes or 0) > 16_000_000_000
    assert idle.temperature_c is not None
    assert busy.temperature_c is not None
    assert busy.temperature_c > idle.temperature_c


def test_in_an_outage_nothing_comes_and_a_lag_is_told_late() -> None:
    """No reading from 4 s to 12 s; and from 14 s on what is told is ten seconds old."""
    room = Room()
    room.cloud.plan((GpuOutage(at_s=4.0, for_s=8.0), GpuOutage(at_s=14.0, lag_s=10.0)))
    send(room, 400)
    room.kernel.run(30.0)
    told = room.used()
    assert [at for at, _ in told] == [15.0, 20.0, 25.0, 30.0]
    assert told[0][1] == 1.0  # of 5 s: the engine was busy then, and is idle now
    assert told[-1][1] == 0.0


def test_nobody_reads_gpus_of_a_region_that_is_dark() -> None:
    """Its engines go on; nothing is told of them until it can be reached again."""
    room = Room(region="eu")
    room.cloud.plan((RegionDark(at_s=4.0, for_s=8.0, region="eu"),))
    room.kernel.run(16.0)
    assert [at for at, _ in room.heard] == [15.0]


def test_nothing_is_read_where_nobody_said_so() -> None:
    """Without `gpus` there is no such fact at all."""
    run = Run(scenario(), scenario().policy, steady(400, 0.05), 1)
    seen: list[Event] = []
    run.watch = lambda now, event, orders: seen.append(event)
    run.go()
    assert not [event for event in seen if isinstance(event, Metered)]


def test_gpu_aware_leaves_a_hot_replica_alone_while_it_can_read_it() -> None:
    """Of two replicas one is beyond the limit of heat: from the first reading on it gets nothing. With no readings it
    gets its share."""
    shares = {}
    for name, faults in (("read", ()), ("unread", (GpuOutage(at_s=0.0),))):
        made = scenario(
            fleet=(Group(cost="fast", seats=4, gpus=Gpus()), Group(cost="fast", seats=4, gpus=HOT)),
            policy=Policy(strategy=GpuAware()), faults=faults,
        )  # fmt: skip
        result = Run(made, made.policy, steady(400, 0.1), 1).go().result
        assert result.ok == 400
        shares[name] = result.replicas["r1"] / 400
    assert shares["read"] < 0.15 < shares["unread"]
