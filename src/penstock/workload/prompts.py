"""Prompt texts of a wanted length, with the prefixes that a trace says are shared.

This room knows token counts and block ids; it knows no tokenizer. The texts are English words without meaning, about
four characters a token (`words`), the same for the same seed on every machine.
"""

from penstock.base.rand import Rand
from penstock.workload.request import Request
from penstock.workload.words import WORDS

CACHE_BYTES = 64 << 20
"""Bound of the texts kept for reuse: 30,000 blocks of 512 tokens."""

_WORD_OF_BYTE = tuple(" " + WORDS[byte % len(WORDS)] for byte in range(256))


class Prompts:
    """Writes prompts: equal block ids at equal places give equal text there, everything else is unique."""

    __slots__ = ("_blocks", "_cached_bytes", "_limit_bytes", "_rand")

    def __init__(self, seed: int = 0, cache_bytes: int = CACHE_BYTES) -> None:
        self._rand = Rand(seed)
        self._limit_bytes = cache_bytes
        self._cached_bytes = 0
        self._blocks: dict[tuple[int, int], str] = {}

    def text(self, request: Request, number: int) -> str:
        """A prompt of about `request.prompt_tokens` tokens. `number` tells unshared texts apart."""
        size = request.block_tokens
        blocks = request.blocks[: -(-request.prompt_tokens // size)] if size else ()
        parts = [self._block(block, size) for block in blocks]
        missing = request.prompt_tokens - len(parts) * size
        if missing > 0:
            parts.append(_words(self._rand, f"unique/{number}", missing))
        # Every word is four characters with the space before it; a prompt has no space at its start.
        return "".join(parts)[1 : 4 * request.prompt_tokens]

    def _block(self, block: int, tokens: int) -> str:
        key = (block, tokens)
        text = self._blocks.pop(key, None)
        if text is None:
            text = _words(self._rand, f"block/{block}", tokens)
            self._cached_bytes += len(text)
        self._blocks[key] = text  # the end of the dict is what was used last
        while self._cached_bytes > self._limit_bytes:
            self._cached_bytes -= len(self._blocks.pop(next(iter(self._blocks))))
        return text


def _words(rand: Rand, stream: str, count: int) -> str:
    return "".join([_WORD_OF_BYTE[byte] for byte in rand.stream(stream).randbytes(count)])
