"""The noun that everybody passes on."""

import msgspec
import pytest

from penstock.base.nouns import PRIORITIES
from penstock.workload.request import NORMAL, Request


def test_defaults() -> None:
    """A request of three numbers says nothing of who asks, and has the normal priority."""
    request = Request(1_500_000_000, 10, 2)
    assert request.at_s == 1.5
    assert PRIORITIES[request.priority] == PRIORITIES[NORMAL] == "normal"
    assert (request.blocks, request.tenant, request.session, request.deadline_ns) == ((), "", "", None)


def test_frozen() -> None:
    """Nobody changes a request that others hold; a changed one is another."""
    request = Request(0, 10, 2)
    with pytest.raises(AttributeError):
        request.at_ns = 5  # type: ignore[misc]
    assert msgspec.structs.replace(request, at_ns=5) != request
