"""What holds of calls that go together, whatever happens: each ends once, alone or with others, and nothing is left."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.errors import Label
from penstock.base.nouns import Call, Replica, Usage
from penstock.base.rand import Rand
from penstock.core.effects import Cancel, Carry, Effect, Record, Refuse, Send
from penstock.core.events import Arrived, Began, ClientGone, Ended, Event, Failed, FleetSeen, Reconfigured, Woke
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec
from penstock.core.spec import BatchingSpec, ExplainSpec, GateSpec, QueueSpec, RetrySpec
from tests.core.playbook import pool
from tests.properties.drawn import UPSTREAM

Step = tuple[str, int, int]
LABELS: list[Label] = [*UPSTREAM, "bad_request"]
LIMITS = LimitsSpec(tenants={"t0": AllowanceSpec(concurrency=4, tokens_per_minute=900, over_limit="queue", wait_s=2.0)})


def settings_of(number: int) -> GateSpec:
    """A few that differ in all that matters to groups."""
    batching = (BatchingSpec(size=3), BatchingSpec(size=2, wait_s=1.0), None)[number % 3]
    queue = QueueSpec(timeout_s=3.0, max=4, unavailable_wait_s=1.0, waiting_room_s=1.0)
    one = pool(batching=batching, queue=queue, retries=RetrySpec(attempts=2, jitter=0.0))
    return GateSpec(
        pools=(one,), max_waiting=6, limits=LIMITS if number % 2 else None, explain=ExplainSpec(calls=5 * (number % 2))
    )


class World:
    """Tells the Gate what it is told to, and keeps its own books."""

    def __init__(self, number: int) -> None:
        self.gate = Gate(settings_of(number), Rand(1))
        self.now = 0.0
        self.made = 0
        self.open: dict[str, None] = {}
        self.out: dict[tuple[str, int], tuple[str, ...]] = {}
        """Attempts under way, and for whom."""
        self.aboard: dict[str, tuple[str, ...]] = {}
        self.used: dict[str, int] = {}
        self.fleet(2)

    def fleet(self, count: int) -> None:
        """So many replicas."""
        some = [Replica(id=f"r{at}", url="http://x", pool="main", max_concurrent_requests=2) for at in range(count)]
        self.tell(FleetSeen(tuple(some)))

    def tell(self, fact: Event) -> None:
        """And look at every order."""
        for order in self.gate.on(fact, self.now):
            self.obey(order)

    def obey(self, order: Effect) -> None:
        """Keep the books."""
        match order:
            case Carry():
                assert len(order.aboard) != 1 or order.id in self.aboard, "a group of one was made"
                self.aboard[order.id] = tuple(one.id for one in order.aboard)
                assert all(one in self.open for one in self.aboard[order.id])
                if not order.aboard:
                    assert not [key for key in self.out if key[0] == order.id], "over, with an attempt left behind"
                    del self.aboard[order.id]
            case Send():
                riders = self.aboard.get(order.id, (order.id,))
                busy = {one for some in self.out.values() for one in some}
                assert not busy & set(riders), "a call is sent twice at once"
                assert all(one in self.open for one in riders)
                self.out[order.id, order.attempt] = riders
            case Cancel():
                del self.out[order.id, order.attempt]
            case Record():
                assert order.row.id in self.open, "a second record, or none's"
                del self.open[order.row.id]
                assert order.row.usage is None or order.row.usage.prompt_tokens == self.used.pop(order.row.id)
            case Refuse():
                assert order.id in self.open

    # ===== what may happen =====

    def step(self, what: str, a: int, b: int) -> None:
        """One thing happens."""
        if what == "arrive":
            self.made += 1
            self.open[f"c{self.made}"] = None
            self.tell(Arrived(Call(f"c{self.made}", "m", "/v1/embeddings", tenant=f"t{a % 2}", prompt_tokens=9 * b,
                                   body_bytes=100), ("", "x", "x", "y")[b % 4]))  # fmt: skip
        elif what == "leave" and self.open:
            self.tell(ClientGone(sorted(self.open)[a % len(self.open)]))
        elif what == "wait":
            wake = self.gate.next_wake()
            self.now = self.now + 0.02 * a if wake is None or b % 2 else max(self.now, wake)
            self.tell(Woke())
        elif what == "fleet":
            self.fleet(a % 3)
        elif what == "settings":
            self.tell(Reconfigured(settings_of(a)))
        elif self.out:
            key = sorted(self.out)[a % len(self.out)]
            self.attempt(what, key, LABELS[b % len(LABELS)])

    def attempt(self, what: str, key: tuple[str, int], label: Label) -> None:
        """Something happens to what is under way."""
        call, number = key
        if what == "begin":
            self.tell(Began(call, number))
        elif what == "fail":
            del self.out[key]
            self.tell(Failed(call, number, label))
        elif what == "end":
            riders = [one for one in self.out[key] if one in self.open] if call in self.aboard else []
            for one in riders:
                self.used[one] = len(one)
                self.tell(Ended(one, number, 200, Usage(len(one), 0)))
            if key in self.out:
                del self.out[key]
                self.used[call] = 7
                self.tell(Ended(call, number, 200, Usage(7, 0)))

    def finish(self) -> None:
        """No more faults: everything comes to its end, and nothing is held."""
        self.fleet(2)
        for _ in range(200):
            if not self.open:
                break
            self.step("end" if self.out else "wait", 0, 0)
        assert not self.open, "a call never ends"
        assert not self.out
        assert not self.aboard
        assert not any(self.gate.counts().values()), self.gate.counts()
        assert not self.gate._calls._groups._kinds


ONE = st.tuples(
    st.sampled_from(["arrive"] * 6 + ["end", "end", "fail", "begin", "leave", "wait", "wait", "fleet", "settings"]),
    st.integers(0, 11),
    st.integers(0, 35),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 5), st.lists(ONE, max_size=60))
def test_each_call_ends_once_alone_or_with_others(number: int, steps: list[Any]) -> None:
    """Whoever arrives, leaves, fails, or is reconfigured meanwhile: one record each, never two attempts at once for one
    call, usage as it was told for the call itself, and in the end nothing is held."""
    world = World(number)
    for step in steps:
        world.step(*step)
    world.finish()
