"""vLLM's dialect: /health, and a Prometheus page of which few numbers, the KV cache's size and LoRA adapters matter.

Names as a vLLM 0.32 writes them, and the older ones of servers in the field: `gpu_cache_usage_perc` for the KV cache,
and `gpu_` before the prefix cache's counters. One server may report several engines (data parallel): counts are summed,
the share of the KV cache is their mean.
"""

import re

from penstock.adapters.dialects.generic import known_names, listed_models
from penstock.adapters.exposition import Page
from penstock.base.nouns import EngineStats

# Most wanted name first: a server that has both is read by the first.
_KV_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_QUERIES = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries_total")
_HITS = ("vllm:prefix_cache_hits_total", "vllm:prefix_cache_hits", "vllm:gpu_prefix_cache_hits_total")
_SLOTS = re.compile("[0-9]{1,6}")
_NUMBER = re.compile("[0-9]{1,12}")


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
        page = Page(body)
        slots, running, waiting = _loras(page)
        kv_tokens, block_tokens = _kv_cache(page)
        stats = EngineStats(
            running=page.count("vllm:num_requests_running"),
            waiting=page.count("vllm:num_requests_waiting"),
            kv_usage=page.share(*_KV_USAGE),
            prefix_queries=page.count(*_QUERIES),
            prefix_hits=page.count(*_HITS),
            kv_tokens=kv_tokens,
            kv_block_tokens=block_tokens,
            lora_slots=slots,
            loras_running=running,
            loras_waiting=waiting,
        )
        if stats == EngineStats():
            raise ValueError("not a vLLM metrics page")
        return stats

    def models(self, body: bytes) -> tuple[str, ...]:
        """The names on its models page, LoRA adapters included. Raises ValueError."""
        return listed_models(body)


def _kv_cache(page: Page) -> tuple[int | None, int | None]:
    """Tokens of the KV caches of all engines together, and of one block. Both are labels; older servers tell the blocks
    alone. Source: vLLM, vllm/v1/metrics/loggers.py, log_metrics_info."""
    total = unit = 0
    for labels, _ in page.samples("vllm:cache_config_info"):
        block = _size(labels.get("block_size", ""))
        tokens = _size(labels.get("kv_cache_size_tokens", "")) or block * _size(labels.get("num_gpu_blocks", ""))
        total, unit = total + tokens, max(unit, block)
    return total or None, unit or None


def _size(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0


def _loras(page: Page) -> tuple[int | None, tuple[str, ...] | None, tuple[str, ...] | None]:
    """Slots, adapters running, adapters waiting.

    The numbers are labels, and a label's old combinations stay on the page: the one with the latest time, which is its
    value, holds. Without LoRA there is none. Source: vLLM, vllm/v1/metrics/loggers.py.
    """
    samples = page.samples("vllm:lora_requests_info")
    if not samples:
        return None, None, None
    labels = max(samples, key=lambda sample: sample.value).labels
    slots = labels.get("max_lora", "")
    return (
        int(slots) if _SLOTS.fullmatch(slots) else None,
        _listed(labels.get("running_lora_adapters", "")),
        _listed(labels.get("waiting_lora_adapters", "")),
    )


def _listed(text: str) -> tuple[str, ...]:
    return known_names([name for name in text.split(",") if name])
