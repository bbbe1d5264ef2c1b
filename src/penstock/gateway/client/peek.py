"""Looking into a request's JSON body without rewriting it: the few fields that decisions need, and splices.

The engine reads the same bytes as we do, but maybe with another parser: where two parsers could disagree about an
inspected field (a key given twice), the request is refused. All work is linear in the body, and bounded in what Python
does itself.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from penstock.adapters.wire.malformed import Malformed
from penstock.base.prefix import SHORTEST_BYTES, chain
from penstock.gateway.client.fields import Fields, Prompted

MAX_USER_BYTES: Final = 4096
INSPECTED = (
    "model", "stream", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "stream_options",
)  # fmt: skip

_KEYS: Final = re.compile(rb'"(?:model|stream(?:_options)?|max_(?:completion_|output_)?tokens|n|best_of)"')
_MESSAGES: Final = re.compile(rb'"messages"[ \t\r\n]*+:[ \t\r\n]*+')
_PROMPT: Final = re.compile(rb'"prompt"[ \t\r\n]*+:[ \t\r\n]*+')
_INPUT: Final = re.compile(rb'"input"[ \t\r\n]*+:[ \t\r\n]*+')
_LONG_BYTES: Final = SHORTEST_BYTES // 2
"""A value of so many bytes is worth being left out of the look for keys."""
_MAX_STEPS: Final = 20_000
"""Braces, brackets and strings that the exact scan looks at; some 10 ms."""
_STRUCTURE: Final = re.compile(rb'["{}\[\]]')
_COLON: Final = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_MEMBER: Final = re.compile(rb'[ \t\r\n]*+[{,][ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+:[ \t\r\n]*+')
_AFTER_MEMBERS: Final = re.compile(rb"[ \t\r\n]*+(?:\{[ \t\r\n]*+)?\}")
_ATTACHED: Final = re.compile(rb";base64,[A-Za-z0-9+/=_-]*+")
_BYTES_PER_TOKEN: Final = 4
ATTACHED_TOKENS: Final = 1024
"""What a picture or a recording is taken to be, whose bytes tell nothing of its tokens: about a picture of a megapixel
in common vision models, and more than half a minute of speech in most."""
_MAY_ATTACH_BYTES: Final = 8 << 10
"""A smaller body is counted by its bytes: what is attached to it cannot be large."""
_SEMICOLONS: Final = 64
"""So many are looked at one by one."""
_AT: Final = re.compile(r" - at `\$\.([a-z_]+)")


Some = TypeVar("Some", bound=Fields)


def most_tokens(fields: Fields, name: bytes, chats: bool) -> int | None:
    """Tokens that one answer may have, by the field of this name, which is the one that engines go by on a path; None:
    the body does not say. `chats`: a newer name stands beside it, and of both the larger counts, because engines do not
    agree which goes first."""
    if name == b"max_output_tokens":
        return fields.max_output_tokens
    most = fields.max_tokens
    if chats and fields.max_completion_tokens is not None:
        most = max(most or 0, fields.max_completion_tokens)
    return most


def answers(fields: Fields) -> int:
    """How many answers an engine makes for each prompt, whether or not it shows all of them."""
    return max(fields.n or 1, fields.best_of or 1)


def is_fixed(fields: Fields) -> bool:
    """The same request has the same answer: nothing is drawn, or from a seed that the request names."""
    seed, temperature = fields.seed, fields.temperature
    return bool(seed and type(_plain(seed)) is int) or bool(temperature and _plain(temperature) == 0)


def _parts(fields: Prompted) -> list[msgspec.Raw]:
    """Those pieces of the prompt that are there."""
    every = (
        fields.cache_salt, fields.tools, fields.system, fields.instructions, fields.messages, fields.prompt,
        fields.input, fields.inputs, fields.text,
    )  # fmt: skip
    return [part for part in every if part]


def _plain(raw: msgspec.Raw) -> float | None:
    """A number that was told; None: it is none."""
    try:
        number: float | None = _number(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return number


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_number: Final = msgspec.json.Decoder(int | float | None).decode
_decode: Final = msgspec.json.Decoder(Fields).decode
_decode_prompted: Final = msgspec.json.Decoder(Prompted).decode


def peek(body: bytes) -> Fields:
    """The inspected fields. Raises Malformed (400) for what is no JSON object, has a field of a wrong type or twice."""
    if len(body) >= SHORTEST_BYTES:
        return _peek_long(body)
    fields = _read(body, _decode)
    _check(body, body)
    return fields


def peek_prompt(body: bytes) -> tuple[Fields, tuple[int, ...], int]:
    """The inspected fields, the hashes of the prompt's leading blocks, and its length in bytes. Raises Malformed."""
    if len(body) < SHORTEST_BYTES:
        return peek(body), (), 0
    fields = _peek_long(body)
    parts = _parts(fields)
    if len(parts) == 1:
        return (fields, *chain((memoryview(parts[0]),)))
    return (fields, *chain([memoryview(part) for part in parts])) if parts else (fields, (), 0)


def _peek_long(body: bytes) -> Prompted:
    fields = _read(body, _decode_prompted)
    raw, name = fields.messages, _MESSAGES
    if len(raw) < _LONG_BYTES:
        raw, name = (fields.prompt, _PROMPT) if len(fields.prompt) >= _LONG_BYTES else (fields.input, _INPUT)
    _check(body, _outside(body, raw, name) if len(raw) >= _LONG_BYTES else body)
    return fields


def _read(body: bytes, decode: Callable[[bytes], Some]) -> Some:
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed("bad_request", "The body is not valid JSON.") from None
    except RecursionError:
        raise Malformed("bad_request", "The JSON of the body is nested too deeply.") from None


def _outside(body: bytes, raw: msgspec.Raw, name: re.Pattern[bytes]) -> bytes:
    """The body without the value of the field that is mostly the longest, where that is easily found: what stands
    within one value is no key of the body, and looking for keys there would cost as much as reading it all.

    In valid JSON a quoted name that a colon follows is a key, whatever stands before it: its second quote is escaped
    by nothing, so it ends a string (or else the name itself would stand outside of any). A value begins there, and
    where it has the bytes of a whole value it is that value, at whatever depth."""
    key = name.search(body)
    if key is not None and body.startswith(raw, at := key.end()):
        return body[:at] + b" " + body[at + len(raw) :]
    return body


def _check(body: bytes, outside: bytes) -> None:
    """What the decoder does not look at: the encoding of what it skips, and keys that are given twice. `outside`: the
    part of the body that may have those."""
    if not body.isascii():
        _check_utf8(body)
    found = _KEYS.findall(outside)
    if len(found) != len(set(found)) or (outside.find(b"\\") >= 0 and b"\\u00" in outside):
        _check_keys(body)


def guess_tokens(body: bytes) -> int:
    """About how many tokens the prompt has: a quarter of the body's bytes, without pictures and the like that are
    attached as base64."""
    size = len(body)
    if size < _MAY_ATTACH_BYTES or not _attaches(body):
        return size // _BYTES_PER_TOKEN
    attached = [found.end() - found.start() for found in _ATTACHED.finditer(body)]
    return (size - sum(attached)) // _BYTES_PER_TOKEN + ATTACHED_TOKENS * len(attached)


def _attaches(body: bytes) -> bool:
    """Whether anything is attached as base64. One character is found forty times faster than a word, and a text has few
    semicolons: where it has many, the word is looked for."""
    at = body.find(b";")
    for _ in range(_SEMICOLONS):
        if at < 0 or body.startswith(b";base64,", at):
            return at >= 0
        at = body.find(b";", at + 1)
    return body.find(b";base64,", at) >= 0 if at >= 0 else False


def user_of(fields: Fields) -> str:
    """A digest of the end user that the body names, who may be private. Empty: none, no text, or a very long one."""
    raw = memoryview(fields.user)
    if not 2 < len(raw) <= MAX_USER_BYTES or raw[0] != 0x22:
        return ""
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


def _wrong_type(message: str) -> Malformed:
    where = _AT.search(message)
    if where is None:
        return Malformed("bad_request", "The body must be a JSON object.")
    return Malformed("bad_request", f"Wrong value for '{where[1]}': {message.partition(' - at')[0]}.", where[1])


def _check_utf8(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError:
        raise Malformed("bad_request", "The body is not valid UTF-8.") from None


def _check_keys(body: bytes) -> None:
    """The exact test, for bodies in which an inspected name occurs more than once or might be spelled with escapes."""
    seen: set[str] = set()
    for name, _, _ in top_level(body):
        if name in INSPECTED:
            if name in seen:
                raise Malformed("bad_request", f"'{name}' is given twice.", name)
            seen.add(name)


def top_level(body: bytes) -> list[tuple[str, int, int]]:
    """The keys of a valid JSON object, in order, each with where its value begins and ends. Raises Malformed when keys
    are given twice and the body is too complex to look at in bounded time."""
    found = _walk(body)
    return _scan(body) if found is None else found


def _walk(body: bytes) -> list[tuple[str, int, int]] | None:
    """The same, value by value as the decoder has found them, however complex; None: a key is given twice, of which the
    decoder tells the last. (A whole value is no beginning of another one but where both are numbers, and behind those
    no member would follow.)"""
    try:
        values = _members(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    keys: list[tuple[str, int, int]] = []
    at = 0
    for name, raw in values.items():
        found = _MEMBER.match(body, at)
        if found is None or not body.startswith(raw, found.end()) or _text(found[1]) != name:
            return None
        at = found.end() + len(raw)
        keys.append((name, found.end(), at))
    return keys if _AFTER_MEMBERS.match(body, at) else None


def _scan(body: bytes) -> list[tuple[str, int, int]]:
    keys: list[tuple[str, int, int]] = []
    at = body.find(b"{") + 1
    depth = 1
    steps = 0
    name = ""
    value_at = 0
    while depth:
        found = _STRUCTURE.search(body, at)
        steps += 1
        if found is None or steps > _MAX_STEPS:
            raise Malformed("bad_request", "The JSON of the body is too complex.")
        start = found.start()
        at = start + 1
        mark = body[start]
        if mark == 0x22:
            at, more = _string_end(body, at, _MAX_STEPS - steps)
            steps += more
            colon = _COLON.match(body, at) if depth == 1 else None
            if colon is not None:
                if value_at:
                    keys.append((name, value_at, body.rfind(b",", value_at, start)))
                name, value_at = _text(body[start : colon.start()]), colon.end()
                at = value_at
        elif mark in b"{[":
            depth += 1
        else:
            depth -= 1
    if value_at:
        keys.append((name, value_at, at - 1))
    return keys


def _text(raw: bytes) -> str:
    text: Any = msgspec.json.decode(raw)
    return str(text)


def _string_end(body: bytes, at: int, budget: int) -> tuple[int, int]:
    """The index behind the closing quote of the string whose first character is at `at`, and the steps it took."""
    steps = 1
    while steps <= budget:
        quote = body.find(b'"', at)
        if quote < 0:
            break
        before = body[at:quote]
        if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
            return quote + 1, steps
        at = quote + 1
        steps += 1
    raise Malformed("bad_request", "The JSON of the body is too complex.")
