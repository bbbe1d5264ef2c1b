"""KV blocks and the prefix cache: who holds how many, and what can be found again.

Blocks have no numbers here, they are counted. A full block with a content hash is known by it and may be held by many
sequences at once; a block that nobody holds any more stays findable until its space is needed (least recently used goes
first). The law that everything rests on: free + known + private = total.
"""

from collections import OrderedDict


class Hold:
    """The blocks of one sequence: the first `known` ones are shared by hash, the `private` ones after them its own."""

    __slots__ = ("hashes", "known", "private")

    def __init__(self, hashes: tuple[int, ...] = ()) -> None:
        self.hashes = hashes
        self.known = 0
        self.private = 0


class Memory:
    """The KV cache of one engine."""

    __slots__ = ("_free", "_holders", "_idle", "block_tokens", "total_blocks")

    def __init__(self, total_blocks: int, block_tokens: int) -> None:
        self.total_blocks = total_blocks
        self.block_tokens = block_tokens
        self._free = total_blocks
        self._holders: dict[int, int] = {}
        """Hash of a known block -> sequences that hold it."""
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Known blocks without a holder, the one to be evicted first at the front."""

    @property
    def used_blocks(self) -> int:
        """Blocks that sequences hold."""
        return self.total_blocks - self._free - len(self._idle)

    @property
    def known_blocks(self) -> int:
        """Blocks that can be found by their hash, held or not."""
        return len(self._holders)

    @property
    def usage(self) -> float:
        """Share of the blocks that sequences hold, 0..1."""
        return self.used_blocks / self.total_blocks

    @property
    def free_blocks(self) -> int:
        """Blocks without content."""
        return self._free

    @property
    def available(self) -> int:
        """Blocks that can be taken: free ones, and known ones that nobody holds."""
        return self._free + len(self._idle)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that so many tokens fill or begin."""
        return -(-tokens // self.block_tokens)

    def found(self, hashes: tuple[int, ...], max_tokens: int) -> int:
        """Tokens of the longest prefix of these blocks that is known, in full blocks and at most `max_tokens`."""
        holders, blocks = self._holders, 0
        for block in hashes[: max_tokens // self.block_tokens]:
            if block not in holders:
                break
            blocks += 1
        return blocks * self.block_tokens

    def fits(self, hold: Hold, tokens: int, found: int) -> bool:
        """Whether a new sequence of so many tokens, of which `found` are known, could be held as a whole now."""
        holders, known = self._holders, found // self.block_tokens
        revived = sum(holders[block] == 0 for block in hold.hashes[:known])
        return self.blocks_for(tokens) - known <= self.available - revived

    def grow(self, hold: Hold, tokens: int) -> bool:
        """Make room for a sequence of so many tokens (never fewer than before). False: there is none, nothing changed.

        Full blocks become known. A block whose content is known already, because another sequence computed it in the
        meantime, is held together with that one and the own copy is dropped.
        """
        full = min(tokens // self.block_tokens, len(hold.hashes))
        private = self.blocks_for(tokens) - max(full, hold.known)
        if full <= hold.known and private == hold.private:
            return True
        holders, new = self._holders, hold.hashes[hold.known : full]
        counts = [holders.get(block) for block in new]
        if counts.count(None) + private - hold.private > self.available - counts.count(0):
            return False
        self._free += hold.private
        made = 0
        for block, count in zip(new, counts):
            if count is None:
                made += 1 - (block in holders)
            elif count == 0:
                self._idle.pop(block, None)
            holders[block] = holders.get(block, 0) + 1
        self.take(made + private)
        hold.known, hold.private = max(full, hold.known), private
        return True

    def take(self, blocks: int) -> None:
        """Take so many blocks for sequences that generate, without saying whose. There must be so many `available`."""
        spare = min(blocks, self._free)
        self._free -= spare
        for _ in range(blocks - spare):
            evicted, _nothing = self._idle.popitem(last=False)
            del self._holders[evicted]

    def settle(self, hold: Hold, tokens: int) -> None:
        """This sequence has come to so many tokens with blocks that were taken without saying whose."""
        hold.private = self.blocks_for(tokens) - hold.known

    def release(self, hold: Hold, computed: int = 0) -> None:
        """Give everything back. Known blocks stay findable; the end of a prefix is evicted before its beginning.

        Own blocks with a hash that are full of the `computed` tokens become findable now: an answer is a prefix for
        others once it is over. (vLLM does it block by block; nobody asks for half an answer, and here it would end
        every run of equal steps.)
        """
        holders, idle, hashes = self._holders, self._idle, hold.hashes
        for block in reversed(hashes[hold.known : computed // self.block_tokens]):
            if block not in holders:
                holders[block] = 0
                idle[block] = None
                hold.private -= 1
        self._free += hold.private
        for block in reversed(hashes[: hold.known]):
            left = holders[block] - 1
            holders[block] = left
            if left == 0:
                idle[block] = None
        hold.known = hold.private = 0
