"""Ollama's dialect, on answers in the forms that its API documentation shows."""

from pathlib import Path

import pytest

from penstock.adapters.dialects.ollama import Ollama
from penstock.base.nouns import EngineStats

DATA = Path(__file__).parent / "data"
OLLAMA = Ollama()


def test_models_in_memory() -> None:
    """A model in memory is known by both of its names: with `:latest`, and without."""
    assert OLLAMA.stats((DATA / "ollama_ps.json").read_bytes()) == EngineStats(loaded=("gemma3:latest", "gemma3"))


@pytest.mark.parametrize("body", [b'{"models":[]}', b'{"models":null}'])
def test_an_empty_memory_is_an_answer(body: bytes) -> None:
    """Nothing in memory is a fact about the server, not a failed look."""
    assert OLLAMA.stats(body) == EngineStats(loaded=())


def test_models_on_disk() -> None:
    """All models on its disk can be called, those of the tag `latest` without it too."""
    page = (DATA / "ollama_tags.json").read_bytes()
    assert OLLAMA.models(page) == ("gemma3:latest", "gemma3", "deepseek-r1:8b")


@pytest.mark.parametrize(
    "body",
    [b"", b"Ollama is running", b"{}", b'{"models":[{}]}', b'{"models":[{"name":""}]}', b'{"models":' + b"[" * 100_000],
)
def test_another_page_is_an_error(body: bytes) -> None:
    """Anything else is a failed look, for models in memory as for models on disk."""
    for read in (OLLAMA.stats, OLLAMA.models):
        with pytest.raises(ValueError):
            read(body)
