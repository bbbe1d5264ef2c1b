"""Embeddings, ranks and scores: deterministic numbers in vLLM's shapes."""

from array import array
from base64 import b64decode

import msgspec
import pytest

from penstock.emulator.openai import Reply
from penstock.emulator.pooling import (
    RerankBody,
    ScoreBody,
    embedding_whole,
    pairs_of,
    prompts_of,
    rerank_whole,
    score_whole,
)
from penstock.emulator.wire import Wrong
from penstock.engine.words import Finish

REPLY = Reply("embd-1", 5, "tiny", "f")
ENDS = [Finish("0", 2, 0, 0, "stop"), Finish("1", 3, 0, 0, "stop")]


def test_a_prompt_comes_in_four_ways() -> None:
    """A text, texts, token numbers, and lists of token numbers."""
    assert prompts_of("a b") == [["a", " b"]]
    assert prompts_of(["a", "b"]) == [["a"], ["b"]]
    assert prompts_of([97, 98]) == [["a", "b"]]
    assert prompts_of([[97], [98]]) == [["a"], ["b"]]
    assert prompts_of([]) == prompts_of("") == prompts_of(None) == []


def test_packed_embeddings_are_the_same_numbers() -> None:
    """base64 carries the floats of the plain form, in 32 bits."""
    plain, packed = (
        msgspec.json.decode(embedding_whole(REPLY, [["a"], ["b"]], 8, how, ENDS))["data"] for how in (False, True)
    )
    for one, other in zip(plain, packed):
        assert list(array("f", b64decode(other["embedding"]))) == pytest.approx(one["embedding"])
    assert [entry["index"] for entry in plain] == [0, 1]


def test_embeddings_count_what_was_read() -> None:
    """Usage is the tokens of all prompts."""
    whole = msgspec.json.decode(embedding_whole(REPLY, [["a"], ["b"]], 8, False, ENDS))
    assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"]) == (5, 0)


def test_rerank_puts_the_relevant_first() -> None:
    """The document that shares words with the query wins; top_n cuts the list."""
    body = RerankBody(query="blue sky", documents=["tax form", "the sky is blue"], top_n=1)
    (best,) = msgspec.json.decode(rerank_whole(REPLY, body, 64, ENDS))["results"]
    assert (best["index"], best["document"]["text"]) == (1, "the sky is blue")
    assert 0 < best["relevance_score"] <= 1


def test_scores_are_of_pairs() -> None:
    """One text is compared with many, or each with its own; the same text scores 1."""
    pairs = pairs_of(ScoreBody(text_1="a", text_2=["a", "b"]))
    assert pairs == [("a", "a"), ("a", "b")]
    assert pairs_of(ScoreBody(text_1=["a", "b"], text_2=["c", "d"])) == [("a", "c"), ("b", "d")]
    scores = [entry["score"] for entry in msgspec.json.decode(score_whole(REPLY, pairs, 64, ENDS))["data"]]
    assert scores[0] == pytest.approx(1)
    assert scores[1] < 0.5


def test_unequal_lists_are_refused() -> None:
    """Two against three has no meaning."""
    with pytest.raises(Wrong, match="equally many"):
        pairs_of(ScoreBody(text_1=["a", "b"], text_2=["c", "d", "e"]))
