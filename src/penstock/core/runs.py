"""The blocks that one replica's engine is believed to hold, the least recently used first.

Engines let go of one block at a time: the one that was used the longest ago, and of one prompt its end before its
beginning. A prompt is used as a whole, though, so blocks stand here in runs: what one prompt left behind and no later
one has used since. Runs are in the order of their use, and using a prompt of fifty blocks moves one run rather than
fifty blocks. It is to the last block what a list of single blocks would be (a test holds it against one). Knows hashes
and numbers alone.
"""

from bisect import bisect_right
from collections import OrderedDict

from penstock.base.prefix import ENDS

Keys = tuple[int, ...]
"""The blocks of one prompt for one model, the longest prefix first."""


class Run:
    """Neighbouring blocks of one prompt, as far as no later prompt has used them; or an answer, of which nobody can ask
    for a block again."""

    __slots__ = ("base", "keys", "size")

    def __init__(self, keys: Keys, base: int, size: int = 0) -> None:
        self.keys = keys
        """The longest prefix first. Empty: an answer."""
        self.base = base
        """So many blocks of the prompt come before them."""
        self.size = size
        """Bytes of an answer."""


class Runs:
    """All blocks of one replica."""

    __slots__ = ("_runs", "blocks", "bytes", "held")

    def __init__(self) -> None:
        self.blocks: dict[int, Run] = {}
        """Block -> the run that it stands in."""
        self._runs: OrderedDict[Run, None] = OrderedDict()
        """The least recently used first. Those with blocks have some: an empty one is not kept."""
        self.bytes = 0
        self.held = 0
        """Blocks, and answers."""

    def runs(self) -> list[Run]:
        """The least recently used first."""
        return list(self._runs)

    def use(self, keys: Keys, depth: int) -> None:
        """A prompt was used: its blocks become the latest, the first one last of all; so many are there already."""
        blocks, runs, count = self.blocks, self._runs, len(keys)
        if depth == count:
            run = blocks[keys[0]]
            if len(run.keys) == count and not run.base:  # nothing but this prompt was used of it since
                runs.move_to_end(run)
                return
        kept = depth and self._take(keys, depth)
        new = Run(keys, 0)
        runs[new] = None
        blocks.update(dict.fromkeys(keys, new))
        self.bytes += ENDS[count] - ENDS[depth] + ENDS[kept]
        self.held += count - depth + kept

    def _take(self, keys: Keys, depth: int) -> int:
        """Take the leading blocks of this prompt out of the runs that they stand in; how many could not be.

        Whoever used a block last has used all before it as well: so a run's blocks up to there are all this prompt's,
        and those before it stand in another run, if not in this one. It is otherwise only where hashes collide; then
        blocks are counted twice, and forgotten with the run that they were first in."""
        blocks, runs, count = self.blocks, self._runs, len(keys)
        while depth:
            run = blocks.get(keys[count - depth])
            if run is None:
                break
            own, base = run.keys, run.base
            beyond = base + len(own) - depth
            if base >= depth or beyond < 0 or own[beyond:] != keys[count - depth : count - base]:
                break
            if beyond:
                run.keys, run.base = own[:beyond], depth
            else:
                del runs[run]
            depth = base
        return depth

    def answered(self, size: int) -> None:
        """An answer of so many bytes took room too."""
        self._runs[Run((), 0, size)] = None
        self.bytes += size
        self.held += 1

    def shrink(self, most_bytes: float, most: int) -> list[int]:
        """Let go until at most so many bytes and blocks are left; the blocks that are gone."""
        gone: list[int] = []
        runs, blocks, room = self._runs, self.blocks, int(most_bytes)
        while self.bytes > room or self.held > most:
            run = next(iter(runs))
            keys, base = run.keys, run.base
            if not keys:
                del runs[run]
                self.bytes -= run.size
                self.held -= 1
                continue
            count = len(keys)
            top = base + count
            # as many of its last blocks as it takes, found at once rather than one by one
            left = min(bisect_right(ENDS, room - self.bytes + ENDS[top]) - 1, top - self.held + most)
            if left > base:
                run.keys = keys[base - left :]
                keys = keys[: top - left]
            else:
                left = base
                del runs[run]
            self.bytes -= ENDS[top] - ENDS[left]
            self.held -= top - left
            for key in keys:
                if blocks.get(key) is run:
                    del blocks[key]
                    gone.append(key)
        return gone

    def clear(self) -> Keys:
        """Let go of everything; the blocks that are gone."""
        gone = tuple(self.blocks)
        self.blocks.clear()
        self._runs.clear()
        self.bytes = self.held = 0
        return gone
