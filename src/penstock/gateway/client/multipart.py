"""Looking into a multipart/form-data body (audio uploads) for the few fields that decisions need."""

import re

from msgspec import Struct

from penstock.adapters.wire.malformed import Malformed
from penstock.gateway.client.fields import MAX_MODEL_CHARS

_MAX_PARTS = 64
_MAX_PART_HEAD = 4 << 10
_MAX_VALUE = 4 << 10
_MAX_BOUNDARY = 70
_PARAMETER = re.compile(
    rb'[ \t]*+;[ \t]*+([^\x00-\x20"=;\x7f]++)=(?:"((?:[^"\\\r\n]|\\[^"\r\n])*+)"|([^\x00-\x20";\x7f]++))[ \t]*+'
)
"""A quote behind a backslash ends a value for some readers and not for others, so there is none."""
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)")
_FORM_DATA = re.compile(rb"[ \t]*+form-data(?=[ \t;]|$)", re.IGNORECASE)
_BROKEN = "The multipart body is malformed."


class Form(Struct, gc=False):
    """The inspected fields of a form."""

    model: str | None = None
    stream: bool = False
    model_at: tuple[int, int] = (0, 0)
    """Where the model's value stands in the body."""


def peek_form(content_type: bytes, body: bytes) -> Form:
    """The inspected fields. Raises Malformed (400) where the body is no such form or gives a field twice."""
    media = b"multipart/form-data"
    boundary = _parameter(content_type, len(media), b"boundary") if content_type.lower().startswith(media) else None
    if not boundary or len(boundary) > _MAX_BOUNDARY:
        raise Malformed("bad_request", "The body must be multipart/form-data with a boundary.")
    values = _values(b"--" + boundary, body)
    form = Form(stream=_one(values, b"stream", body).lower() in (b"true", b"1"))
    if b"model" in values:
        try:
            form.model = _one(values, b"model", body).decode()
        except UnicodeDecodeError:
            raise Malformed("bad_request", "The model's name is not valid UTF-8.", "model") from None
        if len(form.model) > MAX_MODEL_CHARS:
            raise Malformed("bad_request", "The model's name is too long.", "model")
        form.model_at = values[b"model"][0]
    return form


def _parameter(line: bytes, at: int, wanted: bytes) -> bytes | None:
    """A parameter's value; None: there is none. What two readers could read differently is refused: the engine must
    find the same fields as we."""
    value: bytes | None = None
    while at < len(line):
        found = _PARAMETER.match(line, at)
        name = found[1].lower() if found is not None else b""
        if found is None or name == wanted + b"*" or (name == wanted and value is not None):
            raise Malformed("bad_request", _BROKEN)
        if name == wanted:
            value = found[3] if found[2] is None else found[2]
            if b"\\" in value:
                raise Malformed("bad_request", _BROKEN)
        at = found.end()
    return value


def _name(head: bytes) -> bytes | None:
    """The name that a part's head gives it; None: none."""
    dispositions = []
    for line in head.split(b"\r\n")[1:]:
        found = _LINE.fullmatch(line)
        if found is None:
            raise Malformed("bad_request", _BROKEN)
        if found[1].lower() == b"content-disposition":
            dispositions.append(found[2])
    if not dispositions:
        return None
    kind = _FORM_DATA.match(dispositions[0])
    if len(dispositions) > 1 or kind is None:
        raise Malformed("bad_request", _BROKEN)
    return _parameter(dispositions[0], kind.end(), b"name")


def _one(values: dict[bytes, list[tuple[int, int]]], name: bytes, body: bytes) -> bytes:
    spans = values.get(name)
    if spans is None:
        return b""
    start, end = spans[0]
    if len(spans) > 1:
        raise Malformed("bad_request", f"'{name.decode()}' is given twice.", name.decode())
    if end - start > _MAX_VALUE:
        raise Malformed("bad_request", f"'{name.decode()}' is too long.", name.decode())
    return body[start:end]


def _values(delimiter: bytes, body: bytes) -> dict[bytes, list[tuple[int, int]]]:
    """Where the value of each part stands, by its name."""
    values: dict[bytes, list[tuple[int, int]]] = {}
    broken = Malformed("bad_request", _BROKEN)
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if at == 1:
        raise broken
    for _ in range(_MAX_PARTS):
        at += len(delimiter)
        if body.startswith(b"--", at):
            return values
        head_end = body.find(b"\r\n\r\n", at, at + _MAX_PART_HEAD)
        if not body.startswith(b"\r\n", at) or head_end < 0:
            raise broken
        end = body.find(b"\r\n" + delimiter, head_end + 2)
        if end < 0:
            raise broken
        name = _name(body[at:head_end])
        if name is not None:
            values.setdefault(name, []).append((min(head_end + 4, end), end))
        at = end + 2
    raise Malformed("bad_request", "The multipart body has too many parts.")
