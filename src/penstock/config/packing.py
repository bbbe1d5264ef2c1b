"""What may be said of compressing answers."""

from typing import Annotated

from msgspec import Meta, field

from penstock.base.units import Bytes
from penstock.config.strict import Strict, doc


class CompressionSpec(Strict, frozen=True, kw_only=True):
    """Whole answers go in gzip to clients that take it [D5]: texts and JSON, never streams, and nothing that is
    compressed already or that a header of the engine vouches for (`etag`, digests, `no-transform`)."""

    min_bytes: Annotated[Bytes, doc("smaller answers go as they are: compressing costs more than it saves")] = field(
        default=16 << 10, name="min"
    )
    max_bytes: Annotated[
        Bytes,
        doc(
            "and so do larger ones: meanwhile everybody waits. Above 256KiB answers are not held back, so few are whole"
        ),
    ] = field(default=256 << 10, name="max")
    level: Annotated[int, Meta(ge=1, le=9, description="1: quick, 9: small")] = 1
