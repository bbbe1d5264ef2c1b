"""The dialect of Hugging Face's text-generation-inference (TGI): /health, and two gauges on its Prometheus page.

It tells nothing of its KV cache or prefix cache. A gauge appears with the first request, so a server that has served
none yet has no numbers: an unread page, not an idle one. Sources: TGI's documentation, metrics reference; a page kept
by DataDog/integrations-core (hugging_face_tgi/tests/fixtures).
"""

from penstock.adapters.dialects.generic import listed_models
from penstock.adapters.exposition import Page
from penstock.base.nouns import EngineStats


class Tgi:
    """The dialect of TGI's router."""

    name = "tgi"
    health_path = "/health"
    stats_path: str | None = "/metrics"
    models_path = "/v1/models"

    def alive(self, status: int) -> bool:
        """/health answers 200, or 503 where a shard does not answer or generate."""
        return 200 <= status <= 299

    def stats(self, body: bytes) -> EngineStats:
        """Its Prometheus page. Raises ValueError for any other page, and for one from before its first request."""
        page = Page(body)
        stats = EngineStats(running=page.count("tgi_batch_current_size"), waiting=page.count("tgi_queue_size"))
        if stats == EngineStats():
            raise ValueError("no TGI metrics page, or one from before its first request")
        return stats

    def models(self, body: bytes) -> tuple[str, ...]:
        """The name of its one model. Raises ValueError."""
        return listed_models(body)
