"""Looking into a multipart/form-data body (audio uploads) for the few fields that decisions need."""

import re

from msgspec import Struct

from penstock.adapters.wire.malformed import Malformed
from penstock.gateway.client.peek import MAX_MODEL_CHARS

_MAX_PARTS = 64
_MAX_PART_HEAD = 4 << 10
_MAX_VALUE = 4 << 10
_BOUNDARY = re.compile(rb';[ \t]*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb';[ \t]*name=(?:"([^"\r\n]*)"|([^\s;"]+))', re.IGNORECASE)


class Form(Struct, gc=False):
    """The inspected fields of a form."""

    model: str | None = None
    stream: bool = False
    model_at: tuple[int, int] = (0, 0)
    """Where the model's value stands in the body."""


def peek_form(content_type: bytes, body: bytes) -> Form:
    """The inspected fields. Raises Malformed (400) where the body is no such form or gives a field twice."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith(b"multipart/form-data") or found is None:
        raise Malformed("bad_request", "The body must be multipart/form-data with a boundary.")
    values = _values(b"--" + (found[1] or found[2]), body)
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
    broken = Malformed("bad_request", "The multipart body is malformed.")
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
        name = _NAME.search(body, at, head_end)
        if name is not None:
            values.setdefault(name[1] or name[2] or b"", []).append((min(head_end + 4, end), end))
        at = end + 2
    raise Malformed("bad_request", "The multipart body has too many parts.")
