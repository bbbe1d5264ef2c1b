"""The property tests' own books of benchmarks: who runs one, and what may be told of it."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from penstock.core.effects import BENCHMARK, Cancel, Probe
from penstock.core.events import Benched, Event
from penstock.core.gate import Gate


class Benching:
    """Rules about benchmarks, for a machine that tells a Gate facts."""

    gate: Gate
    now: float

    def __init__(self) -> None:
        super().__init__()
        self.benches: dict[int, str] = {}
        """Number -> replica, while it runs."""
        self.last_bench = 0

    def tell(self, fact: Event) -> None:
        """The machine's own."""
        raise NotImplementedError

    def bench_ordered(self, order: Probe) -> None:
        """A look at a replica, which may be a benchmark: one a replica, with a seat, where nobody waits."""
        if order.bench is None:
            assert order.look != "bench"
            return
        seat = self.gate._fleet.seats[order.replica]
        assert order.bench.number > self.last_bench
        assert order.replica not in self.benches.values(), "two at once"
        if not self.ends_at_once(order.replica):  # after a stall it may be put out in the same turn
            assert seat.in_flight <= seat.health.limit
            assert seat.health.usable
        assert not seat.replica.drain
        self.last_bench = order.bench.number
        self.benches[order.bench.number] = order.replica

    def ends_at_once(self, replica: str) -> bool:
        """Whether the Gate is to look at its benchmark again at once, because it can no longer go on."""
        return self.gate._timers._when[("bench", replica)][0] <= self.now

    def bench_given_up(self, order: Cancel) -> bool:
        """Whether a benchmark is stopped: one that runs."""
        if not order.id.startswith(BENCHMARK):
            return False
        assert self.benches.pop(order.attempt) == order.id.removeprefix(BENCHMARK)
        return True

    def benches_make_way(self) -> None:
        """Once the Gate has been woken, no benchmark holds a seat in a pool where a call waits."""
        for seat in self.gate._fleet.benches.running.values():
            assert not self.gate._fleet.pools[seat.pool].counts.calls, f"a call waits beside the benchmark of {seat.id}"

    def end_benches(self) -> None:
        """All that run fail."""
        for number, replica in list(self.benches.items()):
            del self.benches[number]
            self.tell(Benched(replica, number, detail="the end"))

    @precondition(lambda self: self.benches)
    @rule(data=st.data(), ok=st.booleans(), tokens_per_s=st.sampled_from([None, 50.0]))
    def bench_ends(self, data: Any, ok: bool, tokens_per_s: float | None) -> None:
        """A benchmark comes to its end, well or not."""
        number = data.draw(st.sampled_from(sorted(self.benches)), "benchmark")
        replica = self.benches.pop(number)
        self.tell(Benched(replica, number, ok, 0.2 if ok else None, tokens_per_s if ok else None))

    @rule(replica=st.sampled_from("abcdez"), back=st.integers(0, 5))
    def stale_bench(self, replica: str, back: int) -> None:
        """What is told of a benchmark that does not run (there) changes nothing."""
        number = self.last_bench + 1 - back
        if self.benches.get(number) != replica:
            before = self.gate.counts()
            self.tell(Benched(replica, number, True, 9.0, 9.0))
            assert self.gate.counts() == before
