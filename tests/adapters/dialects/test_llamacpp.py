"""llama.cpp's dialect, on pages in the forms that its server's README shows."""

from pathlib import Path

import pytest

from penstock.adapters.dialects.llamacpp import Llamacpp
from penstock.base.nouns import EngineStats

DATA = Path(__file__).parent / "data"
LLAMACPP = Llamacpp()


def test_a_metrics_page() -> None:
    """What is in a slot runs, what is deferred waits; averages that are `nan` before the first token do no harm."""
    assert LLAMACPP.stats((DATA / "llamacpp_metrics.txt").read_bytes()) == EngineStats(running=4, waiting=46)


def test_older_servers_tell_their_kv_usage() -> None:
    """The ratio of older servers is read where it is."""
    body = b"llamacpp:kv_cache_usage_ratio 0.125\nllamacpp:requests_processing 1\nllamacpp:requests_deferred 0\n"
    assert LLAMACPP.stats(body) == EngineStats(running=1, waiting=0, kv_usage=0.125)


def test_slots() -> None:
    """The page of slots tells how many are busy, and nothing of a queue."""
    assert LLAMACPP.stats((DATA / "llamacpp_slots.json").read_bytes()) == EngineStats(running=1)


def test_models_of_a_router() -> None:
    """A router's models are all served, and those that are in memory are told: not the sleeping ones."""
    page = (DATA / "llamacpp_router_models.json").read_bytes()
    assert LLAMACPP.stats(page) == EngineStats(loaded=("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M",))
    assert LLAMACPP.models(page) == ("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "qwen3-8b", "llama-3.2-1b", "broken")


def test_the_model_of_a_server() -> None:
    """A server with one model lists it by its alias."""
    assert LLAMACPP.models((DATA / "llamacpp_models.json").read_bytes()) == ("llama-3.1-8b",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"error":{"code":501,"message":"This server does not support metrics endpoint."}}',
        b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
        b'[{"id":0}]',
        b'{"data":[{"id":"m"}]}',
        b"[" * 100_000,
    ],
)
def test_another_page_is_an_error(body: bytes) -> None:
    """Its own error messages, slots without state, and models of no router are failed looks."""
    with pytest.raises(ValueError):
        LLAMACPP.stats(body)


def test_a_loading_server_is_not_alive() -> None:
    """/health says 503 until the model is loaded."""
    assert [LLAMACPP.alive(status) for status in (200, 503)] == [True, False]
