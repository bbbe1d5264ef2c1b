"""llama.cpp's dialect, on pages of a real llama-server (0.5.0-dev, commit 0c1e570) and forms of older ones."""

from pathlib import Path

import pytest

from penstock.adapters.dialects.llamacpp import Llamacpp
from penstock.base.nouns import EngineStats

DATA = Path(__file__).parent / "data"
LLAMACPP = Llamacpp()


def test_a_metrics_page() -> None:
    """What is in a slot runs, what is deferred waits; prompt tokens come computed and cached apart."""
    assert LLAMACPP.stats((DATA / "llamacpp_0_5_metrics.txt").read_bytes()) == EngineStats(
        running=2, waiting=3, prefix_queries=174, prefix_hits=64
    )


def test_servers_without_a_count_of_cached_tokens() -> None:
    """What was computed says nothing of the cache by itself; averages that are `nan` before the first token do no
    harm."""
    body = b"llamacpp:prompt_tokens_total 33065\nllamacpp:prompt_tokens_seconds nan\nllamacpp:requests_processing 4\n"
    assert LLAMACPP.stats(body) == EngineStats(running=4)
    assert LLAMACPP.stats(b"llamacpp:prompt_tokens_cached_total 5\nllamacpp:requests_processing 4\n") == (
        EngineStats(running=4)
    )


def test_large_counts_are_rounded_by_the_server() -> None:
    """It writes six digits; hits never pass queries all the same."""
    body = b"llamacpp:prompt_tokens_total 1.23457e+06\nllamacpp:prompt_tokens_cached_total 9.87654e+08\n"
    assert LLAMACPP.stats(body) == EngineStats(prefix_queries=988_888_570, prefix_hits=987_654_000)


def test_older_servers_tell_their_kv_usage() -> None:
    """The ratio of older servers is read where it is."""
    body = b"llamacpp:kv_cache_usage_ratio 0.125\nllamacpp:requests_processing 1\nllamacpp:requests_deferred 0\n"
    assert LLAMACPP.stats(body) == EngineStats(running=1, waiting=0, kv_usage=0.125)


def test_slots() -> None:
    """The page of slots tells how many are busy, and nothing of a queue."""
    assert LLAMACPP.stats((DATA / "llamacpp_0_5_slots.json").read_bytes()) == EngineStats(running=2)


def test_models_of_a_router() -> None:
    """A router's models are all served, and those that are in memory are told."""
    page = (DATA / "llamacpp_0_5_router_models.json").read_bytes()
    assert LLAMACPP.stats(page) == EngineStats(loaded=("two",))
    assert LLAMACPP.models(page) == ("one", "two")


def test_models_of_a_router_in_the_forms_of_its_manual() -> None:
    """Sleeping models, and those that failed to load, are not in memory."""
    page = (DATA / "llamacpp_router_documented.json").read_bytes()
    assert LLAMACPP.stats(page) == EngineStats(loaded=("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M",))
    assert LLAMACPP.models(page) == ("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "qwen3-8b", "llama-3.2-1b", "broken")


def test_a_model_may_be_called_by_all_its_names() -> None:
    """A server of one model lists it under the first of its aliases (in the alphabet), with all of them beside."""
    assert LLAMACPP.models((DATA / "llamacpp_0_5_models.json").read_bytes()) == ("small", "tiny")
    page = b'{"data":[{"id":"m","aliases":["m","n"],"status":{"value":"loaded"}},{"id":"o","status":{"value":"x"}}]}'
    assert LLAMACPP.models(page) == ("m", "n", "o")
    assert LLAMACPP.stats(page) == EngineStats(loaded=("m", "n"))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data":[{"id":"m","aliases":"n"}]}', b'{"data":[{"aliases":["n"]}]}'])
def test_what_is_no_list_of_models_is_an_error(body: bytes) -> None:
    """Names that are no list, and models without one."""
    with pytest.raises(ValueError, match="not a list of models"):
        LLAMACPP.models(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"error":{"code":501,"message":"This server does not support metrics endpoint. Start it with `--metrics`",'
        b'"type":"not_supported_error"}}',
        b'{"error":{"code":400,"message":"model name is missing from the request","type":"invalid_request_error"}}',
        b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}',
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
