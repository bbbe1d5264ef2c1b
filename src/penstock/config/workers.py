"""How many processes serve, and what cannot be had with more than one of them."""

import os

from penstock.config.mistakes import Mistakes
from penstock.config.schema import File

MOST = 64
"""Workers; as the schema has it."""


def cores() -> int:
    """CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def workers(file: File) -> int:
    """How many the file wants."""
    return min(MOST, cores()) if file.workers == "auto" else file.workers


def check_workers(file: File, mistakes: Mistakes) -> None:
    """What does not work with several workers is said, rather than done wrongly."""
    count = workers(file)
    if count == 1:
        return
    for at, pool in enumerate(file.pools):
        if pool.benchmark.enabled:
            path = ("pools", at, "benchmark", "enabled")
            mistakes.say(path, "benchmarks are for a gateway with one worker", "leave it out, or `workers`")
        most = pool.queue.max_in_flight
        if most is not None and most < count:
            path = ("pools", at, "queue", "max_in_flight")
            mistakes.say(path, f"found {most}, expected at least one for each of the {count} workers")
