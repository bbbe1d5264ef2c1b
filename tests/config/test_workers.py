"""How many processes serve, and what cannot be had with more than one of them."""

# ruff: noqa: E501 -- a table of exact texts, one row a line

import pytest

from penstock.config.workers import MOST, cores
from tests.config.support import POOL, load_text, mistakes_of


@pytest.mark.parametrize(
    "text, count",
    [("", 1), ("workers: 1", 1), ("workers: 4", 4), ("workers: auto", min(MOST, cores()))],
)  # fmt: skip
def test_how_many(text: str, count: int) -> None:
    """One unless it is said; auto means the cores that this process may use."""
    assert load_text(POOL + text).server.workers == count


def test_a_variable_says_it() -> None:
    """The number, and auto, may come from a variable."""
    assert load_text(POOL + "workers: ${N}", environment={"N": "3"}).server.workers == 3
    assert load_text(POOL + "workers: ${N}", environment={"N": "auto"}).server.workers == min(MOST, cores())


@pytest.mark.parametrize(
    "text, mistake",
    [
        ("workers: 0", "workers (line 2): found the number 0, expected a whole number from 1 to 64 or auto"),
        ("workers: many", "workers (line 2): found 'many', expected a whole number from 1 to 64 or auto"),
        ("workers: 2\nqueue: {max_in_flight: 1}", "pools[0].queue.max_in_flight (line 1): found 1, expected at least one for each of the 2 workers"),
        ("workers: 2\nbenchmark: {enabled: true}", "pools[0].benchmark.enabled (line 1): benchmarks are for a gateway with one worker; leave it out, or `workers`"),
    ],
)  # fmt: skip
def test_what_cannot_be_had(text: str, mistake: str) -> None:
    """What would be counted or done by each worker for itself is refused, by exact words."""
    assert mistakes_of(POOL + text) == [mistake]


def test_one_worker_may_have_all() -> None:
    """None of this is refused with one worker; limits are fine with several."""
    assert load_text(POOL + "benchmark: {enabled: true}\nqueue: {max_in_flight: 1}").server.workers == 1
    assert load_text(POOL + "workers: 2\neverybody: {requests_per_minute: 100}").gate.limits is not None
