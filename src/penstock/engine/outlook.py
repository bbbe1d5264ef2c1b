"""What an engine has still to do, for an oracle that may know how long answers will be. No gateway can."""

from typing import NamedTuple

from penstock.engine.batcher import Batcher, EngineSpec


class Left(NamedTuple):
    """Tokens."""

    read: int
    """Of prompts, that are not computed and cannot be found."""
    made: int
    """Of answers, that are not out."""


class Price(NamedTuple):
    """Seconds of a busy engine's time for a token, its speed taken into account."""

    read_s: float
    made_s: float

    def of(self, read: int, made: int) -> float:
        """Seconds for so many tokens."""
        return self.read_s * read + self.made_s * made


def left(batcher: Batcher, now: float) -> Left:
    """What stands in its books. `now`: not before the last fact that it was told."""
    run, group, memory = batcher._run, batcher._group, batcher.memory
    ticks = group.ticks + (run.done_by(now) - run.done if run.steps > run.done + 1 else 0)
    read = made = 0
    for sequence in batcher._sequences.values():
        if sequence.generates:
            made += max(0, sequence.end_tick - ticks)
            continue
        known = sequence.computed
        if sequence.hold is None:
            known = memory.found(sequence.told.hashes, sequence.tokens - 1)
        read += sequence.tokens - known
        made += sequence.told.max_tokens - sequence.generated
    return Left(read, made)


def price(spec: EngineSpec, sequences: int, context_tokens: int) -> Price:
    """A token's share of a full step: of one that only reads, and of one in which so many sequences generate, each with
    so much context."""
    budget = spec.max_num_batched_tokens
    reads_s = spec.cost.step_s(budget, 0, 0, budget * (budget + 1) // 2)
    makes_s = spec.cost.step_s(0, sequences, sequences * context_tokens, 0)
    return Price(reads_s / budget / spec.speed, makes_s / sequences / spec.speed)
