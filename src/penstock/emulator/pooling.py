"""/v1/embeddings, /v1/rerank and /v1/score: prompts that are only read, and numbers made of their words."""

from array import array
from base64 import b64encode
from typing import Any, Literal

import msgspec
from msgspec import Struct

from penstock.emulator.openai import Reply
from penstock.emulator.text import embedding, likeness, token_of, tokenize
from penstock.emulator.wire import Wrong
from penstock.engine.words import Finish

MAX_INPUTS = 2048
"""As OpenAI's bound of the inputs of one request."""


class EmbeddingBody(Struct, kw_only=True):
    """/v1/embeddings."""

    input: str | list[str | int | list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = None


class RerankBody(Struct, kw_only=True):
    """/v1/rerank."""

    query: str
    documents: list[str]
    model: str | None = None
    top_n: int = 0


class ScoreBody(Struct, kw_only=True):
    """/v1/score."""

    text_1: str | list[str]
    text_2: str | list[str]
    model: str | None = None


def prompts_of(value: str | list[str | int | list[int]] | None) -> list[list[str]]:
    """The prompts of OpenAI's four ways to give some: a text, texts, token numbers, or lists of token numbers."""
    if not value:
        return []
    if isinstance(value, str):
        return [tokenize(value)]
    prompts, numbers = list[list[str]](), list[int]()
    for item in value:
        if isinstance(item, str):
            prompts.append(tokenize(item))
        elif isinstance(item, list):
            prompts.append([token_of(number) for number in item])
        else:
            numbers.append(item)
    return [*prompts, [token_of(number) for number in numbers]] if numbers else prompts


def pairs_of(body: ScoreBody) -> list[tuple[str, str]]:
    """The pairs to score: one with many, or the same number on both sides. Raises Wrong for others."""
    left = [body.text_1] if isinstance(body.text_1, str) else body.text_1
    right = [body.text_2] if isinstance(body.text_2, str) else body.text_2
    if len(left) == 1:
        left = left * len(right)
    if not left or len(left) != len(right):
        raise Wrong("text_1 and text_2 must be one text each, one and many, or equally many.", "text_1")
    return list(zip(left, right))


def _read(finishes: list[Finish]) -> int:
    return sum(finish.prompt_tokens for finish in finishes)


def _usage(finishes: list[Finish]) -> dict[str, Any]:
    tokens = _read(finishes)
    return {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": None}


def embedding_whole(
    reply: Reply, prompts: list[list[str]], dimensions: int, packed: bool, finishes: list[Finish]
) -> bytes:
    """A list of embeddings; packed: base64 of little-endian floats of 32 bits."""
    data = []
    for index, tokens in enumerate(prompts):
        vector: Any = embedding(tokens, dimensions)
        if packed:
            vector = b64encode(array("f", vector).tobytes()).decode()
        data.append({"index": index, "object": "embedding", "embedding": vector})
    return msgspec.json.encode(
        {
            "id": reply.id, "object": "list", "created": reply.created, "model": reply.model, "data": data,
            "usage": _usage(finishes),
        }
    )  # fmt: skip


def rerank_whole(reply: Reply, body: RerankBody, dimensions: int, finishes: list[Finish]) -> bytes:
    """The documents, the most relevant first."""
    query = embedding(tokenize(body.query), dimensions)
    scores = [likeness(query, embedding(tokenize(text), dimensions)) for text in body.documents]
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    results = [
        {
            "index": index,
            "document": {"text": body.documents[index], "multi_modal": None},
            "relevance_score": scores[index],
        }
        for index in order[: body.top_n or None]
    ]
    tokens = _read(finishes)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"id": reply.id, "model": reply.model, "usage": usage, "results": results})


def score_whole(reply: Reply, pairs: list[tuple[str, str]], dimensions: int, finishes: list[Finish]) -> bytes:
    """One score a pair."""
    data = []
    for index, (left, right) in enumerate(pairs):
        alike = likeness(embedding(tokenize(left), dimensions), embedding(tokenize(right), dimensions))
        data.append({"index": index, "object": "score", "score": alike})
    return msgspec.json.encode(
        {
            "id": reply.id, "object": "list", "created": reply.created, "model": reply.model, "data": data,
            "usage": _usage(finishes),
        }
    )  # fmt: skip
