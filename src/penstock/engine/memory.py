"""KV blocks and the prefix cache: who holds how many, and what can be found again.

Blocks have no numbers here, they are counted. A full block with a content hash is known by it and may be held by many
sequences at once; a block that nobody holds any more stays findable until its space is needed (least recently used goes
first). What only one sequence can have is not hashed block by block: it is known as a whole, by how many blocks of it
are there. The law that everything rests on: free + known + private = total.
"""

from collections import OrderedDict


class Hold:
    """The blocks of one sequence: the first `known` ones are shared by hash, the `private` ones after them its own."""

    __slots__ = ("hashes", "known", "own", "private")

    def __init__(self, hashes: tuple[int, ...] = (), own: int = 0) -> None:
        self.hashes = hashes
        self.own = own
        """What its full blocks beyond the hashes are found by, once they are released; 0: never."""
        self.known = 0
        self.private = 0


class Memory:
    """The KV cache of one engine."""

    __slots__ = ("_free", "_holders", "_idle", "_idle_blocks", "_own_blocks", "block_tokens", "total_blocks")

    def __init__(self, total_blocks: int, block_tokens: int) -> None:
        self.total_blocks = total_blocks
        self.block_tokens = block_tokens
        self._free = total_blocks
        self._holders: dict[int, int] = {}
        """Hash of a known block -> sequences that hold it."""
        self._idle: OrderedDict[int, int] = OrderedDict()
        """Known blocks without a holder, what is to be evicted first at the front: a hash -> 1, or what the own blocks
        of one sequence are found by -> how many, of which the last is evicted first."""
        self._idle_blocks = 0
        self._own_blocks = 0
        """Of these, those that are one sequence's own."""

    @property
    def used_blocks(self) -> int:
        """Blocks that sequences hold."""
        return self.total_blocks - self._free - self._idle_blocks

    @property
    def known_blocks(self) -> int:
        """Blocks that can be found, held or not."""
        return len(self._holders) + self._own_blocks

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
        return self._free + self._idle_blocks

    def blocks_for(self, tokens: int) -> int:
        """Blocks that so many tokens fill or begin."""
        return -(-tokens // self.block_tokens)

    def found(self, hashes: tuple[int, ...], max_tokens: int, own: int = 0) -> int:
        """Tokens of the longest known prefix of what these blocks, and own ones behind them, would hold: in full blocks
        and at most `max_tokens`."""
        holders, most, blocks = self._holders, max_tokens // self.block_tokens, 0
        for block in hashes[:most]:
            if block not in holders:
                return blocks * self.block_tokens
            blocks += 1
        if own and most > blocks:
            blocks = min(most, blocks + self._idle.get(own, 0))
        return blocks * self.block_tokens

    def fits(self, hold: Hold, tokens: int, found: int) -> bool:
        """Whether a new sequence of so many tokens, of which `found` are known, could be held as a whole now."""
        holders, known = self._holders, found // self.block_tokens
        revived = sum(holders[block] == 0 for block in hold.hashes[:known]) + max(0, known - len(hold.hashes))
        return self.blocks_for(tokens) - known <= self.available - revived

    def grow(self, hold: Hold, tokens: int) -> bool:
        """Make room for a sequence of so many tokens (never fewer than before). False: there is none, nothing changed.

        Full blocks become known. A block whose content is known already, because another sequence computed it in the
        meantime, is held together with that one and the own copy is dropped.
        """
        full = min(tokens // self.block_tokens, len(hold.hashes))
        if full > hold.known:
            return self._share(hold, full, self.blocks_for(tokens) - full)
        more = self.blocks_for(tokens) - hold.known - hold.private
        if more > self._free + self._idle_blocks:
            return False
        self._revive(hold)
        self.take(more)
        hold.private += more
        return True

    def _share(self, hold: Hold, full: int, private: int) -> bool:
        """The growth of one that has now so many known blocks, more than before, and so many private ones."""
        holders, idle, new = self._holders, self._idle, hold.hashes[hold.known : full]
        counts = [holders.get(block) for block in new]
        if counts.count(None) + private - hold.private > self.available - counts.count(0):
            return False
        self._revive(hold)
        self._free += hold.private
        made = 0
        for block, count in zip(new, counts):
            if count is None:
                made += 1 - (block in holders)
            elif count == 0 and idle.pop(block, 0):
                self._idle_blocks -= 1
            holders[block] = holders.get(block, 0) + 1
        self.take(made + private)
        hold.known, hold.private = full, private
        return True

    def _revive(self, hold: Hold) -> None:
        """A sequence that begins (again) finds its own blocks as free ones, which it takes at once."""
        if hold.own and not (hold.known or hold.private) and (blocks := self._idle.pop(hold.own, 0)):
            self._idle_blocks -= blocks
            self._own_blocks -= blocks
            self._free += blocks

    def take(self, blocks: int) -> None:
        """Take so many blocks for sequences that generate, without saying whose. There must be so many `available`."""
        spare = self._free
        if blocks <= spare:
            self._free = spare - blocks
            return
        self._free = 0
        blocks -= spare
        self._idle_blocks -= blocks
        idle, holders = self._idle, self._holders
        while blocks:
            evicted, size = idle.popitem(last=False)
            if holders.pop(evicted, None) is None:
                self._own_blocks -= min(size, blocks)
            if size > blocks:
                idle[evicted] = size - blocks
                idle.move_to_end(evicted, last=False)
                return
            blocks -= size

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
        full = computed // self.block_tokens
        if hold.own and (own := full - len(hashes)) > 0 and hold.own not in idle:
            idle[hold.own] = own
            self._idle_blocks += own
            self._own_blocks += own
            hold.private -= own
        if hashes:
            before = len(idle)
            for block in reversed(hashes[hold.known : full]):
                if block not in holders:
                    holders[block] = 0
                    idle[block] = 1
                    hold.private -= 1
            for block in reversed(hashes[: hold.known]):
                left = holders[block] - 1
                holders[block] = left
                if left == 0:
                    idle[block] = 1
            self._idle_blocks += len(idle) - before
        self._free += hold.private
        hold.known = hold.private = 0
