"""What came back for one request: its timing, its token counts, and how it ended.

This room knows OpenAI's answers (chunks, usage, errors) and no sockets. All times are seconds on one monotonic clock,
handed in by whoever read the bytes.
"""

from array import array
from typing import Any

import msgspec

DONE = b"[DONE]"


class Answer:
    """One request's answer while it arrives and after."""

    __slots__ = (
        "body", "cached_tokens", "ended_at", "error", "finished", "first_byte_at", "first_content_at", "gaps_s",
        "last_content_at", "output_tokens", "pieces", "prompt_tokens", "replica", "said", "started_at", "status",
    )  # fmt: skip

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.first_byte_at: float | None = None
        self.first_content_at: float | None = None
        self.last_content_at: float | None = None
        self.ended_at = started_at
        self.gaps_s = array("f")
        """Between content events, as they were read from the socket: what came in one read is 0 apart."""
        self.status = 0
        self.replica = "-"
        self.error = ""
        """Empty: none. Else its kind: few values, safe to print."""
        self.said = ""
        """What the target said of the error, safe to print."""
        self.finished = False
        """The end mark of the stream was seen, or a whole JSON body."""
        self.pieces = 0
        """Events with content."""
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.body = b""

    @property
    def ttft_s(self) -> float | None:
        """From sending to the first content; None: there was none."""
        return None if self.first_content_at is None else self.first_content_at - self.started_at

    @property
    def e2e_s(self) -> float:
        """From sending to the end."""
        return self.ended_at - self.started_at

    @property
    def per_token_s(self) -> float | None:
        """Mean time per output token after the first; None where there was no second."""
        tokens = self.output_tokens or self.pieces
        if self.first_content_at is None or self.last_content_at is None or tokens < 2:
            return None
        return (self.last_content_at - self.first_content_at) / (tokens - 1)


class _Content(msgspec.Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None

    def __bool__(self) -> bool:
        return bool(self.content or self.reasoning_content or self.reasoning or self.tool_calls)


class _Choice(msgspec.Struct):
    delta: _Content | None = None
    message: _Content | None = None
    text: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Message(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Message)


def read_event(answer: Answer, data: bytes, at: float) -> None:
    """Take one event of a stream that was read at `at`. The first error holds; nothing counts after it or the end."""
    if answer.finished or answer.error:
        return
    if data.strip() == DONE:
        answer.finished, answer.ended_at = True, at
        return
    message = _decode(answer, data)
    if message is None:
        return
    if message.error is not None:
        _fail(answer, "stream_error", message.error)
        answer.ended_at = at
    elif _has_content(message):
        _content(answer, at)


def read_body(answer: Answer, data: bytes, at: float) -> None:
    """Take a whole body: a JSON answer, or the error that a status speaks of."""
    answer.body, answer.ended_at = data, at
    if not 200 <= answer.status < 300:
        _fail(answer, str(answer.status), _error_in(data))
        return
    message = _decode(answer, data)
    if message is None:
        return
    answer.finished = True
    if message.error is not None:
        _fail(answer, str(answer.status), message.error)


def _fail(answer: Answer, kind: str, error: object) -> None:
    answer.error = f"{kind} {error_code(error)}".strip()
    said = error.get("message") if isinstance(error, dict) else error
    answer.said = clean(said, 200).strip() if isinstance(said, str) else ""


def _decode(answer: Answer, data: bytes) -> _Message | None:
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer.error = "bad_json"
        return None
    usage = message.usage
    if usage is not None:
        answer.prompt_tokens = usage.prompt_tokens
        answer.output_tokens = usage.completion_tokens
        if usage.prompt_tokens_details is not None:
            answer.cached_tokens = usage.prompt_tokens_details.cached_tokens
    return message


def _has_content(message: _Message) -> bool:
    return any(choice.delta or choice.text or choice.message for choice in message.choices or ())


def _content(answer: Answer, at: float) -> None:
    if answer.last_content_at is None:
        answer.first_content_at = at
    else:
        answer.gaps_s.append(at - answer.last_content_at)
    answer.last_content_at = at
    answer.pieces += 1


def error_code(error: object) -> str:
    """A printable, short name for an OpenAI `error` object: its code where that is a word, else its type, else ""."""
    if isinstance(error, dict):
        for field in ("code", "type"):
            if isinstance(error.get(field), str) and error[field]:
                return clean(error[field])
    return ""


def _error_in(data: bytes) -> object:
    """The error in a body of whatever shape: OpenAI's object, an older engine's flat one, or the text itself."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data[:200].decode("utf-8", "replace")
    return body.get("error", body) if isinstance(body, dict) else body


def clean(text: str, limit: int = 60) -> str:
    """`text` cut and freed of everything that could act on a terminal: a target is not trusted with it."""
    return "".join(character if character.isprintable() and character.isascii() else "?" for character in text[:limit])
