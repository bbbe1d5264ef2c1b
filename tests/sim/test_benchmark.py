"""A benchmark in a simulation: requests one after the other, the best of them counts."""

from penstock.base.nouns import Usage
from penstock.core.effects import Bench, Probe
from penstock.core.events import Began, Benched, Ended, Failed
from penstock.sim.benchmark import Benchmark


def begun(repeats: int = 2) -> Benchmark:
    """Number 3 at replica r0."""
    return Benchmark(Probe("r0", "bench", 30.0, Bench(3, "model", 512, 32, repeats)))


def ended(status: int = 200) -> Ended:
    """An answer of 11 tokens."""
    return Ended("benchmark/r0", 3, status, Usage(512, 11, 0), 11)


def test_the_best_of_its_requests_counts() -> None:
    """The earliest first token and the quickest answer, of different requests."""
    machine = begun()
    order, request, _ = machine.next(0.0)
    assert (order.id, order.attempt, order.replica) == ("benchmark/r0", 3, "r0")
    assert (request.prompt_tokens, request.output_tokens) == (512, 32)
    assert machine.heard(Began(order.id, 3), 0.5) is None
    assert machine.heard(ended(), 1.0) is None
    machine.next(1.0)
    assert machine.heard(Began(order.id, 3), 1.25) is None
    assert machine.heard(ended(), 2.25) == Benched("r0", 3, True, 0.25, 20.0)


def test_no_two_prompts_are_alike() -> None:
    """A prefix cache must not make the second request quicker; numbers below zero are no client's."""
    machine, numbers = begun(3), []
    for second in range(3):
        numbers.append(machine.next(float(second))[2])
        machine.heard(ended(), second + 0.5)
    assert len(set(numbers)) == 3
    assert max(numbers) < 0


def test_a_failure_ends_it() -> None:
    """By name, and an answer that is no 200 too."""
    assert begun().heard(Failed("benchmark/r0", 3, "closed_early"), 1.0) == Benched("r0", 3, detail="closed_early")
    assert begun().heard(ended(400), 1.0) == Benched("r0", 3, detail="status 400")
