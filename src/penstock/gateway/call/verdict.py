"""What a replica's status means: an answer that the client gets, or the name of a failure."""

import time
from email.utils import parsedate_to_datetime
from typing import Final

from penstock.base.errors import Label

_MAX_RETRY_AFTER_S: Final = 3600.0


def verdict(status: int) -> Label | None:
    """The failure that a status of a replica is; None: it is an answer, whose status the client gets."""
    if 200 <= status < 300:
        return None
    if status == 501:  # what a replica never offers (embeddings, with a model of chats) is no failure of it
        return None
    if status in (401, 403, 407):
        return "upstream_auth"
    if status == 429:
        return "upstream_busy"
    if status == 503:
        return "upstream_unavailable"
    if status >= 500 or status in (408, 424):  # 424: TGI's for a generation that failed
        return "upstream_5xx"
    return None if status >= 400 else "bad_response"


def retry_after_s(value: bytes) -> float | None:
    """Seconds to wait, from a Retry-After header (a number or a date, RFC 9110 10.2.3); None: none that can be read."""
    if value.isdigit() and len(value) < 9:
        return min(float(value), _MAX_RETRY_AFTER_S)
    if not value:
        return None
    try:
        at_s = parsedate_to_datetime(value.decode("ascii")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(at_s - time.time(), 0.0), _MAX_RETRY_AFTER_S)
