"""Any server with an OpenAI-compatible API: nothing is known of it but its list of models."""

from collections.abc import Sequence

import msgspec

from penstock.base.nouns import EngineStats

MAX_MODELS = 10_000
MAX_NAME = 512
"""Bounds on what a models page may make us remember; the largest public hubs list some hundreds of names."""

ALIVE_ANYWAY = frozenset({401, 403, 404, 405})
"""A server that wants a key, or lists no models, has answered: it is alive."""


class _Model(msgspec.Struct):
    id: str


class _Page(msgspec.Struct):
    data: list[_Model]


_pages = msgspec.json.Decoder(_Page)


def listed_models(body: bytes) -> tuple[str, ...]:
    """The ids on an OpenAI models page, in its order, each once. Raises ValueError."""
    try:
        page = _pages.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"not a list of models: {error}") from None
    return known_names([model.id for model in page.data])


def known_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names that an engine told us, in its order, each once. Raises ValueError for too many, or one that is no name."""
    if len(names) > MAX_MODELS:
        raise ValueError(f"a list of {len(names)} models")
    known = tuple(dict.fromkeys(names))
    for name in known:
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise ValueError(f"not a model's name: {name[:80]!r}")
    return known


class Generic:
    """The dialect of a server of which nothing is known."""

    name = "generic"
    health_path = "/v1/models"
    stats_path: str | None = None
    models_path = "/v1/models"

    def alive(self, status: int) -> bool:
        """It answered with something that only a living server says."""
        return 200 <= status <= 299 or status in ALIVE_ANYWAY

    def stats(self, body: bytes) -> EngineStats:
        """It has no metrics that we could read. Raises ValueError."""
        raise ValueError("this engine has no metrics page")

    def models(self, body: bytes) -> tuple[str, ...]:
        """The names on its models page. Raises ValueError."""
        return listed_models(body)
