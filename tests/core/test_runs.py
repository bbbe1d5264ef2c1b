"""Runs of blocks: to the last block what a list of single blocks, least recently used first, would hold."""

from collections import OrderedDict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base.prefix import ENDS, STEPS
from penstock.core.runs import Keys, Runs


class Plain:
    """The oracle: every block by itself."""

    def __init__(self) -> None:
        self.blocks: OrderedDict[int, int] = OrderedDict()
        self.answers = 0

    def use(self, keys: Keys, depth: int) -> None:
        """All blocks become the latest, the first one last of all."""
        for key in keys:
            self.blocks.setdefault(key, STEPS[key & 0xFF])
            self.blocks.move_to_end(key)

    def answered(self, size: int) -> None:
        """An answer is a block that nobody asks for again."""
        self.answers -= 1
        self.blocks[self.answers] = size

    def shrink(self, most_bytes: float, most: int) -> list[int]:
        """The oldest go, one by one."""
        gone = []
        while sum(self.blocks.values()) > most_bytes or len(self.blocks) > most:
            gone.append(self.blocks.popitem(last=False)[0])
        return [key for key in gone if key >= 0]


def text(*parts: int) -> Keys:
    """The blocks of a text: a block is known by all that came before it, and by its place (the low byte)."""
    return tuple([hash(parts[: at + 1]) % (1 << 48) << 8 | at for at in reversed(range(len(parts)))])


def held(runs: Runs) -> list[int]:
    """All blocks and answers (-1), the next to go first."""
    return [key for run in runs.runs() for key in run.keys or (-1,)]


TEXTS = [
    text(*(1,) * 9), text(*(1,) * 5), text(1, 1, 1, 2, 2), text(1, 1, 1, 2, 2, 3), text(1), text(2, 2, 2),
    text(1, 1, 1, 1, 1, 4, 4), text(2, 2, 5, 5, 5, 5), text(1, 1, 6),
]  # fmt: skip


@given(st.lists(st.tuples(st.integers(-2, len(TEXTS) - 1), st.integers(3, 30), st.integers(1, 20)), max_size=50))
def test_runs_are_what_single_blocks_would_be(turns: list[tuple[int, int, int]]) -> None:
    """Whatever is used in whatever order under whatever bounds, the same blocks are there, and go in the same order."""
    runs, plain = Runs(), Plain()
    for which, most, kilobytes in turns:
        if which < 0:
            runs.answered(1000 * -which)
            plain.answered(1000 * -which)
        else:
            keys = TEXTS[which]
            depth = sum(key in runs.blocks for key in keys)
            runs.use(keys, depth)
            plain.use(keys, depth)
        assert list(runs.shrink(kilobytes << 10, most)) == plain.shrink(kilobytes << 10, most)
        assert held(runs) == [max(key, -1) for key in plain.blocks]
        assert runs.blocks.keys() == {key for key in plain.blocks if key >= 0}
        assert (runs.held, runs.bytes) == (len(plain.blocks), sum(plain.blocks.values()))


def test_a_prompt_that_is_used_again_is_one_step() -> None:
    """Nothing is made anew: the run that it left is the latest again."""
    runs = Runs()
    one, other = TEXTS[0], TEXTS[5]
    runs.use(one, 0)
    runs.use(other, 0)
    before = runs.runs()
    runs.use(one, len(one))
    assert runs.runs() == before[::-1]


def test_a_conversation_that_grows_leaves_one_run() -> None:
    """Each turn takes over what the one before it left: nothing piles up."""
    runs = Runs()
    for length in range(1, 40):
        runs.use(text(*range(length)), length - 1)
    assert len(runs.runs()) == 1
    assert (runs.held, runs.bytes) == (39, ENDS[39])
    assert len(runs.clear()) == 39
    assert (runs.held, runs.bytes, runs.runs()) == (0, 0, [])


@pytest.mark.parametrize("seed", range(5))
def test_hashes_that_collide_leave_nothing_behind(seed: int) -> None:
    """Where unlike texts are taken for each other the bounds hold all the same, and everything can go."""
    rng, runs = Random(seed), Runs()
    for _ in range(400):
        keys = tuple([rng.randrange(60) for _ in range(rng.randrange(1, 12))])  # hashes of six bits, so to speak
        depth = len(keys)
        while depth and keys[len(keys) - depth] not in runs.blocks:
            depth -= 1
        runs.use(keys, depth)
        runs.shrink(40_000, 40)
        assert runs.held <= 40
        assert 0 <= runs.bytes <= 40_000
        assert all(runs.blocks[key] in runs.runs() for key in runs.blocks)
    runs.shrink(0, 0)
    assert (runs.held, runs.bytes, runs.blocks, runs.runs()) == (0, 0, {}, [])
