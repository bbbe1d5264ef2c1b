"""Which engine is this, and what does it say of itself: version, longest context, how many calls it works on at once.

Pure: pages in, facts out. The list of models names its owner, and most engines write themselves there; the others are
known by a page that only they have. A page is read leniently field by field: what is not there, or cannot be true, is
not known. Sources of the forms, by file of each project:

- vLLM: entrypoints/openai (`owned_by` "vllm", `max_model_len`), /version.
- SGLang: srt/entrypoints/http_server.py (/server_info, formerly /get_server_info: the server's arguments and
  `version`); srt/entrypoints/openai/protocol.py (`owned_by` "sglang", `max_model_len`).
- TGI: its OpenAPI document, /info.
- Triton: python/openai, engine/triton_engine.py (`owned_by` "Triton Inference Server"); its frontend tells no version.
- llama.cpp: tools/server (`owned_by` "llamacpp"; README, /props).
- Ollama: docs/api.md, /api/version.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from penstock.base.nouns import Engine, EngineAbout

MODELS_PATH = "/v1/models"
MAX_TOLD = 1 << 30
"""Larger numbers of tokens or calls are not believed."""

_OWNERS: Mapping[str, Engine] = {
    "vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "Triton Inference Server": "triton",
}  # fmt: skip
PAGES: Mapping[Engine, tuple[str, ...]] = {
    "vllm": ("/version",),
    "sglang": ("/server_info", "/get_server_info"),
    "tgi": ("/info",),
    "llamacpp": ("/props",),
    "ollama": ("/api/version",),
}
"""Where each says more of itself, the newest path first."""
UNSIGNED: tuple[Engine, ...] = ("ollama", "tgi", "llamacpp", "sglang")
"""Engines whose own page nobody else has: known by it where the list of models is not signed (Ollama and TGI never sign
it, a llama-server's router of some releases does not)."""


def owner(models_page: bytes) -> EngineAbout:
    """What the list of models tells; the engine is generic where its owner is nobody we know. Raises ValueError."""
    entries = _mapping(models_page).get("data")
    if not isinstance(entries, list):
        raise ValueError("not a list of models")
    first = next((entry for entry in entries if isinstance(entry, dict)), {})
    name = first.get("owned_by")
    engine = _OWNERS.get(name, "generic") if isinstance(name, str) else "generic"
    return EngineAbout(engine=engine, max_model_len=_count(first.get("max_model_len")))


def about(engine: Engine, page: bytes) -> EngineAbout:
    """What one of the engine's PAGES tells. Raises ValueError where it is not such a page of such an engine."""
    return _READERS[engine](_mapping(page))


def joined(first: EngineAbout, more: EngineAbout) -> EngineAbout:
    """Two tellings of one engine as one; the second is the one that knows better."""
    return EngineAbout(
        engine=more.engine,
        version=more.version or first.version,
        max_model_len=first.max_model_len if more.max_model_len is None else more.max_model_len,
        seats=first.seats if more.seats is None else more.seats,
    )


# ===== readers =====


def _vllm(page: dict[str, Any]) -> EngineAbout:
    return EngineAbout(engine="vllm", version=_version(page, "version"))


def _sglang(page: dict[str, Any]) -> EngineAbout:
    if "model_path" not in page:
        raise ValueError("not SGLang's server_info")
    seats = _count(page.get("max_running_requests"))  # null where the server works it out by itself
    return EngineAbout(engine="sglang", version=_version(page, "version"), seats=seats)


def _tgi(page: dict[str, Any]) -> EngineAbout:
    if "model_id" not in page or "max_concurrent_requests" not in page:
        raise ValueError("not TGI's info")
    return EngineAbout(
        engine="tgi", version=_version(page, "version"), max_model_len=_count(page.get("max_total_tokens")),
        seats=_count(page["max_concurrent_requests"]),
    )  # fmt: skip


def _llamacpp(page: dict[str, Any]) -> EngineAbout:
    settings = page.get("default_generation_settings")
    if not isinstance(settings, dict):
        raise ValueError("not llama-server's props")
    return EngineAbout(
        engine="llamacpp", version=_version(page, "build_info", needed=False),
        max_model_len=_count(settings.get("n_ctx")), seats=_count(page.get("total_slots")),
    )  # fmt: skip


def _ollama(page: dict[str, Any]) -> EngineAbout:
    return EngineAbout(engine="ollama", version=_version(page, "version"))


_READERS: Mapping[Engine, Callable[[dict[str, Any]], EngineAbout]] = {
    "vllm": _vllm, "sglang": _sglang, "tgi": _tgi, "llamacpp": _llamacpp, "ollama": _ollama,
}  # fmt: skip


def _mapping(page: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(page)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _version(page: dict[str, Any], name: str, needed: bool = True) -> str:
    told = page.get(name)
    if isinstance(told, str) and 0 < len(told) <= 64 and told.isprintable():
        return told
    if needed:
        raise ValueError(f"no {name} on the page")
    return ""


def _count(told: Any) -> int | None:
    is_count = isinstance(told, int) and not isinstance(told, bool) and 1 <= told <= MAX_TOLD
    return told if is_count else None
