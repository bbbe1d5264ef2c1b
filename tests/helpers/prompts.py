"""Prompts for experiments in virtual time: random text, as a gateway sees it and as an engine does.

A token is four bytes. The gateway hashes the bytes, an engine its own blocks of tokens; neither knows the other's.
"""

from collections.abc import Callable, Iterator
from random import Random
from zlib import crc32

from penstock.base.nouns import Call
from penstock.base.prefix import chain
from tests.helpers.arena import Visit

TOKEN_BYTES = 4


def text(rng: Random, tokens: int) -> bytes:
    """So much text that is like no other."""
    return rng.randbytes(tokens * TOKEN_BYTES)


def engine_blocks(prompt: bytes, block_tokens: int) -> tuple[int, ...]:
    """What an engine's prefix cache knows the full blocks of a prompt by."""
    size, state = block_tokens * TOKEN_BYTES, 0
    found: list[int] = []
    for start in range(0, len(prompt) - size + 1, size):
        state = crc32(prompt[start : start + size], state)
        found.append(state << 16 | len(found))
    return tuple(found)


def visit(id: str, at: float, prompt: bytes, output_tokens: int, block_tokens: int = 16) -> Visit:
    """A streamed call with this prompt."""
    prefix, size = chain([prompt])
    call = Call(
        id, "m", stream=True, prompt_tokens=size // TOKEN_BYTES, max_tokens=output_tokens, body_bytes=size,
        prefix=prefix, prompt_bytes=size,
    )  # fmt: skip
    return Visit(at, call, output_tokens, engine_blocks(prompt, block_tokens))


def poisson(
    rng: Random, rate_per_s: float, count: int, prompt: Callable[[], bytes], output_tokens: int
) -> Iterator[Visit]:
    """So many calls that come by chance, at this mean rate."""
    at = 0.0
    for number in range(count):
        at += rng.expovariate(rate_per_s)
        yield visit(f"c{number}", at, prompt(), output_tokens)
