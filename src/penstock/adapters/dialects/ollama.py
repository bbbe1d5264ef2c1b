"""Ollama's dialect. It has no metrics; what it tells is which models are in memory, and loading one takes seconds.

Sources: Ollama's API documentation (docs/api.md: list local models, list running models, version).
"""

import msgspec

from penstock.adapters.dialects.generic import known_names
from penstock.base.nouns import EngineStats

_LATEST = ":latest"
"""The tag that Ollama takes where a name has none, so that a model may be called with it and without it."""


class _Model(msgspec.Struct):
    name: str


class _Page(msgspec.Struct):
    models: list[_Model] | None


_pages = msgspec.json.Decoder(_Page)


class Ollama:
    """The dialect of an Ollama server."""

    name = "ollama"
    health_path = "/api/version"
    stats_path: str | None = "/api/ps"
    models_path = "/api/tags"

    def alive(self, status: int) -> bool:
        """Any answer of success: it is up before any model is in memory."""
        return 200 <= status <= 299

    def stats(self, body: bytes) -> EngineStats:
        """Which models are in memory; none is a number of models too. Raises ValueError for any other page."""
        return EngineStats(loaded=_names(body))

    def models(self, body: bytes) -> tuple[str, ...]:
        """The models on its disk, all of which it can serve. Raises ValueError."""
        return _names(body)


def _names(body: bytes) -> tuple[str, ...]:
    try:
        page = _pages.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"not a list of Ollama models: {error}") from None
    told = [model.name for model in page.models or ()]
    return known_names([name for long in told for name in dict.fromkeys((long, long.removesuffix(_LATEST)))])
