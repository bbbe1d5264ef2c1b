"""What flows through a pool: calls that come in a second, and how long they take in all."""

import pytest

from penstock.base.nouns import CallRow
from penstock.core.effects import Effect, Record
from penstock.core.events import Began, Ended, Event, Woke
from penstock.core.scale.flow import SLOT_S, Flow, needs_flow
from penstock.core.scale.spec import P95Target, RpsTarget, Targets, TtftTarget
from penstock.core.scale.window import Window
from tests.core.playbook import arrived, fleet, gate
from tests.core.scale.pools import seen, window


def record(
    latency_s: float = 1.0, pool: str = "main", outcome: str = "ok", attempts: int = 1, queue_s: float = 0.0
) -> Record:
    """A call is over."""
    row = CallRow(
        "c", "", 0.0, "t", "k", "m", "/", pool, "r", outcome, 200, True, 0, attempts, latency_s, 0.1, queue_s, None, 0
    )  # fmt: skip
    return Record(row)


class Rig:
    """A flow that watches the pool `main`."""

    def __init__(self) -> None:
        self.flow = Flow()
        self.flow.watch(["main"])

    def over(self, now: float, *records: Record) -> None:
        """These calls are over."""
        self.flow.observe(now, Woke(), list[Effect](records))

    def look(self, now: float, queued: int = 0, in_flight: int = 0) -> Window:
        """A look at the pool."""
        return self.flow.fill("main", window(seen("a", in_flight), queued=queued), now)


@pytest.mark.parametrize(
    ("targets", "needed"),
    [(Targets(), False), (Targets(ttft=TtftTarget()), False), (Targets(rps=RpsTarget(target=1.0)), True),
     (Targets(p95=P95Target()), True)],
)  # fmt: skip
def test_who_needs_it(targets: Targets, needed: bool) -> None:
    """Two targets do; without them nobody pays for reading every turn."""
    assert needs_flow(targets) is needed


def test_calls_that_came() -> None:
    """Those that are over and those that are here, over the last minute and since the last look; the first look knows
    nothing yet."""
    rig = Rig()
    assert rig.look(0.0).rps is rig.look(0.0).rps_now is None
    found = rig.look(10.0, queued=30, in_flight=10)
    assert (found.rps, found.rps_now) == (4.0, 4.0)
    rig.over(12.0, *[record()] * 20)
    found = rig.look(20.0, queued=20, in_flight=10)
    assert (found.rps, found.rps_now) == (2.5, 1.0)
    found = rig.look(70.0, queued=20, in_flight=10)  # since the look at 10 s
    assert (found.rps, found.rps_now) == (10 / 60, 0.0)


def test_a_rate_is_of_the_last_minute() -> None:
    """What came before is forgotten, and after a long silence it begins anew."""
    rig = Rig()
    for now in range(0, 300, 2):
        rig.over(now, *[record()] * (8 if now < 150 else 2))
        found = rig.look(float(now))
        if now in (148, 298):
            assert found.rps == (4.0 if now < 150 else 1.0)
    assert rig.look(1000.0).rps is None


def test_a_replica_that_left_with_its_calls() -> None:
    """Calls that are seen no more and not over yet are no negative rate."""
    rig = Rig()
    rig.look(0.0, in_flight=50)
    found = rig.look(2.0, in_flight=0)
    assert (found.rps, found.rps_now) == (0.0, 0.0)


def test_the_quantile() -> None:
    """What 95 % of the last minute's calls kept, to the width of a bucket, and of how many calls that is."""
    rig = Rig()
    assert (rig.look(0.0).p95_s, rig.look(0.0).answers) == (None, 0)
    rig.over(1.0, *(record(float(number)) for number in range(1, 101)))
    found = rig.look(1.0)
    assert found.p95_s is not None
    assert (95.0 <= found.p95_s <= 95.0 * 1.1, found.answers) == (True, 100)
    rig.over(1.0 + 3 * SLOT_S, *[record(0.5)] * 300)
    lately = rig.look(1.0 + 6 * SLOT_S)
    assert lately.p95_s is not None
    assert (0.5 <= lately.p95_s <= 0.55, lately.answers) == (True, 300)
    assert rig.look(1e6).answers == 0


def test_who_counts() -> None:
    """A call that failed or waited in vain counts with its time; who is sent away at once is load, and no quick answer;
    a client's mistake and a limit are neither."""
    rig = Rig()
    rig.look(0.0)
    rig.over(
        1.0, record(30.0, outcome="queue_timeout", attempts=0, queue_s=30.0), record(outcome="upstream_5xx"),
        record(0.0, outcome="queue_full", attempts=0), record(0.0, outcome="request_limit", attempts=0),
        record(0.0, outcome="bad_request", attempts=0), record(2.0, outcome="client_gone", attempts=0, queue_s=2.0),
        record(pool="other"),
    )  # fmt: skip
    found = rig.look(1.0)
    assert (found.rps_now, found.answers) == (4.0, 2)


def test_only_who_is_watched() -> None:
    """Another pool's window is left as it is, and what is known of one that goes on being watched stays."""
    rig = Rig()
    rig.over(0.0, record())
    rig.flow.watch(["main", "more"])
    assert rig.look(0.0).answers == 1
    assert rig.flow.fill("other", window(), 0.0) == window()
    rig.flow.watch([])
    assert not rig.flow.watching


def test_over_a_gate() -> None:
    """It reads the turns of the Gate as they are: one call, from its arrival to the end of its answer."""
    made, flow = gate(), Flow()
    flow.watch(["main"])
    facts: list[tuple[Event, float]] = [
        (fleet("a"), 0.0),
        (arrived("c"), 1.0),
        (Began("c", 1), 2.0),
        (Ended("c", 1, 200, None), 5.0),
    ]
    for fact, now in facts:
        flow.observe(now, fact, made.on(fact, now))
    found = made.window("main", 6.0)
    assert found is not None
    filled = flow.fill("main", found, 6.0)
    assert filled.p95_s is not None
    assert (4.0 <= filled.p95_s <= 4.4, filled.answers) == (True, 1)
