"""How a fleet stood a test: each number from rows, decisions and looks with literal times."""

from typing import Any

import pytest

from penstock.base.nouns import CallRow
from penstock.config.clients import Greedy
from penstock.config.scenarios import Die, Scale, Scenario
from penstock.core.scale.record import Decision
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.drive.kernel import Kernel
from penstock.sim.run import Run
from penstock.sim.stress import EVERY_S, MEANINGS, NUMBERS, SHOWN, Latencies, Stress, Watcher
from penstock.workload.combine import Merge, Trace
from tests.sim.support import scenario, steady

START = 1.0


class World:
    """A watcher, and what it looks at."""

    def __init__(self, **fields: Any) -> None:
        self.kernel = Kernel()
        self.ready = 4
        self.watcher = Watcher(
            scenario(**fields), self.kernel, START, self.window, lambda: (self.ready, 2.0 * self.ready)
        )

    def window(self) -> Window:
        """So many are ready."""
        seen = [ReplicaSeen(id=str(at), well=at < self.ready, loading=False, in_flight=0, seats=4) for at in range(4)]
        return Window(queued=7, replicas=tuple(seen))

    def until(self, second: float) -> None:
        """Time passes up to so many seconds after the workload's start."""
        self.kernel.run(START + second)

    def ended(self, second: float, latency_s: float = 1.0, outcome: str = "ok", tenant: str = "a") -> None:
        """A request ends then."""
        self.until(second)
        self.watcher.over(row(latency_s, outcome, tenant))

    def decided(self, second: float, was: int, wanted: int, alarm: str = "") -> None:
        """A decision is made then."""
        self.until(second)
        self.watcher.decided(
            Decision(pool="sim", at=0.0, was=was, wanted=wanted, recommended=wanted, reason="", bounds=(), alarm=alarm)
        )

    def stress(self) -> Stress:
        """After a run of a thousand seconds."""
        return self.watcher.stress(1000.0)


def row(latency_s: float, outcome: str, tenant: str) -> CallRow:
    """A call that is over."""
    return CallRow(
        id="c", client_id="", at=0.0, tenant=tenant, key="", model="m", path="", pool="sim", replica="r0",
        outcome=outcome, status=200 if outcome == "ok" else 504, stream=True, priority=2, attempts=1,
        latency_s=latency_s, ttft_s=0.1, queue_s=0.0, usage=None, relayed_tokens=1,
    )  # fmt: skip


def test_what_failed_took_the_whole_run() -> None:
    """The 95th percentile counts failures as never: at one in twenty it is a time, above that the whole run."""
    some = Latencies()
    for _ in range(19):
        some.add(1.0, True)
    some.add(0.1, False)
    assert some.p95_s(500.0) == pytest.approx(1.0, rel=0.01)
    some.add(0.1, False)
    assert some.p95_s(500.0) == 500.0
    assert Latencies().p95_s(500.0) == 0.0


def test_the_worst_minute() -> None:
    """A minute is judged by what ended in it; the whole run hides one bad minute, the worst of all does not."""
    world = World()
    for second in range(1, 120):
        world.ended(float(second), 1.0)
    world.ended(130.0, 9.0)
    stress = world.stress()
    assert stress.latency_p95_s == pytest.approx(1.0, rel=0.01)
    assert stress.minute_p95_worst_s == pytest.approx(9.0, rel=0.01)


def test_first_answer_and_failed_share() -> None:
    """Counted from the first arrival; who is refused has no answer."""
    world = World()
    world.ended(2.0, 1.0, "queue_full")
    world.ended(9.0, 6.0)
    stress = world.stress()
    assert stress.first_answer_s == pytest.approx(8.0)
    assert stress.failed_share == 0.5
    assert World().stress().first_answer_s == 1000.0


def test_after_a_fault() -> None:
    """The last failure after it, the share of failures in its first minute, and failures before it do not count."""
    world = World(faults=(Die(at_s=10.0, replicas=(0,)),))
    world.ended(5.0, outcome="queue_full")
    world.ended(12.0, outcome="connect_refused")
    world.ended(13.0)
    world.ended(75.0, outcome="connect_refused")
    stress = world.stress()
    assert stress.failover_s == pytest.approx(65.0)
    assert stress.storm_failed_share == 0.5
    assert World(faults=(Die(at_s=10.0),)).stress().failover_s == 0.0


def test_capacity_is_back() -> None:
    """When as many are ready again as before the fault; never, where they are not; at once, where none was missing."""
    world = World(faults=(Die(at_s=10.0, replicas=(0,)),))
    world.watcher.begin()
    world.until(10.5)
    world.ready = 2
    world.until(20.0)
    assert world.stress().capacity_back_s == 1000.0
    world.ready = 4
    world.until(40.0)
    assert world.stress().capacity_back_s == pytest.approx(11.0)
    calm = World(faults=(Die(at_s=10.0, replicas=(0,)),))
    calm.watcher.begin()
    calm.until(40.0)
    assert calm.stress().capacity_back_s == 0.0


def test_growth_and_changes_of_direction() -> None:
    """The first growth, each turn, turns within the calm alone, and alarms."""
    world = World(calm_s=100.0)
    world.ended(1.0, 1.0)
    world.decided(20.0, 4, 8)
    world.decided(40.0, 8, 8)
    world.decided(60.0, 8, 6, alarm="too many")
    world.decided(120.0, 6, 9)
    world.decided(130.0, 9, 12)
    assert world.stress().calm_reversals == 0
    world.decided(140.0, 12, 11)
    stress = world.stress()
    assert stress.first_scale_s == pytest.approx(20.0)
    assert (stress.reversals, stress.calm_reversals, stress.alarms) == (3, 1, 1)
    assert World().stress().first_scale_s == 1000.0


def test_calm() -> None:
    """Only what came after it counts, not what ended after it."""
    world = World(calm_s=100.0)
    world.ended(101.0, 5.0, "queue_timeout")
    world.ended(120.0, 2.0)
    stress = world.stress()
    assert stress.calm_failed == 0
    assert stress.calm_p95_s == pytest.approx(2.0, rel=0.01)
    world.ended(130.0, 2.0, "queue_timeout")
    assert world.stress().calm_failed == 1


def test_the_others() -> None:
    """All tenants but the greedy one, by arrival while it is greedy."""
    greedy = Greedy(tenant="g", at_s=10.0, for_s=20.0)
    world = World(greedy=greedy, workload=Merge(of=(Trace(file="azure"), Trace(file="azure"))))
    world.ended(9.0, 1.0)
    world.ended(15.0, 3.0)
    world.ended(16.0, 9.0, tenant="g")
    world.ended(17.0, 3.0, "queue_timeout", tenant="g")
    world.ended(40.0, 1.0)
    stress = world.stress()
    assert stress.others_p95_s == pytest.approx(3.0, rel=0.01)
    assert stress.others_failed == 0


def test_the_course_is_bounded() -> None:
    """Peaks are of every second; the picture has ever fewer moments of a long run, and begins where it began."""
    world = World()
    world.watcher.begin()
    world.until(5.0 * SHOWN * EVERY_S)
    stress = world.stress()
    assert SHOWN <= len(stress.course) < 2 * SHOWN
    assert stress.course[0].at_s == -START
    assert (stress.replicas_peak, stress.ready_peak, stress.hourly_cost_peak) == (4, 4, 8.0)
    assert stress.course[1].queued == 7


def test_every_number_has_a_meaning() -> None:
    """The reference page can tell each of them."""
    assert tuple(MEANINGS) == NUMBERS


def watched(made: Scenario, watch: bool) -> Any:
    """A run, with or without somebody who watches."""
    run = Run(made, made.policy, steady(200), 1)
    return (run.watched(made) if watch else run).go(digest=True)


@pytest.mark.slow
def test_watching_changes_nothing() -> None:
    """A run that is watched has the same facts and orders, to the last one, and the same numbers of requests."""
    made = scenario(scale=Scale(min=1, max=4))
    plain, seen = watched(made, False), watched(made, True)
    assert plain.journal == seen.journal
    assert plain.stress is None
    assert seen.stress.failed_share == 0.0
    assert seen.stress.ready_peak >= 2
