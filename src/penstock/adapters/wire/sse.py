"""Server-sent events of inference engines: where events end, which carry content, which only say what was used.

Three families are told apart by what an event's data holds: OpenAI's chunks (`choices`), OpenAI's responses and
Anthropic's messages (both `type`). What is not understood counts as content: nothing is ever held back for good.
"""

import re
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from penstock.adapters.wire.usage_shape import UsageFields
from penstock.base.nouns import Usage

DONE: Final = b"[DONE]"

Kind = Literal["empty", "content", "error"]

_EMPTY_TYPES: Final = frozenset((
    # Anthropic
    "ping", "message_start", "content_block_start",
    # OpenAI responses
    "response.created", "response.queued", "response.in_progress", "response.output_item.added",
    "response.content_part.added", "response.reasoning_summary_part.added",
))  # fmt: skip
_ERROR_TYPES: Final = frozenset(("error", "response.failed"))


class _Choice(Struct, gc=False):
    delta: dict[str, Any] | None = None
    text: str | None = None
    finish_reason: Any = None


class _Event(Struct, gc=False):
    choices: list[_Choice] | None = None
    type: str | None = None
    error: Any = None
    usage: UsageFields | None = None


_DECODER: Final = msgspec.json.Decoder(_Event)


_MIXED: Final = re.compile(rb"(?s).+?(?:\r?\n\r?\n|\r\r|\Z)")
"""An event and its end, where lines may end in any way, as they do behind an engine's own events and a proxy's."""


def last_end(payload: bytes) -> int:
    """The index behind the last whole event of the payload; 0: it holds none."""
    if payload.endswith(b"\n\n"):
        return len(payload)
    newest = payload.rfind(b"\n\n") + 2
    crlf = payload.rfind(b"\n\r\n") + 3  # the line before may end with LF alone
    cr = payload.rfind(b"\r\r") + 2
    return max(newest if newest > 1 else 0, crlf if crlf > 2 else 0, cr if cr > 1 else 0)


def split(payload: bytes) -> list[bytes]:
    """Whole events, each with its end. What stands behind the last end comes as a last, unfinished one."""
    if b"\r" in payload:
        return _MIXED.findall(payload)
    if payload.find(b"\n\n") == len(payload) - 2:
        return [payload]
    pieces = payload.split(b"\n\n")
    last = pieces.pop()
    events = [piece + b"\n\n" for piece in pieces]
    if last:
        events.append(last)
    return events


def separator(payload: bytes) -> bytes:
    """What ends this stream's events."""
    if b"\r" not in payload or b"\n\n" in payload:
        return b"\n\n"
    return b"\r\n\r\n" if b"\r\n\r\n" in payload or b"\r\r" not in payload else b"\r\r"


def data_of(event: bytes) -> bytes:
    """The event's data lines, joined by line feeds; empty: it has none (a comment, a ping without data)."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:
        return event[6:-2]  # one line of data and nothing else: almost always
    lines = (line[5:] for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(line.removeprefix(b" ") for line in lines)


def kind_of(event: bytes) -> Kind:
    """Whether an event brings content, nothing that a client waits for, or the engine's failure."""
    data = data_of(event)
    if not data:
        return "empty"
    if not data.startswith(b"{"):
        return "content"
    try:
        parsed = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "content"
    if parsed.error is not None or parsed.type in _ERROR_TYPES:
        return "error"
    if parsed.choices is not None:
        return "content" if any(_has_content(choice) for choice in parsed.choices) else "empty"
    return "empty" if parsed.type in _EMPTY_TYPES else "content"


def _has_content(choice: _Choice) -> bool:
    if choice.finish_reason is not None or choice.text:
        return True
    for name, value in (choice.delta or {}).items():  # noqa: SIM110 (a generator costs more)
        if value and name != "role":
            return True
    return False


def usage_alone(event: bytes) -> Usage | None:
    """The usage, where the event is a chunk that brings nothing else: the one that `include_usage` asks for."""
    data = data_of(event)
    try:
        parsed = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if parsed.choices != [] or parsed.usage is None:
        return None
    return parsed.usage.usage()


class _Problem(Struct, gc=False):
    code: Any = None
    status: Any = None
    type: Any = None


class _Problems(Struct, gc=False):
    error: _Problem | str | None = None
    error_type: str = ""


_STATUS_OF_TYPE: Final = {
    # OpenAI's and Anthropic's
    "invalid_request_error": 400, "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429,
    "overloaded_error": 503,
    # TGI's `error_type` (router/src/server.rs): the status that it answers with where it does not stream
    "validation": 422, "template_error": 422, "missing_template_variable": 422, "tool_error": 422, "overloaded": 429,
}  # fmt: skip


def status_of_error(event: bytes) -> int:
    """The HTTP status that an error event names in its `code` or `status`, or by its type; 0: none."""
    try:
        told = msgspec.json.decode(data_of(event), type=_Problems)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
    problem = told.error
    if not isinstance(problem, _Problem):
        return _STATUS_OF_TYPE.get(told.error_type, 0)
    for value in (problem.code, problem.status):
        if isinstance(value, int) and 400 <= value <= 599:
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit() and 400 <= int(value[:4]) <= 599:
            return int(value)
    return _STATUS_OF_TYPE.get(problem.type, 0) if isinstance(problem.type, str) else 0


def ended(tail: bytes) -> bool:
    """Whether the end of a stream says itself that it is complete."""
    return DONE in tail or b"message_stop" in tail or b"response.completed" in tail or b"response.incomplete" in tail
