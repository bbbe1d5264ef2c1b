"""Hashes of a prompt's leading blocks: how texts that begin alike are known without keeping any text.

Bytes are hashed, not tokens: no tokenizer is needed, and equal bytes are equal tokens. The hash of a block is the
XXH3 of its bytes seeded with that of the block before it, so that it stands for all of the text up to its end, and one
pass over the bytes gives them all; 32 bits of it are kept. It depends on nothing but the bytes: every process on every
machine finds the same. Two texts that collide (one pair in 2^32) are taken for one, and that may send a call to a
replica that is not the best for it; nothing else rests on it.

Refused: a CRC-32 by the processor's wide registers (ISA-L). It is as fast, and leaves these registers in a state in
which everything that is worked out with floats after it takes five times as long; bench/README.md has the numbers.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from xxhash import xxh3_64_intdigest

SHORTEST_BYTES: Final = 1024
"""The first block: some 256 tokens. A shorter common beginning is not worth a detour, nor a shorter prompt a look."""
MAX_BLOCKS: Final = 64
"""Blocks of one prompt; they end at 56 MiB."""


def _steps() -> list[int]:
    """Four blocks to every doubling of the length: what is known of a match is at most a fifth too short, and a long
    prompt has few blocks."""
    steps = [SHORTEST_BYTES]
    while len(steps) < MAX_BLOCKS:
        steps += [sum(steps) // 4] * 4
    return steps[:MAX_BLOCKS]


STEPS: Final[tuple[int, ...]] = tuple(_steps())
"""Length of each block in bytes."""
ENDS: Final[tuple[int, ...]] = (0, *accumulate(STEPS))
"""ENDS[n]: how many bytes the first n blocks cover."""
_SPANS: Final = tuple(pairwise(ENDS))
_KEPT: Final = 0xFFFFFFFF
_COPIED_BYTES: Final = 16 << 10
"""So much of a text is copied once: a slice of bytes costs half of what one of a view does."""


def chain(parts: Sequence[memoryview | bytes]) -> tuple[tuple[int, ...], int]:
    """The hashes of the full blocks of a text that is given in parts, in order, and its length in bytes."""
    text = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))
    length = len(text)
    copied = text[:_COPIED_BYTES].tobytes()
    digest = xxh3_64_intdigest
    found: list[int] = []
    state: Any = 0  # of 64 bits: with these a translation to C is slower than the interpreter
    for start, end in _SPANS:
        if end > length:
            break
        state = digest(copied[start:end] if end <= _COPIED_BYTES else text[start:end], state)
        found.append(state & _KEPT)
    return tuple(found), length
