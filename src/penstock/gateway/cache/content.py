"""What the cache needs to know of a request's body: a digest of all that changes its answer.

The digest is over the body as JSON with its keys in order, so that neither the order of keys nor white space matters. A
body in which a key stands twice has none: an engine might read it otherwise than we do, and then an answer to one
question would be given to another. Of a long body only the keys at its top are put in order, and their values are
taken as they stand: reading all of it would hold up other calls, and who writes long bodies writes them alike.
"""

import json
from hashlib import blake2b
from typing import Any, Final

import msgspec

from penstock.base.contents import Content
from penstock.core.cache.spec import CacheSpec
from penstock.gateway.client.fields import Fields
from penstock.gateway.client.peek import is_fixed
from penstock.gateway.client.wishes import Wishes

MOST_BYTES: Final = 1 << 20
"""A longer request is not looked at."""
SHORT_BYTES: Final = 8 << 10
"""Up to this size all of a body is put in order."""
MOST_READ_BYTES: Final = 64 << 10
"""The same where that is the only way to know that no key stands twice."""
DRAWN: Final = frozenset({
    "/v1/chat/completions", "/chat/completions", "/v1/completions", "/completions", "/v1/messages", "/generate",
    "/generate_stream",
})  # fmt: skip
"""Paths whose answers are drawn, unless the request says otherwise."""
COMPUTED: Final = frozenset({
    "/v1/embeddings", "/embeddings", "/v1/messages/count_tokens", "/v1/moderations", "/v1/rerank", "/v2/rerank",
    "/rerank", "/v1/score", "/score", "/pooling", "/classify", "/tokenize", "/detokenize", "/v1/tokenize",
    "/v1/detokenize",
})  # fmt: skip
"""Paths whose answers are a function of the request. (Responses are kept by their engine under an id, and recordings
are long: neither is cached.)"""
IGNORED: Final[tuple[str, ...]] = (
    "model", "stream", "user", "metadata", "safety_identifier", "prompt_cache_key", "request_id", "priority",
)  # fmt: skip
"""They change no answer; or stand in the key as what they come to (the model after aliases, whether it streams)."""
_NO_CONTENT: Final = Content("")


class Twice(Exception):
    """A key stands twice in one object."""


def content_of(path: str, body: bytes, fields: Fields, wishes: Wishes, spec: CacheSpec) -> Content | None:
    """What the cache needs to know; None: nothing of this path is ever cached. `fields`: what was seen of the body."""
    drawn = path in DRAWN
    if not drawn and path not in COMPUTED:
        return None
    wish = wishes.cache
    if wish == "bypass" or len(body) > MOST_BYTES:
        return _NO_CONTENT
    fixed = not drawn or is_fixed(fields)
    if not fixed and not wish and spec.mode != "all" and not (spec.rules and _some_all(spec)):
        return _NO_CONTENT
    return Content(_digest(body), fixed, wish, wishes.tags)


def _some_all(spec: CacheSpec) -> bool:
    return any(rule.mode == "all" for rule in spec.rules)


def _digest(body: bytes) -> str:
    """Of a body that was peeked at; empty: it has none."""
    try:
        plain = _in_order(body) if len(body) <= SHORT_BYTES else _top_in_order(body)
    except (ValueError, RecursionError, Twice):  # numbers with thousands of digits, for one
        return ""
    return blake2b(plain, digest_size=16).hexdigest()


def _in_order(body: bytes) -> bytes:
    fields = decode(body.decode())
    for name in IGNORED:
        fields.pop(name, None)
    return encode(fields).encode()


def _top_in_order(body: bytes) -> bytes:
    """Raises Twice where it is not certain that no key stands twice: only of a body without white space between its
    values is that seen at once, by its length."""
    fields = _decode_top(body)
    members = {name: msgspec.json.encode(name) + b":" + value for name, value in fields.items()}
    if sum(map(len, members.values())) + len(members) + 1 != len(body.strip()):
        if len(body) > MOST_READ_BYTES:
            raise Twice
        return _in_order(body)
    return b"{%b}" % b",".join([members[name] for name in sorted(members) if name not in IGNORED])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Twice
    return found


decode = json.JSONDecoder(object_pairs_hook=_once).decode
encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_decode_top = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
