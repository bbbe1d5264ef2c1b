"""What clients send: bodies, their checks, and errors in the shape of a vLLM 0.32."""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

MAX_CHOICES = 16
_PATH = re.compile(r" - at `\$([^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `([^`]+)`")

Body = TypeVar("Body", bound=Struct)


class Wrong(Exception):
    """The request cannot be served; the client is told why."""

    def __init__(
        self, message: str, param: str | None = None, status: int = 400, kind: str = "BadRequestError"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.kind = kind


class StreamOptions(Struct):
    """`stream_options` of the OpenAI API, with vLLM's addition."""

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class Part(Struct):
    """One part of a message: text counts, pictures and files are skipped."""

    type: str = "text"
    text: str | None = None


Content = str | list[Part] | None


class Message(Struct):
    """One message of a conversation."""

    role: str
    content: Content = None


class Sampling(Struct, kw_only=True):
    """What the generating paths have in common."""

    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None
    seed: int | None = None
    temperature: float | None = None
    user: str | None = None


class ChatBody(Sampling, kw_only=True):
    """/v1/chat/completions."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    tools: list[Any] | None = None


class CompletionBody(Sampling, kw_only=True):
    """/v1/completions."""

    prompt: str | list[str | int | list[int]] | None = None
    echo: bool | None = False


async def read(request: Request, kind: type[Body], max_bytes: int) -> Body:
    """The body of a request. Raises Wrong as a vLLM would answer."""
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise _invalid("Unsupported Media Type: Only 'application/json' is allowed", None)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise Wrong(f"The body is longer than {max_bytes} bytes.", status=413)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _validation(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = f"{{'type': 'json_invalid', 'loc': 'body', 'msg': 'JSON decode error: {error}'}}"
        raise _invalid(detail, "body") from None


def _validation(text: str) -> Wrong:
    found, missing = _PATH.search(text), _MISSING.match(text)
    where = "body" + (found[1] if found else "")
    if missing:
        where += f".{missing[1]}"
        return _invalid(f"{{'type': 'missing', 'loc': '{where}', 'msg': 'Field required'}}", where)
    return _invalid(f"{{'type': 'value_error', 'loc': '{where}', 'msg': '{_PATH.sub('', text)}'}}", where)


def _invalid(detail: str, param: str | None) -> Wrong:
    return Wrong(f"1 validation error:\n  {detail}", param, kind="Bad Request")


def check_model(asked: str | None, served: str) -> None:
    """Raises Wrong (404) when the request names another model; naming none is allowed, as in vLLM."""
    if asked and asked != served:
        message = f"The model `{asked}` does not exist. Valid aliases: {served}."
        raise Wrong(message, "model", 404, "NotFoundError")


def check_sampling(body: Sampling, max_tokens: int | None, max_model_len: int) -> None:
    """Raises Wrong for parameters out of range."""
    n = 1 if body.n is None else body.n
    if n < 1:
        raise Wrong(f"n must be at least 1, got {n}.")
    if n > MAX_CHOICES:
        raise Wrong(f"n must be at most {MAX_CHOICES}, got {n}.")
    if body.temperature is not None and body.temperature < 0:
        text = f"temperature must be non-negative, got {body.temperature}."
        raise Wrong(f"{text} (parameter=temperature, value={body.temperature})", "temperature")
    if max_tokens is not None and max_tokens < 1:
        text = f"max_tokens must be at least 1, got {max_tokens}."
        raise Wrong(f"{text} (parameter=max_tokens, value={max_tokens})", "max_tokens")
    if max_tokens is not None and max_tokens > max_model_len:
        text = f"max_tokens={max_tokens} cannot be greater than max_model_len={max_model_len}."
        advice = "Please request fewer output tokens."
        raise Wrong(f"{text} {advice} (parameter=max_tokens, value={max_tokens})", "max_tokens")
    if body.min_tokens is not None and max_tokens is not None and body.min_tokens > max_tokens:
        raise Wrong(f"min_tokens must be less than or equal to max_tokens={max_tokens}, got {body.min_tokens}.")
    if body.stream_options is not None and not body.stream:
        text = "Stream options can only be defined when `stream=True`. (parameter=stream_options)"
        raise Wrong(text, "stream_options")


def check_length(prompt_tokens: int, max_model_len: int) -> None:
    """Raises Wrong when the prompt alone leaves no place for a token."""
    if prompt_tokens >= max_model_len:
        raise Wrong(
            f"This model's maximum context length is {max_model_len} tokens. However, your prompt contains at least "
            f"{prompt_tokens} input tokens, which exceeds this limit even without any output tokens. Please reduce the "
            f"length of the input prompt. (parameter=input_tokens, value={prompt_tokens})",
            "input_tokens",
        )


def text_of(content: Content) -> str:
    """The text of a message's content."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if part.text)


def error(wrong: Wrong) -> Response:
    """OpenAI's error shape as vLLM fills it: `code` repeats the status."""
    body = {"message": wrong.message, "type": wrong.kind, "param": wrong.param, "code": wrong.status}
    return encoded({"error": body}, wrong.status)


def encoded(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def event(value: Any, name: str | None = None) -> bytes:
    """One server-sent event."""
    data = b"data: " + msgspec.json.encode(value) + b"\n\n"
    return data if name is None else b"event: " + name.encode() + b"\n" + data
