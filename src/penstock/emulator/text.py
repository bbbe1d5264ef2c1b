"""Text without a model: a tokenizer, answers and embeddings, made from the request alone.

The same request gets the same answer from every replica at any time, and each token of an answer carries its number,
so that a test sees at once when one was lost, repeated or mixed up. Tokens are about four characters. An answer that
comes back in the next prompt is cut into the very tokens that it was made of, so that it is found in the prefix cache.
"""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Literal

from msgspec import Struct

_TOKEN = re.compile(r" ?[A-Za-z0-9]{1,5}|\s|[^A-Za-z0-9\s]")
_SPECIAL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|developer|>")
_FIRST_SPECIAL_ID = 1 << 48
"""A token has at most six bytes, and its number is those bytes; above them are the ones that text cannot spell."""
_WORDS = (
    "oak", "elm", "fir", "ash", "bay", "cod", "dew", "ebb", "fog", "gem", "hay", "ice", "jay", "kin", "log", "mud",
    "nut", "orb", "pea", "ray", "sea", "tin", "urn", "vim", "wax", "yak", "zen", "arc", "bud", "cub", "dot", "elk",
)  # fmt: skip
_NUMBERS = 100_000

MEDIAN_ANSWER_TOKENS = 129
P90_ANSWER_TOKENS = 424
"""Lengths of answers in the Azure LLM inference trace 2023, service "conv" (19,366 requests)."""
MAX_DRAWN_TOKENS = 2048
_SIGMA = log(P90_ANSWER_TOKENS / MEDIAN_ANSWER_TOKENS) / NormalDist().inv_cdf(0.9)


class Answer(Struct, frozen=True):
    """What will be said, before it is said."""

    tokens: list[str]
    """As generated."""
    pieces: list[str]
    """What of each token reaches the client: all of it, unless a stop string cuts it."""
    reason: Literal["stop", "length"]
    stop: str | None = None
    """The stop string that ended it."""


# ===== tokens =====


def tokenize(text: str) -> list[str]:
    """Cut a text into tokens; joined they are the text again."""
    return _TOKEN.findall(text)


def token_id(token: str) -> int:
    """The number of a token."""
    if token in _SPECIAL:
        return _FIRST_SPECIAL_ID + _SPECIAL.index(token)
    return int.from_bytes(token.encode("utf-8", "surrogatepass"), "big")


def token_of(number: int) -> str:
    """The token of a number; one that stands for nothing becomes the replacement character."""
    if number >= _FIRST_SPECIAL_ID:
        special = number - _FIRST_SPECIAL_ID
        return _SPECIAL[special] if special < len(_SPECIAL) else "\ufffd"
    return max(number, 0).to_bytes(max(1, (number.bit_length() + 7) // 8), "big").decode("utf-8", "replace")


def chat_tokens(messages: Iterable[tuple[str, str]]) -> list[str]:
    """A conversation of (role, text) as the model would read it, up to where its answer begins."""
    tokens: list[str] = []
    for role, text in messages:
        marker = f"<|{role}|>"
        tokens.append(marker if marker in _SPECIAL else "<|user|>")
        tokens += tokenize(text)
        tokens.append("<|end|>")
    tokens.append("<|assistant|>")
    return tokens


def block_hashes(tokens: Sequence[str], block_tokens: int) -> tuple[int, ...]:
    """Hashes of the full blocks, each taken over the one before it too: equal hashes, equal prefixes."""
    hashes, before = [], b""
    for at in range(0, len(tokens) - block_tokens + 1, block_tokens):
        before = digest_of(tokens[at : at + block_tokens], before, size=8)
        hashes.append(int.from_bytes(before, "big"))
    return tuple(hashes)


def digest_of(tokens: Sequence[str], salt: bytes = b"", size: int = 32) -> bytes:
    """A digest of tokens that does not change between processes or versions."""
    return blake2b(salt + "\0".join(tokens).encode("utf-8", "surrogatepass"), digest_size=size).digest()


# ===== answers =====


def drawn_length(digest: bytes) -> int:
    """How long an answer is when nothing says so: log-normal, median 129 tokens, p90 424, at most 2,048."""
    share = (int.from_bytes(digest[:6], "big") + 0.5) / (1 << 48)
    return max(1, min(MAX_DRAWN_TOKENS, round(MEDIAN_ANSWER_TOKENS * exp(_SIGMA * NormalDist().inv_cdf(share)))))


def word(digest: bytes, index: int) -> str:
    """The token at this place of an answer: a word and its number, together at most five characters."""
    number = str(index % _NUMBERS)
    return _WORDS[(digest[index & 31] + index) & 31][: 5 - len(number)] + number


def answer(digest: bytes, length: int, reason: Literal["stop", "length"], stops: Sequence[str] = ()) -> Answer:
    """So many tokens, or fewer where a stop string ends them earlier; its text is not part of the answer."""
    tokens = [" " + word(digest, index) for index in range(length)]
    if tokens:
        tokens[0] = tokens[0][1:]
    if stops:
        text = "".join(tokens)
        hits = [(text.find(stop) + len(stop), stop) for stop in stops if stop and stop in text]
        if hits:
            end, stop = min(hits)
            return _cut(tokens, end - len(stop), end, stop)
    return Answer(tokens, tokens, reason)


def _cut(tokens: list[str], keep: int, end: int, stop: str) -> Answer:
    """Keep `keep` characters; the token in which the stop string ends, at `end`, is the last one generated."""
    pieces, at = list[str](), 0
    for token in tokens:
        if at >= end:
            break
        pieces.append(token[: max(0, keep - at)])
        at += len(token)
    return Answer(tokens[: len(pieces)], pieces, "stop", stop)


# ===== embeddings =====


def embedding(tokens: Sequence[str], dimensions: int) -> list[float]:
    """A vector of length 1 in which texts with words in common are near each other."""
    vector = [0.0] * dimensions
    for token in tokens:
        spots = blake2b(token.strip().lower().encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for at in range(0, 16, 4):
            spot = int.from_bytes(spots[at : at + 4], "big")
            vector[(spot >> 1) % dimensions] += 1.0 if spot & 1 else -1.0
    length = sqrt(sum(value * value for value in vector))
    if length == 0.0:
        vector[0] = length = 1.0
    return [value / length for value in vector]


def likeness(left: Sequence[float], right: Sequence[float]) -> float:
    """How alike two embeddings are: the cosine between them, 0 where it is negative."""
    return max(0.0, min(1.0, sum(a * b for a, b in zip(left, right))))
