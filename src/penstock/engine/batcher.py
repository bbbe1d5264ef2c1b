"""The Batcher: a pure machine that *is* an engine replica like a vLLM. Time and memory are modelled, text is not.

Continuous batching, first come first served. A step takes tokens of running sequences first (one of each that
generates, a chunk of each whose prompt is still being read), then admits waiting ones, until its token budget, the
seats or the KV blocks run out. When a running sequence finds no block, the youngest running one is preempted: its
blocks are freed and it is computed again later, from its prompt and what it had generated. This is the scheduling of
vLLM's V1 engine; left out are its priorities, speculative decoding, LoRA and multimodal budgets.

The schedule knows no late clock: every fact first brings the engine up to `now`, step by step, and a step begins
exactly where the one before it ended. So a pump that is late changes when tokens are seen, not how many there are.
"""

from collections import deque
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, Struct

from penstock.engine.counters import Counters
from penstock.engine.memory import Hold, Memory
from penstock.engine.perf import PRESETS, StepCost
from penstock.engine.words import Abort, Emit, Event, Finish, Order, Reason, Reject, Slowed, Submit, WhyNot, Woke

Count = Annotated[int, Meta(ge=1)]


class EngineSpec(Struct, frozen=True, kw_only=True, tag="batcher", tag_field="kind", forbid_unknown_fields=True):
    """One engine replica: its speed, its seats and its memory. Names and defaults follow vLLM's arguments."""

    cost: StepCost = PRESETS["demo"]
    speed: Annotated[float, Meta(gt=0, description="2: steps take half of the cost model's time")] = 1.0
    max_num_seqs: Annotated[Count, Meta(description="sequences that run at once")] = 256
    max_num_batched_tokens: Annotated[Count, Meta(description="tokens that one step takes")] = 2048
    kv_blocks: Annotated[Count, Meta(description="blocks of the KV cache")] = 8192
    block_size: Annotated[Count, Meta(description="tokens of a block")] = 16
    max_model_len: Annotated[Count, Meta(description="longest prompt and answer together, in tokens")] = 32_768
    max_waiting: Annotated[Count, Meta(description="sequences that may wait; more are rejected")] = 100_000


class _Sequence:
    """One request on its way. `hold` is None while it waits and after its end."""

    __slots__ = (
        "admitted_at", "arrived_at", "cached_tokens", "chunk", "computed", "first_at", "generated", "hold", "last_at",
        "told",
    )  # fmt: skip

    def __init__(self, told: Submit, now: float) -> None:
        self.told = told
        self.arrived_at = now
        self.admitted_at: float | None = None
        self.first_at = 0.0
        self.last_at = 0.0
        self.cached_tokens = 0
        self.generated = 0
        self.computed = 0
        """Tokens whose keys and values are in its blocks."""
        self.chunk = 0
        """Tokens that the running step takes of it."""
        self.hold: Hold | None = None

    @property
    def tokens(self) -> int:
        """Prompt and answer so far."""
        return self.told.prompt_tokens + self.generated


class Batcher:
    """One engine replica. Facts and orders are in `engine.words`."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.memory = Memory(spec.kv_blocks, spec.block_size)
        self.counters = Counters()
        self._pace = 1.0 / spec.speed
        self._sequences: dict[str, _Sequence] = {}
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._step: list[_Sequence] = []
        self._step_ends: float | None = None
        self._handlers: dict[type, Callable[[Any, float, list[Order]], None]] = {
            Submit: self._submit,
            Abort: self._abort,
            Slowed: self._slowed,
            Woke: self._woke,
        }

    # ===== the machine =====

    def on(self, event: Event, now: float) -> list[Order]:
        """Take one fact. Raises ValueError when a Submit repeats the id of a sequence that has not ended."""
        orders: list[Order] = []
        while self._step_ends is not None and self._step_ends <= now:
            self._end_step(self._step_ends, orders)
        self._handlers[type(event)](event, now, orders)
        if self._step_ends is None:
            self._begin_step(now)
        return orders

    def next_wake(self) -> float | None:
        """The end of the running step; None while the engine has nothing to do."""
        return self._step_ends

    # ===== its state, for readers =====

    @property
    def running(self) -> int:
        """Sequences that have a seat."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences that wait for a seat or for memory."""
        return len(self._waiting)

    # ===== facts =====

    def _submit(self, event: Submit, now: float, orders: list[Order]) -> None:
        if event.id in self._sequences:
            raise ValueError(f"sequence {event.id!r} has not ended yet")
        why = self._why_not(event)
        if why is not None:
            self.counters.rejected[why] += 1
            orders.append(Reject(event.id, why))
            return
        sequence = _Sequence(event, now)
        self._sequences[event.id] = sequence
        self._waiting.append(sequence)

    def _why_not(self, event: Submit) -> WhyNot | None:
        if event.prompt_tokens < 1:
            return "empty"
        tokens = event.prompt_tokens + event.max_tokens
        # The last token of an answer is never read again, so it needs no place in the KV cache.
        blocks = self.memory.blocks_for(max(event.prompt_tokens, tokens - 1))
        if tokens > self.spec.max_model_len or blocks > self.spec.kv_blocks:
            return "too_long"
        return "queue_full" if len(self._waiting) >= self.spec.max_waiting else None

    def _abort(self, event: Abort, now: float, orders: list[Order]) -> None:
        sequence = self._sequences.get(event.id)
        if sequence is None:
            return
        # The step that is under way was paid for with it: it still ends when it was going to.
        if sequence.hold is None:
            self._waiting.remove(sequence)
        else:
            self._running.remove(sequence)
        self._finish(sequence, "abort", now, orders)

    def _slowed(self, event: Slowed, now: float, orders: list[Order]) -> None:
        self._pace = event.factor / self.spec.speed

    def _woke(self, event: Woke, now: float, orders: list[Order]) -> None:
        pass  # being told the time is all

    # ===== steps =====

    def _begin_step(self, at: float) -> None:
        """Choose what the next step takes, and when it ends. With nothing to do there is no step."""
        step: list[_Sequence] = []
        self._step = step
        budget, preempted = self._extend_running(step, self.spec.max_num_batched_tokens)
        if not preempted:
            self._admit(step, budget, at)
        if not step:
            self._step_ends = None
            return
        prefill = decodes = context = 0
        for sequence in step:
            context += sequence.computed
            if sequence.generated and sequence.chunk == 1:
                decodes += 1
            else:
                prefill += sequence.chunk
        self.counters.steps += 1
        self.counters.step_tokens.observe(prefill + decodes)
        self._step_ends = at + self.spec.cost.step_s(prefill, decodes, context) * self._pace

    def _extend_running(self, step: list[_Sequence], budget: int) -> tuple[int, bool]:
        """Take tokens of the running ones, oldest first. Returns the budget left and whether one was preempted."""
        running, grow, preempted, index = self._running, self.memory.grow, False, 0
        while index < len(running) and budget > 0:
            sequence = running[index]
            chunk = min(sequence.tokens - sequence.computed, budget)
            if sequence.hold is not None and grow(sequence.hold, sequence.computed + chunk):
                sequence.chunk = chunk
                budget -= chunk
                step.append(sequence)
                index += 1
            else:
                self._preempt(running.pop())
                preempted = True
        return budget, preempted

    def _preempt(self, sequence: _Sequence) -> None:
        self._free(sequence)
        sequence.computed = 0
        self._waiting.appendleft(sequence)
        self.counters.preemptions += 1

    def _admit(self, step: list[_Sequence], budget: int, at: float) -> None:
        """Take in waiting ones, oldest first; the first that does not fit ends it, so that none is overtaken."""
        waiting, running, memory = self._waiting, self._running, self.memory
        while waiting and budget > 0 and len(running) < self.spec.max_num_seqs:
            sequence = waiting[0]
            hold = Hold(sequence.told.hashes)
            # At least one token is computed: the next one is sampled from what it gives.
            found = memory.found(hold.hashes, sequence.tokens - 1)
            chunk = min(sequence.tokens - found, budget)
            if not memory.grow(hold, found + chunk):
                return
            waiting.popleft()
            running.append(sequence)
            step.append(sequence)
            sequence.hold, sequence.computed, sequence.chunk = hold, found, chunk
            budget -= chunk
            if sequence.admitted_at is None:
                self._count_admission(sequence, found, at)

    def _count_admission(self, sequence: _Sequence, found: int, at: float) -> None:
        sequence.admitted_at = at
        sequence.cached_tokens = found
        self.counters.prefix_queries += sequence.told.prompt_tokens
        self.counters.prefix_hits += found
        self.counters.queue_s.observe(at - sequence.arrived_at)

    def _end_step(self, at: float, orders: list[Order]) -> None:
        """What the step took is computed: tokens come out, sequences end, and the next step begins."""
        ended = False
        for sequence in self._step:
            if sequence.hold is None:
                continue  # aborted while the step ran
            sequence.computed += sequence.chunk
            if sequence.computed < sequence.tokens:
                continue  # more of its prompt is to come
            if sequence.generated < sequence.told.max_tokens:
                self._emit(sequence, at, orders)
            else:
                self.counters.prompt_tokens += sequence.told.prompt_tokens
            if sequence.generated >= sequence.told.max_tokens:
                self._finish(sequence, sequence.told.reason, at, orders)
                ended = True
        if ended:
            self._running = [sequence for sequence in self._running if sequence.hold is not None]
        self._begin_step(at)

    def _emit(self, sequence: _Sequence, at: float, orders: list[Order]) -> None:
        counters, told = self.counters, sequence.told
        first = sequence.generated == 0
        if first:
            sequence.first_at = at
            counters.prompt_tokens += told.prompt_tokens
            counters.ttft_s.observe(at - sequence.arrived_at)
        else:
            counters.inter_token_s.observe(at - sequence.last_at)
        sequence.last_at = at
        sequence.generated += 1
        counters.generation_tokens += 1
        orders.append(Emit(told.id, 1, first))

    def _finish(self, sequence: _Sequence, reason: Reason, at: float, orders: list[Order]) -> None:
        told = sequence.told
        del self._sequences[told.id]
        self._free(sequence)
        self.counters.finished[reason] += 1
        if reason != "abort":
            self._count_end(sequence, at)
        orders.append(Finish(told.id, told.prompt_tokens, sequence.generated, sequence.cached_tokens, reason))

    def _free(self, sequence: _Sequence) -> None:
        if sequence.hold is not None:
            self.memory.release(sequence.hold)
            sequence.hold = None

    def _count_end(self, sequence: _Sequence, at: float) -> None:
        counters, told = self.counters, sequence.told
        admitted_at = sequence.admitted_at or 0.0
        first_at = sequence.first_at if sequence.generated else at
        counters.e2e_s.observe(at - sequence.arrived_at)
        counters.inference_s.observe(at - admitted_at)
        counters.prefill_s.observe(first_at - admitted_at)
        counters.decode_s.observe(at - first_at)
        counters.request_prompt_tokens.observe(told.prompt_tokens)
        counters.request_generation_tokens.observe(sequence.generated)
        if sequence.generated > 1:
            counters.time_per_output_token_s.observe((at - first_at) / (sequence.generated - 1))
