"""Whatever happens to calls that may have one answer: each ends once, gets what it may have, and nothing leaks.

A small edge performs the Gate's orders: it knows which answer is under which key, and who reads what.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.base.contents import Content
from penstock.base.errors import Label
from penstock.base.nouns import Call, Usage
from penstock.base.rand import Rand
from penstock.core.cache.spec import CacheSpec, SemanticSpec
from penstock.core.effects import Adopt, Answer, Cancel, Compare, Drop, Effect, Keep, LookUp, Record, Refuse, Send
from penstock.core.events import (
    Arrived,
    Began,
    ClientGone,
    Compared,
    Ended,
    Event,
    Failed,
    FleetSeen,
    Found,
    Invalidated,
    LookedUp,
    Reconfigured,
    Woke,
)
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec
from penstock.core.spec import GateSpec
from tests.core.playbook import HEDGE, pool, replica

Whose = tuple[str, str, bool]
"""Tenant, digest, stream: of whom an answer is."""
FAILURES: tuple[Label, ...] = ("upstream_5xx", "closed_early", "upstream_busy", "connect_refused", "first_byte_timeout")


class Edge:
    """Calls in flight, as the edge sees them."""

    def __init__(self, spec: GateSpec, seed: int, isolate: bool) -> None:
        self.gate = Gate(spec, Rand(seed))
        self.isolate = isolate
        self.rng = Random(seed)
        self.now = 0.0
        self.calls: dict[str, Call] = {}
        """Those that are not over."""
        self.running: dict[tuple[str, int], bool] = {}
        """Attempts -> whether they have begun."""
        self.given: dict[str, tuple[str, Whose]] = {}
        """Calls -> how they get an answer that is not made for them, and whose it is."""
        self.kept: dict[str, Whose] = {}
        self.found: dict[str, Whose] = {}
        self.looking: dict[str, str] = {}
        self.comparing: dict[str, str] = {}
        """Calls -> the frame in which the most similar question is looked for."""
        self.frames: dict[str, str] = {}
        """Keys -> the frame of those that may have its answer in other words."""
        self.ended: dict[str, str] = {}
        self.generated = 0
        self.billed = 0
        self.hits = self.similar = 0
        self.tell(FleetSeen((replica("a", max_concurrent_requests=2), replica("b"))))

    def whose(self, call: Call) -> Whose:
        """Of whom its answer is."""
        assert call.content
        return call.tenant if self.isolate else "", call.content.digest, call.stream

    def tell(self, event: Event) -> None:
        """And perform what is ordered."""
        for order in self.gate.on(event, self.now):
            self.perform(order)

    def perform(self, order: Effect) -> None:
        """One order."""
        if isinstance(order, Send):
            assert order.id in self.calls
            self.running[order.id, order.attempt] = False
        elif isinstance(order, Cancel):
            self.running.pop((order.id, order.attempt), None)
        elif isinstance(order, Answer):
            self.answer(order)
        elif isinstance(order, Adopt):
            assert self.given.pop(order.by)[0] == "coalesced"
            for id, attempt in [key for key in self.running if key[0] == order.id]:
                self.running[order.by, attempt] = self.running.pop((id, attempt))
        elif isinstance(order, Keep):
            whose = self.found.pop(order.id) if order.found else self.whose(self.calls[order.id])
            self.kept[order.key] = whose
            self.frames[order.key] = order.frame or ""
            for key in order.evicted:
                del self.kept[key]
            assert len(self.kept) <= 3
        elif isinstance(order, Drop):
            for key in order.keys:
                del self.kept[key]
        elif isinstance(order, LookUp):
            self.looking[order.id] = order.key
        elif isinstance(order, Compare):
            self.comparing[order.id] = order.frame
        elif isinstance(order, Record):
            self.over(order)
        else:
            assert isinstance(order, Refuse)
            self.running = {key: begun for key, begun in self.running.items() if key[0] != order.id}

    def answer(self, order: Answer) -> None:
        """It is given what another was, or is, answered: never what it may not have."""
        call = self.calls[order.id]
        if order.similarity is not UNSET:
            assert call.content
            assert (call.content.frame, order.similarity) >= ("f", 0.9)
            assert self.kept[order.key][::2] == self.whose(call)[::2]
            self.similar += 1
        elif order.how == "hit":
            assert self.kept[order.key] == self.whose(call)
            self.hits += 1
        else:
            assert self.whose(self.calls[order.of]) == self.whose(call)
            assert order.of not in self.given
        self.looking.pop(order.id, None)
        self.comparing.pop(order.id, None)
        self.given[order.id] = (order.how, self.whose(call))

    def over(self, order: Record) -> None:
        """Once, and nothing of it is left."""
        row = order.row
        assert row.id not in self.ended
        self.ended[row.id] = row.cache or ""
        if row.usage is not None:
            self.billed += row.usage.completion_tokens
        del self.calls[row.id]
        self.given.pop(row.id, None)
        self.looking.pop(row.id, None)
        self.comparing.pop(row.id, None)
        assert not [key for key in self.running if key[0] == row.id]

    # ===== what happens =====

    def step(self, number: int) -> None:
        """Something, drawn."""
        rng = self.rng
        self.now += rng.choice([0.0, 0.0, 0.1, 1.0])
        wake = self.gate.next_wake()
        if wake is not None and wake <= self.now:
            self.tell(Woke())
        what = rng.random()
        if self.comparing and rng.random() < 0.5:
            self.compares(rng.choice(list(self.comparing)))
        elif what < 0.45:
            self.arrives(number)
        elif what < 0.55 and self.calls:
            self.leaves(rng.choice(list(self.calls)))
        elif what < 0.58:
            self.tell(rng.choice([Invalidated(tag="t"), Invalidated(tenant="x"), Invalidated()]))
        elif what < 0.65 and self.looking:
            self.looks(rng.choice(list(self.looking)))
        elif what < 0.9 and self.running:
            self.goes_on(*rng.choice(list(self.running)))
        elif self.given:
            self.reads(rng.choice(list(self.given)))

    def arrives(self, number: int) -> None:
        """A call."""
        rng = self.rng
        semantic = self.gate.spec.cache is not None and self.gate.spec.cache.semantic is not None
        content = Content(
            rng.choice(["d1", "d2", "d3", "d4"] if semantic else ["d1", "d1", "d2", ""]), rng.random() < 0.9,
            rng.choice(["", "", "", "refresh", "bypass"]), rng.choice([(), ("t",)]),
            "f" if rng.random() < 0.9 else UNSET,
        )  # fmt: skip
        call = Call(
            f"c{number}", "m", tenant=rng.choice("xy"), key=rng.choice("ab"), stream=rng.random() < 0.8,
            priority=rng.choice([0, 2, 4]), prompt_tokens=5, max_tokens=10,
            latency_s=rng.choice([None, None, 1.0]), content=content,
        )  # fmt: skip
        self.calls[call.id] = call
        self.tell(Arrived(call))

    def leaves(self, id: str) -> None:
        """Its client does."""
        self.tell(ClientGone(id, 1))
        assert id not in self.calls

    def looks(self, id: str) -> None:
        """What others share is told."""
        key = self.looking.pop(id)
        found = None
        if self.rng.random() < 0.5:
            found = Found(10, 1.0, 5.0)
            self.found[id] = self.whose(self.calls[id])
        assert key
        self.tell(LookedUp(id, found))
        self.found.pop(id, None)

    def compares(self, id: str) -> None:
        """The most similar question is told, however similar it is."""
        frame = self.comparing.pop(id)
        keys = [key for key in self.kept if self.frames[key] == frame]
        if keys and self.rng.random() < 0.8:
            self.tell(Compared(id, self.rng.choice(keys), self.rng.choice([0.5, 0.9, 1.0])))
        else:
            self.tell(Compared(id))

    def goes_on(self, id: str, attempt: int) -> None:
        """An attempt begins, ends or fails."""
        begun = self.running[id, attempt]
        what = self.rng.random()
        if not begun and what < 0.5:
            self.running[id, attempt] = True
            self.tell(Began(id, attempt))
            return
        del self.running[id, attempt]
        if what < 0.8:
            self.generated += 7
            self.tell(Ended(id, attempt, 200, Usage(5, 7), 7, kept_bytes=10))
        else:
            self.tell(Failed(id, attempt, "died_mid_answer" if begun else self.rng.choice(FAILURES)))

    def reads(self, id: str) -> None:
        """A client has got what it is given, once that is whole; or cannot have it."""
        how, _ = self.given[id]
        if how == "coalesced" and self.gate._calls.books.flights[id].sharing is not None:  # it is not whole yet
            if self.rng.random() < 0.2:
                del self.given[id]
                self.tell(Failed(id, 0, "stale_connection"))
            return
        del self.given[id]
        self.tell(Ended(id, 0, 200, Usage(5, 7), 7))

    def settle(self) -> None:
        """Everybody is served or leaves."""
        for id in list(self.calls):
            if id in self.calls:
                self.leaves(id)


LIMITS = LimitsSpec(
    tenants={"x": AllowanceSpec(tokens_per_minute=60, requests_per_minute=40, concurrency=6)},
    keys={"a": AllowanceSpec(tokens_per_minute=50)},
    prices={"m": PriceSpec(completion=1.0)},
)


def spec(seed: int) -> GateSpec:
    """Settings, drawn."""
    rng = Random(seed)
    cache = CacheSpec(
        entries=3, ttl_s=rng.choice([2.0, 100.0]), isolate=rng.random() < 0.7, coalesce=rng.random() < 0.8,
        charge=rng.choice(["none", "tokens"]), semantic=rng.choice([None, SemanticSpec(mode="all", threshold=0.9)]),
    )  # fmt: skip
    pools = (pool(hedge=rng.choice([None, HEDGE])),)
    return GateSpec(
        pools=pools, cache=cache, shared_cache=rng.random() < 0.5, limits=rng.choice([None, LIMITS]), max_waiting=20
    )


@settings(max_examples=60)
@given(st.integers(0, 1 << 30))
def test_each_call_ends_once_and_gets_only_what_it_may_have(seed: int) -> None:
    """No tenant gets another's answer, kept or under way, unless they share; what is kept is bounded; nothing is held
    at the end; and where answers that were not made for a call are free, what is billed was generated, and once."""
    story(seed, 150)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_that_holds_in_many_long_stories(block: int) -> None:
    """A thousand of them."""
    for seed in range(block * 250, block * 250 + 250):
        story(seed, 250)


def story(seed: int, steps: int) -> Edge:
    """One."""
    made = spec(seed)
    assert made.cache is not None
    edge = Edge(made, seed, made.cache.isolate)
    for number in range(steps):
        edge.step(number)
        if number == steps // 2:
            edge.tell(Reconfigured(made))
    edge.settle()
    assert not edge.calls
    assert not edge.given
    assert not edge.running
    assert not edge.looking
    assert not edge.comparing
    assert not any(edge.gate.counts().values())
    view = edge.gate.cached()
    assert view is not None
    assert view.entries == len(edge.kept)
    assert (view.leading, view.following) == (0, 0)
    assert not [what for what, _ in edge.gate._timers._when if what in ("wait", "pause", "hedge", "barred")]
    if made.cache.charge == "none":
        assert edge.billed == edge.generated
    return edge


def test_the_stories_are_worth_telling() -> None:
    """In a few of them there is every way in which a call can have to do with the cache."""
    edges = [story(seed, 250) for seed in range(16)]
    assert {state for edge in edges for state in edge.ended.values()} >= {
        "hit", "similar", "coalesced", "miss", "bypass",
    }  # fmt: skip
    assert sum(edge.hits for edge in edges) > 50
    assert sum(edge.similar for edge in edges) > 5
