"""A pool of emulated engines in virtual time: a Gate, a Batcher behind each replica, and calls at given times.

Everything is the real thing but sockets and text. For experiments about who waits how long.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from penstock.base.nouns import Call, CallRow, EngineStats, Replica, Usage
from penstock.base.nouns import Engine as Kind
from penstock.base.rand import Rand
from penstock.core.effects import Cancel, Effect, Probe, Record, Send
from penstock.core.events import Arrived, Began, Ended, Event, FleetSeen, Observed, Woke
from penstock.core.gate import Gate
from penstock.core.spec import GateSpec, PoolSpec
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug
from penstock.engine import words
from penstock.engine.batcher import Batcher, EngineSpec


class Visit(NamedTuple):
    """A call, when it comes, and how long its answer will be."""

    at: float
    call: Call
    output_tokens: int
    blocks: tuple[int, ...] = ()
    """Content of its prompt's blocks, for the engines' prefix caches."""


class Engine:
    """A Batcher behind one replica."""

    def __init__(self, name: str, spec: EngineSpec, kernel: Kernel, tell: Callable[[Event], None]) -> None:
        self.name = name
        self.batcher = Batcher(spec)
        self._tell = tell
        self._pump: Pump[words.Event, words.Order] = Pump(
            self.batcher, self._perform, kernel.clock, kernel.call_at, _unseen, words.Woke(), raise_bug
        )

    def submit(self, order: Send, visit: Visit) -> None:
        """An attempt begins."""
        self._pump.tell(
            words.Submit(
                f"{order.id}/{order.attempt}", max(1, visit.call.prompt_tokens), visit.output_tokens, visit.blocks
            )
        )

    def abort(self, order: Cancel) -> None:
        """Nobody wants it any more."""
        self._pump.tell(words.Abort(f"{order.id}/{order.attempt}"))

    def stats(self) -> EngineStats:
        """What a scrape would read."""
        return EngineStats(
            running=self.batcher.running,
            waiting=self.batcher.waiting,
            kv_usage=self.batcher.memory.usage,
            prefix_queries=self.batcher.counters.prefix_queries,
            prefix_hits=self.batcher.counters.prefix_hits,
            kv_tokens=self.batcher.spec.kv_blocks * self.batcher.spec.block_size,
            kv_block_tokens=self.batcher.spec.block_size,
        )

    def _perform(self, order: words.Order) -> None:
        call_id, _, attempt = order.id.rpartition("/")
        if isinstance(order, words.Emit):
            if order.first:
                self._tell(Began(call_id, int(attempt)))
        elif isinstance(order, words.Finish):
            if order.reason != "abort":
                usage = Usage(order.prompt_tokens, order.completion_tokens, order.cached_tokens)
                self._tell(Ended(call_id, int(attempt), 200, usage, order.completion_tokens))
        else:
            raise AssertionError(f"an engine refused {order}")


class Arena:
    """The pool, its engines, and the rows of the calls that are over."""

    def __init__(
        self, pool: PoolSpec, replicas: int, seats: int, engine: EngineSpec, seed: int = 1,
        slow: EngineSpec | None = None, kind: Kind = "generic",
    ) -> None:  # fmt: skip
        """All replicas are alike, but for the first where `slow` says what it is."""
        self.kernel = Kernel()
        self.gate = Gate(GateSpec(pools=(pool,), max_waiting=1_000_000), Rand(seed))
        self.pump: Pump[Event, Effect] = Pump(
            self.gate, self._perform, self.kernel.clock, self.kernel.call_at, _unseen, Woke(), raise_bug
        )
        names = [f"r{number}" for number in range(replicas)]
        self.engines = {name: Engine(name, engine, self.kernel, self.pump.tell) for name in names}
        if slow is not None:
            self.engines["r0"] = Engine("r0", slow, self.kernel, self.pump.tell)
        self.rows: list[CallRow] = []
        self.sent: list[str] = []
        """Ids, in the order in which they were sent."""
        self.visits: dict[str, Visit] = {}
        fleet = (
            Replica(id=name, url=f"http://{name}", pool=pool.name, engine=kind, max_concurrent_requests=seats)
            for name in names
        )
        self.pump.tell(FleetSeen(tuple(fleet)))

    def run(self, visits: Iterable[Visit], until: float = float("inf")) -> list[CallRow]:
        """Let the calls come and time pass; the rows of those that are over."""
        for visit in visits:
            self.visits[visit.call.id] = visit
            self.kernel.at(visit.at, self.pump.tell, Arrived(visit.call))
        self.kernel.run(until)
        return self.rows

    def _perform(self, order: Effect) -> None:
        if isinstance(order, Send):
            visit = self.visits[order.id]
            self.sent.append(order.id)
            self.engines[order.replica].submit(order, visit)
        elif isinstance(order, Cancel):
            for engine in self.engines.values():
                engine.abort(order)
        elif isinstance(order, Record):
            self.rows.append(order.row)
        elif isinstance(order, Probe):
            self.kernel.at(self.kernel.clock() + 0.01, self.pump.tell, self._look(order))

    def _look(self, order: Probe) -> Event:
        return Observed(order.replica, self.engines[order.replica].stats())


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which this share of them lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _unseen(now: float, event: Any, orders: list[Any]) -> None:
    pass
