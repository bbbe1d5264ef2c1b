"""The embedding model that comes with the extra: it works without a network, and leaves logging as it was."""

import logging
import socket

import pytest

pytest.importorskip("wordllama", reason="the extra `semantic` is not installed")

from bench.semantic import embedder
from penstock.adapters.embedders.local import Local

pytestmark = pytest.mark.slow


def test_it_tells_questions_apart_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in other words is nearer than something else; an empty text has no vector; nothing is fetched."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("it asked for an address"))
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    local = Local()
    assert (root.level, list(root.handlers)) == before
    asked = embedder(local)("How do I reset my password?")
    assert len(asked) == 256
    same, other = embedder(local)("What is the way to reset my password?"), embedder(local)("Why is the sky blue?")
    assert float(asked @ same) > 0.9 > 0.5 > float(asked @ other)
    found: list[object] = []
    local.embed("", found.append)
    assert found == [None]
    local.close()


def test_it_cannot_tell_a_thing_from_its_opposite() -> None:
    """Which is why there is a guard, and why it is off by default: the docs say so, and this is their sample."""
    local = Local()
    enable, disable = (embedder(local)(f"How do I {word} two-factor authentication?") for word in ("enable", "disable"))
    assert float(enable @ disable) > 0.85
