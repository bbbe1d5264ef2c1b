"""Requests that go to an engine as one: which are alike, their common body, and the parts of the answer. Bytes only.

Two requests are alike where nothing but their one input differs, byte for byte, heads included as far as an engine
might answer by them. Whatever this file is not sure of goes alone.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from penstock.adapters.wire.usage_shape import UsageFields
from penstock.base.nouns import Usage
from penstock.gateway.client.head import Head

_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_VALUES = {
    name: re.compile(rb'"%b"[ \t\r\n]*+:[ \t\r\n]*+(?:(%b)|(\[[ \t\r\n]*+(%b)[ \t\r\n]*+\]))' % (name, _TEXT, _TEXT))
    for name in (b"input", b"prompt")
}
_MANY = re.compile(rb'"prompt"[ \t\r\n]*+:[ \t\r\n]*+\[')
_INDEX = re.compile(rb'"index"[ \t\r\n]*+:[ \t\r\n]*+[0-9]++')

_Item = tuple[int, int, int, int]


class Request(Protocol):
    """One request, as far as this file looks at it."""

    body: bytes | None
    head: Head
    most_tokens: int | None
    item_at: _Item


class Part(msgspec.Struct, frozen=True):
    """One request's part of an answer."""

    body: bytes
    usage: Usage | None


class _Prompts(msgspec.Struct):
    prompt: msgspec.Raw = msgspec.Raw()


class _Indexed(msgspec.Struct):
    index: int


_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_prompts = msgspec.json.Decoder(_Prompts).decode
_decode_index = msgspec.json.Decoder(_Indexed).decode
_encode = msgspec.json.encode


# ===== requests =====


def item_in(body: bytes, name: bytes) -> _Item | None:
    """Where the field's value stands in a valid JSON body, and in it the one text; None: it has no such field, or
    several inputs, or token numbers, or it might be spelled with escapes, or stand there twice."""
    if body.count(b'"%b"' % name) != 1 or b"\\u00" in body:
        return None
    found = _VALUES[name].search(body)
    if found is None:
        return None
    if found[1] is not None:
        return (*found.span(1), *found.span(1))
    return (*found.span(2), *found.span(3))


def prompts_in(body: bytes) -> int:
    """How many prompts the body of a completion has, each of which has answers of its own. It was peeked at."""
    if _MANY.search(body) is None and b"\\u00" not in body:
        return 1
    try:
        prompt = bytes(_decode_prompts(body).prompt)
        if prompt[:1] != b"[" or prompt[1:].lstrip()[:1] not in (b'"', b"["):  # a list of tokens is one prompt
            return 1
        return len(_decode_items(prompt))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 1


def alike(request: Request) -> str:
    """The digest that requests share which may go as one; empty: it goes alone. Notes where the input is."""
    body = request.body or b""
    at = item_in(body, request.head.route.lists)
    if at is None:
        return ""
    request.item_at = at
    digest = blake2b(request.head.alike, digest_size=12)
    digest.update(b"\0%d\0%b\0" % (request.most_tokens or 0, body[: at[0]]))
    digest.update(body[at[1] :])
    return digest.hexdigest()


def joined(requests: Sequence[tuple[bytes, _Item]]) -> bytes:
    """One body for all: the first one's, with a list of all inputs."""
    body, (start, end, _, _) = requests[0]
    items = b",".join([each[at[2] : at[3]] for each, at in requests])
    return b"%b[%b]%b" % (body[:start], items, body[end:])


# ===== answers =====


def parts_of(answer: bytes, weights: Sequence[int]) -> list[Part] | None:
    """The answer to so many inputs, taken apart in their order; `weights` say how large each was. None: it is not of
    the known shape, or not for so many."""
    try:
        return _parts(answer, weights)
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, ValueError, RecursionError):
        return None


def _parts(answer: bytes, weights: Sequence[int]) -> list[Part] | None:
    members = _decode_members(answer)
    name = "data" if "data" in members else "choices"
    items = _in_order(_decode_items(members[name]), len(weights))
    if items is None:
        return None
    usages = _usages(members.get("usage"), items, weights, name)
    parts = []
    for number, (item, usage) in enumerate(zip(items, usages, strict=True)):
        whole: dict[str, Any] = {**members, name: [msgspec.Raw(item)]}
        if usage is not None:
            whole["usage"] = usage
        if (own := members.get("id")) is not None and bytes(own)[:1] == b'"':
            whole["id"] = f"{msgspec.json.decode(own)}-{number}"
        counted = None if usage is None else msgspec.convert(usage, UsageFields).usage()
        parts.append(Part(_encode(whole), counted))
    return parts


def _in_order(items: list[msgspec.Raw], wanted: int) -> list[bytes] | None:
    """The items by their index, each with the index 0."""
    if len(items) != wanted:
        return None
    found: list[bytes] = [b""] * wanted
    for raw in items:
        item = bytes(raw)
        index = _decode_index(item).index
        if not 0 <= index < wanted or found[index]:
            return None
        found[index] = _as_first(item)
    return found


def _as_first(item: bytes) -> bytes:
    if item.count(b'"index"') == 1:
        return _INDEX.sub(b'"index":0', item, count=1)
    members = _decode_members(item)
    return _encode({**members, "index": 0})


def _usages(
    raw: msgspec.Raw | None, items: Sequence[bytes], weights: Sequence[int], name: str
) -> list[dict[str, Any] | None]:
    """Each one's usage object: of the prompt by how large it was, of the answer by how large that is. They add up to
    what the engine told, to the token."""
    told = None if raw is None else msgspec.json.decode(raw)
    if not isinstance(told, dict):
        return [None] * len(items)
    answers = [len(item) for item in items] if name == "choices" else weights
    shares = {
        "prompt_tokens": shared(_count(told, "prompt_tokens"), weights),
        "completion_tokens": shared(_count(told, "completion_tokens"), answers),
    }
    details = told.get("prompt_tokens_details")
    cached = shared(_count(details, "cached_tokens"), weights) if isinstance(details, dict) else []
    usages: list[dict[str, Any] | None] = []
    for at in range(len(items)):
        own: dict[str, Any] = dict(told)
        for field, parts in shares.items():
            if field in told:
                own[field] = parts[at]
        if "total_tokens" in told:
            own["total_tokens"] = shares["prompt_tokens"][at] + shares["completion_tokens"][at]
        if cached:
            own["prompt_tokens_details"] = {**details, "cached_tokens": min(cached[at], own["prompt_tokens"])}  # type: ignore[dict-item]
        usages.append(own)
    return usages


def _count(told: dict[str, Any], field: str) -> int:
    value = told.get(field)
    return value if isinstance(value, int) and value > 0 else 0


def shared(total: int, weights: Sequence[int]) -> list[int]:
    """The total in whole parts by weight, by largest remainders, the first of equals first: they add up to it
    exactly."""
    whole = sum(weights)
    if whole <= 0:
        weights, whole = [1] * len(weights), len(weights)
    parts = [total * weight // whole for weight in weights]
    rests = sorted(range(len(weights)), key=lambda at: (-(total * weights[at] % whole), at))
    for at in rests[: total - sum(parts)]:
        parts[at] += 1
    return parts
