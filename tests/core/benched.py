"""Short ways to say what benchmarks are about, for their playbooks."""

from typing import Any

from penstock.base.nouns import BenchmarkView
from penstock.core.bench import GRACE_S
from penstock.core.effects import BENCHMARK, Bench, Cancel, Probe
from penstock.core.events import Benched
from penstock.core.gate import Gate
from penstock.core.spec import BenchmarkSpec
from tests.core.playbook import house

ON = BenchmarkSpec(enabled=True)
LIMIT_S = ON.timeout_s + GRACE_S


def benched_house(*ids: str, seats: int = 1, **fields: Any) -> Gate:
    """A house whose replicas owe a benchmark."""
    return house(*ids, seats=seats, benchmark=ON, **fields)


def bench(number: int, replica: str = "a", model: str = "m") -> Probe:
    """The order to begin one, with the default settings."""
    return Probe(replica, "bench", 30.0, Bench(number, model, 512, 32, 2))


def stop(number: int, replica: str = "a") -> Cancel:
    """The order to give one up."""
    return Cancel(BENCHMARK + replica, number)


def good(number: int, replica: str = "a", ttft_s: float = 0.5, tokens_per_s: float | None = 64.0) -> Benched:
    """It went well."""
    return Benched(replica, number, True, ttft_s, tokens_per_s)


def held(machine: Gate) -> int:
    """Seats that are taken."""
    return machine.counts()["seats_taken"]


def shown(machine: Gate, now: float) -> BenchmarkView | None:
    """What the only replica's view says."""
    (view,) = machine.replicas(now)
    return view.benchmark
