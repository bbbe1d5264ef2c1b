"""The dialect of llama.cpp's llama-server: /health, and whichever page of its own numbers it was told to offer.

It offers three. /metrics (started with --metrics): requests processing and deferred, and prompt tokens computed and
cached. /slots (on by default): which are busy, not how many requests wait. /models of a router (llama-server started
without a model): which models are in memory; there /metrics answers for one model only. `stats` understands them all,
by their form; /metrics is asked. Source: a real server, 0.5.0-dev of October 2026 (commit 0c1e570), and its README;
kv_cache_usage_ratio is in older servers alone, and prompt_tokens_cached_total in newer ones.
"""

from collections.abc import Sequence

import msgspec

from penstock.adapters.dialects.generic import known_names
from penstock.adapters.exposition import Page
from penstock.base.nouns import EngineStats

_LOADED = "loaded"
"""The others must be loaded first: unloaded, loading, downloading, and sleeping, which is out of memory as well."""


class _Slot(msgspec.Struct):
    is_processing: bool


class _Status(msgspec.Struct):
    value: str


class _Named(msgspec.Struct):
    id: str
    aliases: list[str] = []


class _Listing(msgspec.Struct):
    data: list[_Named]


class _Model(_Named, kw_only=True):
    status: _Status


class _Router(msgspec.Struct):
    data: list[_Model]


_pages = msgspec.json.Decoder(list[_Slot] | _Router)
_listings = msgspec.json.Decoder(_Listing)


class Llamacpp:
    """The dialect of llama-server."""

    name = "llamacpp"
    health_path = "/health"
    stats_path: str | None = "/metrics"
    models_path = "/v1/models"

    def alive(self, status: int) -> bool:
        """/health answers 200, or 503 while the model is loading."""
        return 200 <= status <= 299

    def stats(self, body: bytes) -> EngineStats:
        """Its Prometheus page, its slots, or a router's models. Raises ValueError for any other page."""
        if body.lstrip()[:1] in (b"[", b"{"):
            return _from_json(body)
        page = Page(body)
        computed, cached = page.count("llamacpp:prompt_tokens_total"), page.count("llamacpp:prompt_tokens_cached_total")
        stats = EngineStats(
            running=page.count("llamacpp:requests_processing"),
            waiting=page.count("llamacpp:requests_deferred"),
            kv_usage=page.share("llamacpp:kv_cache_usage_ratio"),
            prefix_queries=None if cached is None or computed is None else cached + computed,
            prefix_hits=None if computed is None else cached,
        )
        if stats == EngineStats():
            raise ValueError("not a llama.cpp metrics page")
        return stats

    def models(self, body: bytes) -> tuple[str, ...]:
        """The names on its models page: of its one model (a file's, unless --alias names it), or of all that a router
        can load; and the other names by which each may be called. Raises ValueError."""
        try:
            page = _listings.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"not a list of models: {error}") from None
        return _names(page.data)


def _from_json(body: bytes) -> EngineStats:
    try:
        page = _pages.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"neither slots nor models of a llama.cpp server: {error}") from None
    if isinstance(page, list):
        return EngineStats(running=sum(slot.is_processing for slot in page))
    return EngineStats(loaded=_names([model for model in page.data if model.status.value == _LOADED]))


def _names(models: Sequence[_Named]) -> tuple[str, ...]:
    return known_names([name for model in models for name in (model.id, *model.aliases)])
