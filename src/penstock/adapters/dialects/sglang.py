"""SGLang's dialect: /health, and a Prometheus page where one number comes once for every rank that reports it.

The page is there when the server was started with --enable-metrics. Sources: SGLang's documentation, production
metrics; its source, python/sglang/srt/observability/metrics_collector.py and srt/entrypoints/http_server.py; a page of
v0.5.10 kept by DataDog/integrations-core (sglang/tests/fixtures).
"""

from penstock.adapters.dialects.generic import listed_models
from penstock.adapters.exposition import Page, mean_share, total
from penstock.base.nouns import EngineStats


class Sglang:
    """The dialect of SGLang's OpenAI server."""

    name = "sglang"
    health_path = "/health"
    stats_path: str | None = "/metrics"
    models_path = "/v1/models"

    def alive(self, status: int) -> bool:
        """/health answers 200; 503 while it starts, stops, or could not generate a token in time."""
        return 200 <= status <= 299

    def stats(self, body: bytes) -> EngineStats:
        """Its Prometheus page. Raises ValueError for any other page.

        The tokens are counted when a request ends: whole prompts, and how much of them any tier of the cache held.
        """
        page = Page(body)
        stats = EngineStats(
            running=total(_by_engine(page, "sglang:num_running_reqs")),
            waiting=total(_by_engine(page, "sglang:num_queue_reqs")),
            kv_usage=mean_share(_by_engine(page, "sglang:token_usage")),
            prefix_queries=page.count("sglang:prompt_tokens_total"),
            prefix_hits=page.count("sglang:cached_tokens_total"),
            kv_tokens=total(_by_engine(page, "sglang:max_total_num_tokens")) or None,
            kv_block_tokens=total(_by_engine(page, "sglang:page_size")[:1]) or None,
        )
        if stats == EngineStats():
            raise ValueError("not an SGLang metrics page")
        return stats

    def models(self, body: bytes) -> tuple[str, ...]:
        """The names on its models page, LoRA adapters included. Raises ValueError."""
        return listed_models(body)


def _by_engine(page: Page, name: str) -> list[float]:
    """One value for each data-parallel engine.

    The ranks of one engine (tp_rank, pp_rank, moe_ep_rank) each tell the same number, where they are told to: it is
    taken once. With priority scheduling the total has priority="", and its parts come beside it.
    """
    values: dict[str, float] = {}
    for labels, value in page.samples(name):
        if labels.get("priority"):
            continue
        engine = labels.get("dp_rank", "")
        values[engine] = max(value, values.get(engine, value))  # ranks write at their own pace: not the idle one's
    return list(values.values())
