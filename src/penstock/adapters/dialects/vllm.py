"""vLLM's dialect: /health, and a Prometheus page of which five numbers matter.

Names as a vLLM 0.32 writes them, and the older ones of servers in the field: `gpu_cache_usage_perc` for the KV cache,
and `gpu_` before the prefix cache's counters. One server may report several engines (data parallel): counts are summed,
the share of the KV cache is their mean.
"""

import math
import re

from penstock.adapters.dialects.generic import listed_models
from penstock.base.nouns import EngineStats

MAX_COUNT = 1e15
"""A larger number of requests or tokens is nonsense (and floats stop counting exactly soon after)."""

# Most wanted name first: a server that has both is read by the first.
_RUNNING = (b"\nvllm:num_requests_running",)
_WAITING = (b"\nvllm:num_requests_waiting",)
_KV_USAGE = (b"\nvllm:kv_cache_usage_perc", b"\nvllm:gpu_cache_usage_perc")
_QUERIES = (
    b"\nvllm:prefix_cache_queries_total",
    b"\nvllm:prefix_cache_queries",
    b"\nvllm:gpu_prefix_cache_queries_total",
)
_HITS = (b"\nvllm:prefix_cache_hits_total", b"\nvllm:prefix_cache_hits", b"\nvllm:gpu_prefix_cache_hits_total")

# What follows the name in a sample line of the text format: labels in braces (their quoted values may hold anything),
# the value, perhaps a time.
_REST = re.compile(rb'(?:\{(?:[^"\n}]|"(?:[^"\\\n]|\\.)*")*\})?[ \t]+(\S+)')


class Vllm:
    """The dialect of vLLM's OpenAI server."""

    name = "vllm"
    health_path = "/health"
    stats_path: str | None = "/metrics"
    models_path = "/v1/models"

    def alive(self, status: int) -> bool:
        """/health answers 200, or 503 once its engine has died."""
        return 200 <= status <= 299

    def stats(self, body: bytes) -> EngineStats:
        """Its Prometheus page; a number that cannot be true is left out. Raises ValueError for any other page."""
        page = b"\n" + body
        stats = EngineStats(
            running=_count(page, _RUNNING),
            waiting=_count(page, _WAITING),
            kv_usage=_share(page, _KV_USAGE),
            prefix_queries=_count(page, _QUERIES),
            prefix_hits=_count(page, _HITS),
        )
        if stats == EngineStats():
            raise ValueError("not a vLLM metrics page")
        return stats

    def models(self, body: bytes) -> tuple[str, ...]:
        """The names on its models page, LoRA adapters included. Raises ValueError."""
        return listed_models(body)


def _values(page: bytes, names: tuple[bytes, ...]) -> list[float]:
    """The samples of the first of these names that is there. Searching costs an eighth of reading every line."""
    for name in names:
        values, at = [], page.find(name)
        while at >= 0:
            rest = _REST.match(page, at + len(name))
            if rest is not None:
                values.append(float(rest[1]))
            at = page.find(name, at + len(name))
        if values:
            return values
    return []


def _count(page: bytes, names: tuple[bytes, ...]) -> int | None:
    values = _values(page, names)
    if not values or not all(0 <= value <= MAX_COUNT for value in values):  # NaN compares false
        return None
    return int(math.fsum(values))


def _share(page: bytes, names: tuple[bytes, ...]) -> float | None:
    values = _values(page, names)
    if not values or not all(0 <= value <= 1 for value in values):
        return None
    return math.fsum(values) / len(values)
