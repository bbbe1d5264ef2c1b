"""The requests that a run of load sends: a trace's, or those that a workload file describes."""

from itertools import islice
from pathlib import Path

from penstock.config.workloads import SHIPPED, YAML_NAMES, open_workload, reader
from penstock.workload.formats import read_trace
from penstock.workload.lines import MAX_BYTES, TraceError, unpacked
from penstock.workload.request import Request

MAX_REQUESTS = 2_000_000
"""Most requests of a workload file in one run: all of them are in memory, at about 200 bytes each."""

__all__ = ["MAX_REQUESTS", "SHIPPED", "open_trace"]


def open_trace(name: str, seed: int = 0, limit: int | None = None) -> list[Request]:
    """The requests of a shipped trace (by its name in SHIPPED), of a trace file, or of a workload file (NAME.yaml): of
    that the first `limit`. Raises TraceError, and ConfigError for mistakes in a workload file."""
    if not name.lower().endswith(YAML_NAMES):
        return read_trace(b"".join(unpacked(reader(Path())(name), name, MAX_BYTES)), name)
    requests = list(islice(open_workload(name, seed), limit or MAX_REQUESTS + 1))
    if len(requests) > (limit or MAX_REQUESTS):
        raise TraceError(name, 0, "", f"expected at most {MAX_REQUESTS:,} requests: send a part of it with --limit")
    if not requests:
        raise TraceError(name, 0, "", "it has no request")
    return requests
