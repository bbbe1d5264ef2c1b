"""What the gateway and the engines would see of a prompt that a workload only describes by blocks.

A token is four bytes of text here. Equal blocks at equal places are equal text, and what stands behind a prompt's
blocks is nobody else's.
"""

from bisect import bisect_right
from zlib import crc32

from penstock.base.prefix import ENDS, MAX_BLOCKS
from penstock.workload.request import Request

TOKEN_BYTES = 4
_MASK = (1 << 61) - 1
_PLACES = tuple(b"/%d" % place for place in range(MAX_BLOCKS))
_ENDS = tuple(b"%d" % end for end in ENDS)


def seen_by_gateway(request: Request, number: int) -> tuple[int, ...]:
    """The hashes of its leading blocks as `base.prefix` cuts them; `number` tells it from all other requests."""
    count = bisect_right(ENDS, request.prompt_tokens * TOKEN_BYTES) - 1
    size, blocks = request.block_tokens * TOKEN_BYTES, request.blocks
    found: list[int] = []
    state = at = 0
    if size:
        while len(found) < count and (upto := -(-ENDS[len(found) + 1] // size)) <= len(blocks):
            for block in blocks[at:upto]:
                state = crc32(b"%d" % block, state)
            at = upto
            found.append(crc32(_ENDS[len(found) + 1], state))
    own = b"%d" % number
    first = len(found)
    for place, end in zip(_PLACES[first:count], _ENDS[first + 1 : count + 1], strict=True):
        state = crc32(own + place, state)
        found.append(crc32(end, state))
    return tuple(found)


def own_text(number: int) -> int:
    """What an engine knows the text by that only this request has; a benchmark's numbers are below zero."""
    return -2 * number - 1 if number >= 0 else 2 * number


def seen_by_engine(request: Request, block_size: int, adapter: str = "") -> tuple[int, ...]:
    """The chained content of its full blocks, those that its answer fills included, as far as the workload knows it.
    What is behind them is its own. What was read with another LoRA adapter is other content."""
    size, blocks = request.block_tokens, request.blocks
    if not size:
        return ()
    total = (request.prompt_tokens + request.output_tokens) // block_size
    found: list[int] = []
    state, at = crc32(adapter.encode()), 0
    for place in range(min(total, len(blocks) * size // block_size)):
        upto = ((place + 1) * block_size - 1) // size + 1
        while at < upto:
            state = (state * 1_000_003 + blocks[at] + 1) & _MASK
            at += 1
        found.append((state * 131 + place) & _MASK)
    return tuple(found)
