"""One request on its way through an engine, and those that generate together.

Whoever generates gets one token in every step, so the group keeps one count of steps (`ticks`) and each member only how
it stands to it. A step, or a thousand, then costs the same however many members there are.
"""

from heapq import heappop, heappush

from penstock.engine.counters import Counters
from penstock.engine.memory import Hold
from penstock.engine.words import Submit


class Sequence:
    """One request. `hold` is None while it waits and after its end."""

    __slots__ = (
        "admitted_at", "arrived_at", "base", "cached_tokens", "chunk", "computed", "emitted", "end_tick", "first_at",
        "generated", "generates", "hold", "last_at", "told",
    )  # fmt: skip

    def __init__(self, told: Submit, now: float) -> None:
        self.told = told
        self.arrived_at = now
        self.admitted_at: float | None = None
        self.first_at = 0.0
        self.last_at = 0.0
        """When its last token came out; while it generates with others, the end of the last step."""
        self.cached_tokens = 0
        self.generated = 0
        """Its tokens so far; kept by the group while it `generates`."""
        self.emitted = 0
        """Of these, those that were told."""
        self.computed = 0
        """Tokens whose keys and values are in its blocks; kept by the group while it `generates`."""
        self.chunk = 0
        """Tokens that the step under way takes of its prompt."""
        self.generates = False
        self.base = 0
        self.end_tick = 0
        self.hold: Hold | None = None

    @property
    def tokens(self) -> int:
        """Prompt and answer so far."""
        return self.told.prompt_tokens + self.generated

    def count_end(self, counters: Counters, at: float) -> None:
        """It has all its tokens, the last one now."""
        admitted_at = self.admitted_at or 0.0
        first_at = self.first_at if self.generated else at
        counters.e2e_s.observe(at - self.arrived_at)
        counters.inference_s.observe(at - admitted_at)
        counters.prefill_s.observe(first_at - admitted_at)
        counters.decode_s.observe(at - first_at)
        counters.request_prompt_tokens.observe(self.told.prompt_tokens)
        counters.request_generation_tokens.observe(self.generated)
        if self.generated > 1:
            counters.time_per_output_token_s.observe((at - first_at) / (self.generated - 1))


class Group:
    """The sequences that generate, oldest first."""

    __slots__ = ("_crossings", "_ends", "_joined", "block_tokens", "context", "members", "ticks")

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self.ticks = 0
        """Steps since the engine started in which the group took part."""
        self.context = 0
        """Tokens that the members have computed, together."""
        self.members: dict[Sequence, None] = {}
        self._crossings = [0] * block_tokens
        """Members that need a new block in the steps whose tick has this remainder."""
        self._ends: list[tuple[int, int, Sequence]] = []
        """When members will have all their tokens; those that left earlier stay in until their turn comes."""
        self._joined = 0

    def join(self, sequence: Sequence) -> None:
        """Its prompt is computed, and a token is out that is not."""
        ticks = self.ticks
        sequence.generates = True
        sequence.base = base = sequence.computed - ticks
        sequence.end_tick = end_tick = ticks + sequence.told.max_tokens - sequence.generated
        self.context += sequence.computed
        self._crossings[-base % self.block_tokens] += 1
        self.members[sequence] = None
        self._joined += 1
        heappush(self._ends, (end_tick, self._joined, sequence))

    def leave(self, sequence: Sequence) -> None:
        """It has all its tokens, or nobody wants it any more, or its memory is needed: it knows where it stands."""
        sequence.generates = False
        sequence.computed = computed = sequence.base + self.ticks
        sequence.generated = computed + 1 - sequence.told.prompt_tokens
        self.context -= computed
        self._crossings[-sequence.base % self.block_tokens] -= 1
        del self.members[sequence]

    def advance(self, steps: int) -> None:
        """So many steps are over."""
        self.ticks += steps
        self.context += steps * len(self.members)

    def blocks(self, after: int, steps: int) -> int:
        """Blocks that the members need beyond those they have after `after` more steps, for `steps` steps."""
        crossings, size, first = self._crossings, self.block_tokens, self.ticks + after
        if steps == 1:
            return crossings[first % size]
        rounds, rest = divmod(steps, size)
        begin = first % size
        some = sum(crossings[begin : begin + rest]) + sum(crossings[: max(0, begin + rest - size)])
        return rounds * len(self.members) + some

    def crosses(self, sequence: Sequence) -> bool:
        """Whether the next step needs a block for this member."""
        return (sequence.base + self.ticks) % self.block_tokens == 0

    def steps_within(self, blocks: int, after: int, most: int) -> int:
        """For how many steps, at most `most`, so many blocks are enough, `after` steps from now."""
        members, size = len(self.members), self.block_tokens
        if blocks >= members * (most // size + 1):
            return most
        steps = min(most, blocks // members * size)
        left = blocks - blocks // members * members
        while steps < most:
            left -= self._crossings[(self.ticks + after + steps) % size]
            if left < 0:
                return steps
            steps += 1
        return most

    def steps_to_end(self) -> int:
        """Steps until the first member has all its tokens. There is a member."""
        ends = self._ends
        while not self._lasts(ends[0]):
            heappop(ends)
        return ends[0][0] - self.ticks

    def ended(self) -> list[Sequence]:
        """Members that have all their tokens, oldest first. They are still members."""
        ends = self._ends
        over: list[Sequence] = []
        while ends and ends[0][0] <= self.ticks:
            entry = heappop(ends)
            if self._lasts(entry):
                over.append(entry[2])
        return over

    def _lasts(self, entry: tuple[int, int, Sequence]) -> bool:
        return entry[2].generates and entry[2].end_tick == entry[0]
