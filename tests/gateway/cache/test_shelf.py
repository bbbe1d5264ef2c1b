"""What may be kept: whole good answers, and never an error."""

import pytest

from penstock.base.nouns import Usage
from penstock.gateway.cache.shelf import OVERHEAD_BYTES, Kept, Shelf, may_keep
from tests.helpers.wire import DONE, END, chunk, event

STREAM = b"text/event-stream"
ERROR = b'data: {"error":{"message":"x"}}\n\n'
BODIES = [
    (b"application/json", b'{"a":1}', True),
    (b"application/json", b'{"error":{"message":"x"}}', False),
    (b"application/json", b'{"error":null}', True),
    (b"application/json", b'{"text":"\\"error\\": {}"}', True),
    (b"text/html", b"<p>", False),
    (STREAM, chunk(event("a")) + chunk(DONE) + END, True),
    (STREAM, chunk(event("a")) + END, False),
    (STREAM, chunk(event("a")) + chunk(ERROR) + chunk(DONE) + END, False),
    (STREAM, chunk(event('say "error"')) + chunk(DONE) + END, True),
    (STREAM, event("a") + DONE, False),
]


@pytest.mark.parametrize("kind,body,may", BODIES)
def test_errors_and_halves_are_not_kept(kind: bytes, body: bytes, may: bool) -> None:
    """Neither a page, nor an error with a good status, nor one in the middle of a stream, nor a stream without end."""
    assert may_keep(kind, body) is may


def test_a_size_counts_all_that_is_held() -> None:
    """The bytes, the head, and what Python needs."""
    kept = Kept(b"", b"h" * 10, b"", (b"x" * 100, b"y"), (0, 1), 200, Usage(), 2)
    assert kept.size == OVERHEAD_BYTES + 10 + 101 + 128


def test_what_is_dropped_is_gone_and_may_have_been() -> None:
    """Dropping twice is no mistake."""
    shelf = Shelf()
    kept = Kept(b"", b"", b"", (), (), 200, None, 0)
    shelf.keep("a", kept)
    shelf.drop(("a", "b"))
    shelf.drop(("a",))
    assert shelf.kept == {}
