"""A second Batcher, written to be seen to be right: one step at a time. For comparison only."""

from collections import deque

from penstock.engine.batcher import EngineSpec
from penstock.engine.memory import Hold, Memory
from penstock.engine.words import Abort, Emit, Event, Finish, Order, Reason, Slowed, Submit

Told = list[tuple[float, Order]]


class Walker:
    """One request."""

    def __init__(self, told: Submit) -> None:
        self.told = told
        self.hold: Hold | None = None
        self.generated = self.computed = self.chunk = self.cached = 0
        self.admitted = False
        self.generates = False
        """All that it was told is computed; only its own last token is not."""

    @property
    def tokens(self) -> int:
        """Prompt and answer so far."""
        return self.told.prompt_tokens + self.generated


class Stepper:
    """The engine. It rejects nothing: tell it only what fits."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.memory = Memory(spec.kv_blocks, spec.block_size)
        self.seats = min(spec.max_num_seqs, spec.max_num_batched_tokens)
        self.waiting: deque[Walker] = deque()
        self.running: list[Walker] = []
        self.step: list[Walker] = []
        self.ends_at: float | None = None
        self.pace = 1.0
        self.steps = self.preemptions = 0

    def on(self, event: Event, now: float) -> Told:
        """Take a fact; every order with the time at which it came out."""
        told: Told = []
        while self.ends_at is not None and self.ends_at <= now:
            self.end(self.ends_at, told)
        if isinstance(event, Submit):
            self.waiting.append(Walker(event))
        elif isinstance(event, Abort):
            for walker in [*self.waiting, *self.running]:
                if walker.told.id == event.id:
                    self.leave(walker, "abort", now, told)
        elif isinstance(event, Slowed):
            self.pace = event.factor
        if self.ends_at is None:
            self.begin(now)
        return told

    def begin(self, at: float) -> None:
        """Choose a step: running ones first, then waiting ones."""
        self.step = []
        budget, index, preempted = self.spec.max_num_batched_tokens, 0, False
        while index < len(self.running):
            walker = self.running[index]
            chunk = min(walker.tokens - walker.computed, budget)
            if self.extend(walker, walker.computed + chunk):
                self.step.append(walker)
                walker.chunk, budget, index = chunk, budget - chunk, index + 1
            else:
                self.preempt(self.running.pop())
                preempted = True
        while self.waiting and budget > 0 and not preempted and len(self.running) < self.seats:
            if not self.admit(self.waiting[0], budget):
                break
            budget -= self.waiting.popleft().chunk
        if preempted and not self.step:
            self.begin(at)
        elif self.step:
            self.steps += 1
            self.ends_at = at + self.cost_s() * self.pace
        else:
            self.ends_at = None

    def cost_s(self) -> float:
        """What the step takes."""
        prefill = decodes = context = pairs = 0
        for walker in self.step:
            context += walker.computed
            if walker.generates:
                decodes += 1
            else:
                prefill += walker.chunk
                pairs += sum(walker.computed + new + 1 for new in range(walker.chunk))
        return self.spec.cost.step_s(prefill, decodes, context, pairs)

    def extend(self, walker: Walker, tokens: int) -> bool:
        """Memory for what a running one computes next: prompts become known at once, answers with their end."""
        assert walker.hold is not None
        if not walker.generates:
            return self.memory.grow(walker.hold, tokens)
        more = self.memory.blocks_for(tokens) - walker.hold.known - walker.hold.private
        if more > self.memory.available:
            return False
        self.memory.take(more)
        self.memory.settle(walker.hold, tokens)
        return True

    def preempt(self, walker: Walker) -> None:
        """Back to the front of those who wait, with nothing computed."""
        assert walker.hold is not None
        self.memory.release(walker.hold, walker.computed)
        walker.hold, walker.computed, walker.generates = None, 0, False
        self.waiting.appendleft(walker)
        self.preemptions += 1

    def admit(self, walker: Walker, budget: int) -> bool:
        """Give a waiting one a seat and its first blocks, if they are there."""
        hold = Hold(walker.told.hashes, walker.told.own)
        found = self.memory.found(hold.hashes, walker.tokens - 1, hold.own)
        chunk = min(walker.tokens - found, budget)
        whole = chunk == walker.tokens - found or not self.spec.reserve_full_prompt
        if not whole and not self.memory.fits(hold, walker.tokens, found):
            return False
        if not self.memory.grow(hold, found + chunk):
            return False
        walker.hold, walker.computed, walker.chunk = hold, found, chunk
        if not walker.admitted:
            walker.admitted, walker.cached = True, found
        self.running.append(walker)
        self.step.append(walker)
        return True

    def end(self, at: float, told: Told) -> None:
        """What the step took is computed."""
        for walker in self.step:
            if walker.hold is None:
                continue
            walker.computed += walker.chunk
            if walker.computed < walker.tokens:
                continue
            walker.generates = True
            if walker.generated < walker.told.max_tokens:
                walker.generated += 1
                told.append((at, Emit(walker.told.id, 1, walker.generated == 1)))
            if walker.generated >= walker.told.max_tokens:
                self.leave(walker, walker.told.reason, at, told)
        self.begin(at)

    def leave(self, walker: Walker, reason: Reason, at: float, told: Told) -> None:
        """It is over."""
        if walker.hold is None:
            self.waiting.remove(walker)
        else:
            self.running.remove(walker)
            self.memory.release(walker.hold, walker.computed)
            walker.hold = None
        say = walker.told
        told.append((at, Finish(say.id, say.prompt_tokens, walker.generated, walker.cached, reason)))
