"""The dialect of NVIDIA Triton behind its OpenAI frontend, with TensorRT-LLM or vLLM as the backend.

A replica must speak OpenAI, so a Triton replica is the OpenAI frontend (port 9000): it has /health/ready, /v1/models,
and on its own port at /metrics the page that the plain server has at :8002/metrics. Refused: the plain server as the
replica (/v2/health/ready, models by POST /v2/repository/index), because nothing there could answer a chat call; its
health can still be asked by a pool's `probe: {path: /v2/health/ready, port: 8000}`.

Sources: Triton, python/openai/openai_frontend/frontend/fastapi/routers/observability.py and docs/user_guide/metrics.md;
tensorrtllm_backend, README (batch manager statistics); vllm_backend, src/utils/metrics.py.
"""

from penstock.adapters.dialects.generic import listed_models
from penstock.adapters.exposition import Page, total
from penstock.base.nouns import EngineStats

_REQUESTS = "nv_trt_llm_request_metrics"
_BLOCKS = "nv_trt_llm_kv_cache_block_metrics"


class Triton:
    """The dialect of Triton's OpenAI frontend."""

    name = "triton"
    health_path = "/health/ready"
    stats_path: str | None = "/metrics"
    models_path = "/v1/models"

    def alive(self, status: int) -> bool:
        """/health/ready answers 200; 400 while the engine is not ready, 500 where there is none."""
        return 200 <= status <= 299

    def stats(self, body: bytes) -> EngineStats:
        """Its Prometheus page. Raises ValueError for a page without any of the numbers.

        The backend's own queue is what grows under load; Triton's (`pending`, requests not yet handed to a backend) is
        read where the backend tells nothing.
        """
        page = Page(body)
        running = page.count(_REQUESTS, request_type="scheduled")
        waiting = page.count(_REQUESTS, request_type="waiting")
        if running is None and waiting is None:
            running = page.count("vllm:num_requests_running")
            waiting = page.count("vllm:num_requests_waiting")
        kv_tokens, block_tokens = _kv_cache(page)
        stats = EngineStats(
            running=running,
            waiting=page.count("nv_inference_pending_request_count") if waiting is None else waiting,
            kv_usage=_kv_usage(page),
            kv_tokens=kv_tokens,
            kv_block_tokens=block_tokens,
            gpu_utilisation=page.share("nv_gpu_utilization"),
        )
        if stats == EngineStats():
            raise ValueError("not a Triton metrics page")
        return stats

    def models(self, body: bytes) -> tuple[str, ...]:
        """The names on its models page. Raises ValueError."""
        return listed_models(body)


def _kv_cache(page: Page) -> tuple[int | None, int | None]:
    """Tokens of the KV caches of all models together, and of one block: a draft model has a cache of its own."""
    blocks, each = _by_model(page, "max"), _by_model(page, "tokens_per")
    tokens = sum(count * each.get(model, 0) for model, count in blocks.items())
    return tokens or None, max(each.values(), default=0) or None


def _by_model(page: Page, kind: str) -> dict[tuple[str, str], int]:
    samples = page.samples(_BLOCKS, kv_cache_block_type=kind)
    found = {(labels.get("model", ""), labels.get("version", "")): total([value]) for labels, value in samples}
    return {model: count for model, count in found.items() if count is not None}


def _kv_usage(page: Page) -> float | None:
    share = page.share(_BLOCKS, kv_cache_block_type="fraction")
    if share is None:  # older backends tell the blocks alone
        used, most = page.count(_BLOCKS, kv_cache_block_type="used"), page.count(_BLOCKS, kv_cache_block_type="max")
        if used is not None and most and used <= most:
            share = used / most
    return page.share("vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc") if share is None else share
