"""What may be asked for: the data port's table of methods and paths [D2]. A path that is not here does not exist."""

from typing import Literal

from msgspec import Struct

Local = Literal["models", "model", "health", "ready"]
Body = Literal["json", "multipart"]


class Route(Struct, frozen=True):
    """One path."""

    path: str
    local: Local | None = None
    """Answered here; None: by a replica."""
    body: Body = "json"
    needs_model: bool = True
    may_ask_usage: bool = False
    """Its streams tell the usage when asked with `stream_options.include_usage`."""
    prompt: bool = False
    """Its body has a prompt that an engine's prefix cache may know."""
    most_tokens: bytes = b""
    """The field of its body that says how many tokens an answer may have; empty: there is none at its top level."""
    chats: bool = False
    """`max_completion_tokens` says it as well."""
    lists: bytes = b""
    """The field of its body that may be a list of inputs, each of which has its part of the answer; empty: there is
    none."""
    named_events: bool = False
    """Its streams are Anthropic's, whose clients know an event by its name."""
    open: bool = False
    """No key is asked for."""

    @property
    def method(self) -> str:
        """The method that it takes; whoever takes GET answers HEAD as well."""
        return "GET" if self.local is not None else "POST"


def _forwarded(*paths: str, **flags: bool | bytes) -> list[Route]:
    return [Route(path, **flags) for path in paths]  # type: ignore[arg-type]


_ROUTES = [
    *_forwarded(
        "/v1/chat/completions",
        "/chat/completions",
        may_ask_usage=True,
        prompt=True,
        most_tokens=b"max_tokens",
        chats=True,
    ),
    *_forwarded(
        "/v1/completions",
        "/completions",
        may_ask_usage=True,
        prompt=True,
        most_tokens=b"max_tokens",
        lists=b"prompt",
    ),
    *_forwarded("/v1/responses", "/responses", prompt=True, most_tokens=b"max_output_tokens"),
    *_forwarded("/v1/messages", prompt=True, most_tokens=b"max_tokens", named_events=True),
    *_forwarded("/v1/embeddings", "/embeddings", lists=b"input"),
    *_forwarded("/v1/messages/count_tokens", "/v1/moderations", "/v1/audio/speech"),
    *_forwarded(
        "/v1/rerank", "/v2/rerank", "/rerank", "/v1/score", "/score", "/pooling", "/classify", needs_model=False
    ),
    *_forwarded("/tokenize", "/detokenize", "/v1/tokenize", "/v1/detokenize", needs_model=False),
    *_forwarded("/generate", "/generate_stream", needs_model=False, prompt=True),
    Route("/v1/audio/transcriptions", body="multipart"),
    Route("/v1/audio/translations", body="multipart"),
    Route("/v1/models", local="models"),
    Route("/models", local="models"),
    Route("/health", local="health", open=True),
    Route("/ready", local="ready", open=True),
]
ROUTES: dict[bytes, Route] = {route.path.encode(): route for route in _ROUTES}

_ONE_MODEL = Route("/v1/models/", local="model")


_SHOWN = 200
_ELSEWHERE = (b"admin", b"metrics")
"""What is asked of the data port by those who mean the admin port."""


def missing(target: bytes) -> str:
    """What a client reads whose path does not exist: with the one that it may have meant, as of a wrong base URL."""
    path = target.partition(b"?")[0]
    parts = [part for part in path.split(b"/", 8) if part]
    meant = [b"/" + b"/".join(parts[at:]) for at in range(len(parts))]
    said = f"There is nothing at {path[:_SHOWN].decode('ascii', 'replace')}"
    if parts and parts[0] in _ELSEWHERE:
        return f"{said}: metrics and the admin API have a port of their own, `admin` in the gateway's configuration."
    for one in meant:
        if one in ROUTES and one != path:
            return f"{said}; did you mean {one.decode()}?"
    return f"{said}. The endpoints of OpenAI's API are below /v1."


def find(target: bytes) -> Route | None:
    """The route of a request target (path and query); None: there is nothing. Exact: no normalising, no decoding."""
    path = target.partition(b"?")[0]
    route = ROUTES.get(path)
    if route is None and path.startswith(b"/v1/models/"):
        return _ONE_MODEL
    return route
