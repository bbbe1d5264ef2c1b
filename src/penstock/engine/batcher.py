"""The Batcher: a pure machine that *is* an engine replica like a vLLM. Time and memory are modelled, text is not.

Continuous batching, first come first served. A step takes tokens of running sequences first (one of each that
generates, a chunk of the one whose prompt is still being read), then admits waiting ones, until its token budget, the
seats or the KV blocks run out. When a running sequence finds no block, the youngest running one is preempted: its
blocks are freed and it is computed again later, from its prompt and what it had generated. This is the scheduling of
vLLM's V1 engine; left out are its priorities, speculative decoding, LoRA and multimodal budgets.

It does not step a token at a time. Between two changes of the batch all steps are alike and get longer by the same bit
of time, so they are one `Run` in closed form; a fact in the middle of it ends it after the step under way. With
`each_token` it asks to be woken after every step and tells every token, as somebody who streams them needs it; without,
it tells the first token of a sequence and the rest with its end, and the very same times come out.

The schedule knows no late clock: every fact first brings the engine up to `now`, and a step begins exactly where the
one before it ended. So a pump that is late changes when tokens are seen, not how many there are.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Annotated, Any

from msgspec import Meta, Struct

from penstock.engine.counters import Counters
from penstock.engine.memory import Hold, Memory
from penstock.engine.perf import PRESETS, StepCost
from penstock.engine.profile import Profile
from penstock.engine.roofline import Roofline
from penstock.engine.run import Run
from penstock.engine.sequence import Group, Sequence
from penstock.engine.words import Abort, Emit, Event, Finish, Order, Reason, Reject, Slowed, Submit, WhyNot, Woke

Count = Annotated[int, Meta(ge=1)]


class EngineSpec(Struct, frozen=True, kw_only=True, tag="batcher", tag_field="kind", forbid_unknown_fields=True):
    """One engine replica: its speed, its seats and its memory. Names and defaults follow vLLM's arguments."""

    cost: StepCost | Roofline | Profile = PRESETS["demo"]
    speed: Annotated[float, Meta(gt=0, description="2: steps take half of the cost model's time")] = 1.0
    max_num_seqs: Annotated[
        Count, Meta(description="sequences that run at once (never more than `max_num_batched_tokens`)")
    ] = 256
    max_num_batched_tokens: Annotated[Count, Meta(description="tokens that one step takes")] = 2048
    kv_blocks: Annotated[Count, Meta(description="blocks of the KV cache")] = 8192
    block_size: Annotated[Count, Meta(description="tokens of a block")] = 16
    max_model_len: Annotated[Count, Meta(description="longest prompt and answer together, in tokens")] = 32_768
    max_waiting: Annotated[Count, Meta(description="sequences that may wait; more are rejected")] = 100_000
    reserve_full_prompt: Annotated[
        bool, Meta(description="admit a sequence when its whole prompt fits, not its first chunk alone (as vLLM does)")
    ] = True


class Batcher:
    """One engine replica. Facts and orders are in `engine.words`.

    `each_token`: wake after every step and tell every token. Otherwise the tokens after the first are told when their
    sequence ends, and the engine is woken only when its batch changes. `histograms`: keep them; a fifth of the work.
    """

    def __init__(self, spec: EngineSpec, each_token: bool = True, histograms: bool = True) -> None:
        self.spec = spec
        self.memory = Memory(spec.kv_blocks, spec.block_size)
        self.counters = Counters(histograms)
        self._each_token = each_token
        self._histograms = histograms
        self._seats = min(spec.max_num_seqs, spec.max_num_batched_tokens)
        self._pace = 1.0 / spec.speed
        self._sequences: dict[str, Sequence] = {}
        self._waiting: deque[Sequence] = deque()
        self._group = Group(spec.block_size)
        self._reading: list[Sequence] = []
        """Whose prompt the step under way reads on, oldest first; they are younger than the group."""
        self._run = Run()
        self.running = 0
        """Sequences that have a seat."""
        self._handlers: dict[type, Callable[[Any, float, list[Order]], None]] = {
            Submit: self._submit,
            Abort: self._abort,
            Slowed: self._slowed,
        }

    # ===== the machine =====

    def on(self, event: Event, now: float) -> list[Order]:
        """Take one fact. Raises ValueError when a Submit repeats the id of a sequence that has not ended."""
        orders: list[Order] = []
        run = self._run
        while run.ends_at <= now:
            self._end_run(run.ends_at, orders)
        if run.steps > run.done + 1 and run.begins_at < now and (done := run.done_by(now)) > run.done:
            self._pass(done, orders)
        if type(event) is not Woke:  # being told the time is all of that
            self._handlers[type(event)](event, now, orders)
        if run.ends_at == inf:
            self._begin_run(now)
        return orders

    def next_wake(self) -> float | None:
        """The end of the step under way, or without `each_token` of the last one before the batch changes.

        None while the engine has nothing to do.
        """
        run = self._run
        if run.steps == 0:
            return None
        return run.end_of(run.done + 1) if self._each_token else run.ends_at

    # ===== its state, for readers =====

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
        sequence = Sequence(event, now)
        self._sequences[event.id] = sequence
        # Behind somebody who waits, or without a seat, it changes nothing: whoever is first goes first.
        if not self._waiting and self.running < self._seats:
            self._run.cut()
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
        self._run.cut()
        if sequence.hold is None:
            self._waiting.remove(sequence)
        self._finish(sequence, "abort", now, orders, 1 if sequence.generates else sequence.chunk)

    def _slowed(self, event: Slowed, now: float, orders: list[Order]) -> None:
        self._run.cut()
        self._pace = event.factor / self.spec.speed

    # ===== the next run =====

    def _begin_run(self, at: float) -> None:
        """Choose what the next step takes, and how long all steps are like it. With nothing to do there is none."""
        group, reading = self._group, self._reading
        blocks = group.blocks(0, 1)
        preempted = blocks > 0 and self._make_room(blocks, at)
        partial = reading[0] if reading else None
        reading.clear()
        budget = self.spec.max_num_batched_tokens - len(group.members)
        if partial is not None:
            if self._read_on(partial, budget):
                budget -= partial.chunk
            else:
                self._preempt(partial, at)
                preempted = True
        if self._waiting and not preempted:
            self._admit(budget, at)
        if reading or group.members:
            self._start(preempted, at)
        elif preempted:
            self._begin_run(at)  # only the one that was preempted is left, and now it has all the memory
        else:
            self._run.rest()

    def _start(self, preempted: bool, at: float) -> None:
        group = self._group
        decodes = len(group.members)
        prefill, context, pairs = 0, group.context, 0
        for sequence in self._reading:
            chunk, computed = sequence.chunk, sequence.computed
            prefill += chunk
            context += computed
            pairs += chunk * (computed + computed + chunk + 1) // 2
        cost = self.spec.cost
        first_s, growth_s, steps = cost.step_s(prefill, decodes, context, pairs) * self._pace, 0.0, 1
        if not prefill and not preempted:  # after a step that preempted, those that wait are looked at again
            growth_s = cost.growth_s(decodes) * self._pace
            steps = self._steps_alike()
        if self._histograms:
            self.counters.count_steps(prefill + decodes, 1)
        else:
            self.counters.steps += 1
        self._run.begin(first_s, growth_s, steps, at)

    def _steps_alike(self) -> int:
        """Until one has all its tokens, or memory runs out.

        Who waits for memory now finds no more in any of these steps: the group only takes blocks, and evicting one of
        the waiting prompt's own known blocks (its last one first) makes it need one more.
        """
        group = self._group
        steps = group.steps_to_end()
        if steps == 1:
            return 1
        return 1 + group.steps_within(self.memory.available, 1, steps - 1)

    def _make_room(self, blocks: int, at: float) -> bool:
        """Take the blocks of the group's next step. Returns whether one was preempted for it."""
        group, memory = self._group, self.memory
        if blocks <= memory.available:
            memory.take(blocks)
            return False
        for sequence in list(group.members):
            if not sequence.generates:
                break  # it was preempted for one before it, and so were all after it
            if not group.crosses(sequence):
                continue
            while sequence.hold is not None and not memory.available:
                self._preempt(self._reading.pop() if self._reading else next(reversed(group.members)), at)
            if sequence.hold is not None:
                memory.take(1)
        return True

    def _read_on(self, sequence: Sequence, budget: int) -> bool:
        """Take the next chunk of a prompt. False: there is no memory for it."""
        chunk = min(sequence.tokens - sequence.computed, budget)
        if sequence.hold is None or not self.memory.grow(sequence.hold, sequence.computed + chunk):
            return False
        sequence.chunk = chunk
        self._reading.append(sequence)
        return True

    def _preempt(self, sequence: Sequence, at: float) -> None:
        sequence.last_at = at if sequence.generates else sequence.last_at
        self._free(sequence, 0)
        sequence.computed = 0
        self._waiting.appendleft(sequence)
        self.counters.preemptions += 1

    def _admit(self, budget: int, at: float) -> None:
        """Take in waiting ones, oldest first; the first that does not fit ends it, so that none is overtaken."""
        waiting, memory, whole = self._waiting, self.memory, self.spec.reserve_full_prompt
        while waiting and budget > 0 and self.running < self._seats:
            sequence = waiting[0]
            hold = Hold(sequence.told.hashes, sequence.told.own)
            # At least one token is computed: the next one is sampled from what it gives.
            tokens = sequence.tokens
            found = memory.found(hold.hashes, tokens - 1, hold.own)
            chunk = min(tokens - found, budget)
            fits = not whole or chunk == tokens - found or memory.fits(hold, tokens, found)
            if not fits or not memory.grow(hold, found + chunk):
                return
            waiting.popleft()
            self._reading.append(sequence)
            self.running += 1
            sequence.hold, sequence.computed, sequence.chunk = hold, found, chunk
            budget -= chunk
            if sequence.admitted_at is None:
                self._count_admission(sequence, found, at)

    def _count_admission(self, sequence: Sequence, found: int, at: float) -> None:
        sequence.admitted_at = at
        sequence.cached_tokens = found
        self.counters.prefix_queries += sequence.told.prompt_tokens
        self.counters.prefix_hits += found
        if self._histograms:
            self.counters.queue_s.observe(at - sequence.arrived_at)

    # ===== steps that are over =====

    def _pass(self, done: int, orders: list[Order]) -> None:
        """Steps up to this number are over; the one after them, if the run has one, is under way."""
        run, group, counters = self._run, self._group, self.counters
        steps, members = done - run.done, len(group.members)
        if members:
            if self._each_token:
                orders += [Emit(sequence.told.id, 1, False) for sequence in group.members] * steps
                for sequence in group.members:
                    sequence.emitted += steps
            counters.generation_tokens += members * steps
            self._count_gaps(steps, members)
        more = min(done + 1, run.steps) - min(run.done + 1, run.steps)
        if more:
            self.memory.take(group.blocks(1, more))
            counters.count_steps(members, more)
        group.advance(steps)
        run.done = done

    def _end_run(self, at: float, orders: list[Order]) -> None:
        """The run is over: sequences end, prompts are read, first tokens come out, and the next run begins."""
        run = self._run
        if not self._each_token:
            self._leap(run.steps - run.done, at, orders)
        else:
            self._last_step(at, orders)
        reading, partial = self._reading, None
        for sequence in reading:
            if sequence.hold is None:
                continue  # aborted while the step ran
            sequence.computed += sequence.chunk
            if sequence.computed < sequence.tokens:
                partial = sequence  # the youngest: with it the budget ran out
            else:
                self._read(sequence, at, orders)
        reading.clear()
        if partial is not None:
            reading.append(partial)
        self._begin_run(at)

    def _leap(self, steps: int, at: float, orders: list[Order]) -> None:
        """All steps that a run still had, where nobody wants to hear of each."""
        group, counters = self._group, self.counters
        members = len(group.members)
        if steps > 1:
            self.memory.take(group.blocks(1, steps - 1))
            counters.count_steps(members, steps - 1)
        counters.generation_tokens += steps * members
        if self._histograms:
            self._count_gaps(steps, members)
        group.advance(steps)
        for sequence in group.ended():
            self._finish(sequence, sequence.told.reason, at, orders, 0)

    def _last_step(self, at: float, orders: list[Order]) -> None:
        """What a run still had, of which members of the group end after the last step alone."""
        run, group, members = self._run, self._group, len(self._group.members)
        if run.steps > run.done + 1:
            self._pass(run.steps - 1, orders)
        self.counters.generation_tokens += members
        self._count_gaps(1, members)
        group.advance(1)
        over = group.ended()
        for sequence in list(group.members) if over else group.members:
            sequence.emitted += 1
            orders.append(Emit(sequence.told.id, 1, False))
            if sequence.end_tick == group.ticks:
                self._finish(sequence, sequence.told.reason, at, orders, 0)

    def _count_gaps(self, steps: int, members: int) -> None:
        """Times between tokens of the group in the next steps of the run."""
        run = self._run
        if self._histograms and members:
            first_s = run.first_s + run.growth_s * run.done
            self.counters.inter_token_s.observe_line(first_s, run.growth_s, steps, times=members)

    def _read(self, sequence: Sequence, at: float, orders: list[Order]) -> None:
        """Its prompt is read to the end, which gives a token: the first, or the next after it was preempted."""
        counters, told = self.counters, sequence.told
        if sequence.generated < told.max_tokens:
            first = sequence.generated == 0
            if first:
                sequence.first_at = at
                counters.prompt_tokens += told.prompt_tokens
                if self._histograms:
                    counters.ttft_s.observe(at - sequence.arrived_at)
            elif self._histograms:
                counters.inter_token_s.observe(at - sequence.last_at)
            sequence.generated += 1
            counters.generation_tokens += 1
            if first or self._each_token:
                sequence.emitted += 1
                orders.append(Emit(told.id, 1, first))
        else:
            counters.prompt_tokens += told.prompt_tokens
        if sequence.generated >= told.max_tokens:
            self._finish(sequence, told.reason, at, orders, 0)
        else:
            self._group.join(sequence)

    def _finish(self, sequence: Sequence, reason: Reason, at: float, orders: list[Order], under_way: int) -> None:
        """It is over. `under_way`: the tokens of it that a step has taken and not finished."""
        told = sequence.told
        del self._sequences[told.id]
        self._free(sequence, under_way)
        self.counters.finished[reason] += 1
        if self._histograms and reason != "abort":
            sequence.count_end(self.counters, at)
        if sequence.generated > sequence.emitted:
            orders.append(Emit(told.id, sequence.generated - sequence.emitted, False))
        orders.append(Finish(told.id, told.prompt_tokens, sequence.generated, sequence.cached_tokens, reason))

    def _free(self, sequence: Sequence, under_way: int) -> None:
        hold = sequence.hold
        if hold is None:
            return
        if sequence.generates:
            self._group.leave(sequence)
            self.memory.settle(hold, sequence.computed + under_way)
            under_way = 0  # one token fills no block of a prompt
        self.memory.release(hold, sequence.computed + under_way)
        sequence.hold = None
        self.running -= 1
