"""A request's body that comes in pieces: gathered within bounds."""

from penstock.adapters.wire.bodies import Chunked, FramingError
from penstock.adapters.wire.malformed import Malformed
from penstock.config.schema import LimitSpec

SLOWEST_BYTES_PER_S = 1024
"""A body may take `request_body_s` and as long as this rate needs; a drip that resets an idle timer gets no further."""
_FREE_CHUNKS = 10_000
_MEAN_CHUNK_BYTES = 64
"""A body may have so many chunks freely, and more when they are this large on average: tiny ones cost a lot to read."""


_WHOLE_BYTES = 4096
"""A piece of this size is kept as it came until all are there, and so copied once; smaller ones are gathered, because
many tiny objects would take far more than their bytes."""


class Upload:
    """One body."""

    __slots__ = ("_chunked", "_length", "_limits", "_pieces", "_started_s", "_tail", "size")

    def __init__(self, length: int, limits: LimitSpec, now: float, *, chunked: bool) -> None:
        self.size = 0
        """Bytes so far."""
        self._pieces: list[bytes | bytearray] = []
        self._tail: bytearray | None = None
        """The last piece, where it is one that grows."""
        self._chunked = Chunked() if chunked else None
        self._length = length
        self._limits = limits
        self._started_s = now

    def feed(self, data: bytes, at: int) -> int:
        """Take `data[at:]`: the index behind the body's last byte, or -1 while there must be more. Raises Malformed."""
        if self._chunked is not None:
            return self._read_chunks(self._chunked, data, at)
        end = at + self._length - self.size
        self._take(data[at:end])
        return end if end <= len(data) else -1

    def whole(self) -> bytes:
        """All that came."""
        return b"".join(self._pieces)

    def _take(self, piece: bytes) -> None:
        self.size += len(piece)
        if len(piece) >= _WHOLE_BYTES:
            self._pieces.append(piece)
            self._tail = None
            return
        if self._tail is None:
            self._tail = bytearray()
            self._pieces.append(self._tail)
        self._tail += piece

    def _read_chunks(self, chunked: Chunked, data: bytes, at: int) -> int:
        pieces: list[bytes] = []
        try:
            end = chunked.feed(data, at, pieces)
        except FramingError:
            raise Malformed("bad_http", "The chunked body is malformed.") from None
        for piece in pieces:
            self._take(piece)
        limit = self._limits.body_bytes
        if self.size > limit:
            raise Malformed("body_too_large", f"The request body is larger than {limit} bytes.")
        if chunked.chunks > _FREE_CHUNKS + self.size // _MEAN_CHUNK_BYTES:
            raise Malformed("bad_http", "The chunks of the body are too small.")
        return max(end, -1)

    def deadline(self, idle_s: float, now: float) -> float:
        """When it has taken too long, if nothing more comes."""
        return min(now + idle_s, self._started_s + idle_s + self.size / SLOWEST_BYTES_PER_S)
