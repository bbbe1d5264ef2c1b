"""The shelf: the bytes of kept answers, by the keys that the Gate decides about. It counts and evicts nothing."""

from typing import Final

from msgspec import Struct

from penstock.adapters.wire import sse
from penstock.adapters.wire.bodies import Chunked, FramingError
from penstock.base.nouns import Usage

OVERHEAD_BYTES: Final = 1024
"""What an answer takes beside its bytes, about."""


class Kept(Struct, frozen=True, array_like=True):
    """A whole answer, as it was relayed."""

    status_line: bytes
    block: bytes
    """Header lines of the replica that travel on."""
    framing: bytes
    pieces: tuple[bytes, ...]
    """The body as it stands on the wire: one, or the reads of a stream."""
    delays_ms: tuple[int, ...]
    """When each came, after the first; empty: nobody asked."""
    status: int
    usage: Usage | None
    tokens: int
    """Events with content."""
    tags: tuple[str, ...] = ()
    may_pack: bool = False
    """It may be compressed for those who take that."""

    @property
    def size(self) -> int:
        """Bytes."""
        return OVERHEAD_BYTES + len(self.block) + sum(map(len, self.pieces)) + 64 * len(self.pieces)


class Shelf:
    """What is kept in memory, and what was looked up and is not decided about yet."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.found: dict[str, Kept] = {}
        """By the call that it was looked up for."""

    def keep(self, key: str, kept: Kept) -> None:
        """Keep it."""
        self.kept[key] = kept

    def drop(self, keys: tuple[str, ...]) -> None:
        """Let go of these."""
        for key in keys:
            self.kept.pop(key, None)


def may_keep(content_type: bytes, body: bytes) -> bool:
    """Whether a whole answer with the status 200 is one: engines tell of errors in the middle of a stream, too.

    A text that a model wrote cannot pass for an error: inside a JSON string its quotes are escaped."""
    if content_type == b"application/json":
        return b'"error"' not in body or sse.kind_of(b"data: %b\n\n" % body) != "error"
    if content_type != b"text/event-stream":
        return False
    pieces: list[bytes] = []
    try:
        Chunked().feed(body, 0, pieces)
    except FramingError:
        return False
    plain = b"".join(pieces)
    if not sse.ended(plain[-1024:]):
        return False
    return b'"error"' not in plain or not any(
        sse.kind_of(event) == "error" for event in sse.split(plain) if b'"error"' in event
    )
