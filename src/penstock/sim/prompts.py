"""What the gateway and the engines would see of a prompt that a workload only describes by blocks.

A token is four bytes of text here. Equal blocks at equal places are equal text, and what stands behind a prompt's
blocks is nobody else's.
"""

from bisect import bisect_right
from zlib import crc32

from penstock.base.prefix import ENDS
from penstock.workload.request import Request

TOKEN_BYTES = 4
_MASK = (1 << 61) - 1
_OWN = 1 << 62
"""Engine blocks of text that only one prompt has."""


def seen_by_gateway(request: Request, number: int) -> tuple[int, ...]:
    """The hashes of its leading blocks as `base.prefix` cuts them; `number` tells it from all other requests."""
    length = request.prompt_tokens * TOKEN_BYTES
    count = bisect_right(ENDS, length) - 1
    size = request.block_tokens * TOKEN_BYTES
    known = len(request.blocks)
    found: list[int] = []
    state = at = 0
    for end in ENDS[1 : count + 1]:
        upto = -(-end // size) if size else 1
        if upto > known:
            state = crc32(b"%d/%d" % (number, len(found)), state)
        else:
            for block in request.blocks[at:upto]:
                state = crc32(b"%d" % block, state)
            at = upto
        found.append(crc32(b"%d" % end, state))
    return tuple(found)


def seen_by_engine(request: Request, number: int, block_size: int) -> tuple[int, ...]:
    """The chained content of its full blocks, those that its answer fills included."""
    size, blocks = request.block_tokens, request.blocks
    total = (request.prompt_tokens + request.output_tokens) // block_size
    covered = min(total, len(blocks) * size // block_size) if size else 0
    found: list[int] = []
    state, at = 0, 0
    for place in range(covered):
        upto = ((place + 1) * block_size - 1) // size + 1
        while at < upto:
            state = (state * 1_000_003 + blocks[at] + 1) & _MASK
            at += 1
        found.append((state * 131 + place) & _MASK)
    first = _OWN + (number << 24)
    found.extend(range(first + covered, first + total))
    return tuple(found)
