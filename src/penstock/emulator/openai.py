"""/v1/chat/completions and /v1/completions: shapes and streams as a vLLM 0.32 sends them, field by field."""

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from penstock.emulator.plan import Plan, Spent
from penstock.emulator.text import Answer
from penstock.emulator.wire import Sampling, StreamOptions, event
from penstock.engine.words import Finish

DONE = b"data: [DONE]\n\n"


class Reply(msgspec.Struct, frozen=True):
    """What every object of one answer repeats."""

    id: str
    created: int
    model: str
    fingerprint: str


def usage(spent: Spent, *, whole: bool) -> dict[str, Any]:
    """The usage object. In streams vLLM leaves out what is null; details are there when something was cached."""
    counts: dict[str, Any] = {
        "prompt_tokens": spent.prompt,
        "total_tokens": spent.prompt + spent.completion,
        "completion_tokens": spent.completion,
    }
    details = {"cached_tokens": spent.cached} if spent.cached else None
    if whole or details:
        counts["prompt_tokens_details"] = details
    if whole:
        counts["completion_tokens_details"] = None
    return counts


def chat_whole(reply: Reply, plan: Plan, finishes: list[Finish]) -> bytes:
    """A chat.completion object."""
    choices = [
        {
            "index": index,
            "message": {
                "role": "assistant", "content": "".join(said.pieces), "refusal": None, "annotations": None,
                "audio": None, "function_call": None, "reasoning": None,
            },
            "logprobs": None, "finish_reason": said.reason, "stop_reason": said.stop, "token_ids": None,
            "routed_experts": None,
        }
        for index, said in enumerate(plan.answers)
    ]  # fmt: skip
    return msgspec.json.encode(
        {
            "id": reply.id, "object": "chat.completion", "created": reply.created, "model": reply.model,
            "choices": choices, "service_tier": None, "system_fingerprint": reply.fingerprint,
            "usage": usage(plan.usage(finishes), whole=True), "prompt_logprobs": None, "prompt_token_ids": None,
            "prompt_text": None, "kv_transfer_params": None, "ec_transfer_params": None, "metrics": None,
        }
    )  # fmt: skip


def completion_whole(reply: Reply, plan: Plan, echoes: list[str], finishes: list[Finish]) -> bytes:
    """A text_completion object; `echoes` is what stands before each answer (the prompt, where echo was asked)."""
    choices = [
        {
            "index": index, "text": echo + "".join(said.pieces), "logprobs": None, "finish_reason": said.reason,
            "stop_reason": said.stop, "token_ids": None, "prompt_logprobs": None, "prompt_token_ids": None,
            "routed_experts": None,
        }
        for index, (said, echo) in enumerate(zip(plan.answers, echoes))
    ]  # fmt: skip
    return msgspec.json.encode(
        {
            "id": reply.id, "object": "text_completion", "created": reply.created, "model": reply.model,
            "choices": choices, "service_tier": None, "system_fingerprint": reply.fingerprint,
            "usage": usage(plan.usage(finishes), whole=True), "kv_transfer_params": None,
            "ec_transfer_params": None, "metrics": None,
        }
    )  # fmt: skip


class _Frames(ABC):
    """A stream of chunks. What is equal in all of them is spelled once, so a token costs a concatenation."""

    def __init__(self, reply: Reply, plan: Plan, options: StreamOptions | None, kind: str) -> None:
        self._reply, self._plan, self._kind = reply, plan, kind
        self._usage = bool(options and options.include_usage)
        self._running_usage = bool(self._usage and options and options.continuous_usage_stats)
        self._base = {"id": reply.id, "object": kind, "created": reply.created, "model": reply.model}
        head = event({**self._base, "choices": []})
        self._before = head[: head.index(b'"choices":[') + len(b'"choices":[')]
        self._out = [0] * len(plan.jobs)

    def tokens(self, index: int, start: int, stop: int, finish: Finish | None) -> bytes:
        """One chunk a token; the last one has the reason, as in vLLM."""
        said = self._plan.answers[index]
        parts, last = [], len(said.pieces) - 1
        for at in range(start, stop):
            self._out[index] = at + 1
            if at == last:
                parts.append(self._chunk(index, said.pieces[at], said))
            elif said.pieces[at]:
                parts.append(self._chunk(index, said.pieces[at], None))
        return b"".join(parts)

    def tail(self, finishes: list[Finish]) -> bytes:
        """The usage, where it was asked for, and the end."""
        if not self._usage:
            return DONE
        last = {"usage": usage(self._plan.usage(finishes), whole=False), "system_fingerprint": self._reply.fingerprint}
        return event({**self._base, "choices": [], **last}) + DONE

    def _chunk(self, index: int, piece: str, said: Answer | None) -> bytes:
        choice = self._choice(index, piece, said)
        if said is None and not self._running_usage:
            return self._before + choice + b"]}\n\n"
        rest: dict[str, Any] = {}
        if self._running_usage:
            rest["usage"] = self._usage_so_far(index)
        if said is not None and not self._usage:
            rest["system_fingerprint"] = self._reply.fingerprint
        tail = b"," + msgspec.json.encode(rest)[1:] if rest else b"}"
        return self._before + choice + b"]" + tail + b"\n\n"

    def _usage_so_far(self, index: int) -> dict[str, Any]:
        spent = Spent(self._plan.jobs[index].prompt_tokens, self._out[index], 0)
        return {**usage(spent, whole=False), "completion_tokens_details": None}

    @abstractmethod
    def _choice(self, index: int, piece: str, said: Answer | None) -> bytes:
        """One element of `choices`; `said` with the last piece."""


class ChatFrames(_Frames):
    """A stream of chat.completion.chunk objects."""

    def __init__(self, reply: Reply, plan: Plan, body: Sampling) -> None:
        super().__init__(reply, plan, body.stream_options, "chat.completion.chunk")

    def head(self) -> bytes:
        """One chunk a choice with the role and no text."""
        parts = []
        for index in range(len(self._plan.jobs)):
            delta = {"role": "assistant", "content": ""}
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            rest: dict[str, Any] = {"usage": self._usage_so_far(index)} if self._running_usage else {}
            rest |= {"prompt_token_ids": None, "prompt_text": None}
            parts.append(event({**self._base, "choices": [choice], **rest}))
        return b"".join(parts)

    def _choice(self, index: int, piece: str, said: Answer | None) -> bytes:
        # Pieces are words and digits: nothing in them needs an escape.
        front = b'{"index":%d,"delta":{"content":"%b"},"logprobs":null,"finish_reason":' % (index, piece.encode())
        if said is None:
            return front + b'null,"token_ids":null}'
        ends = msgspec.json.encode(said.reason), msgspec.json.encode(said.stop)
        return front + b'%b,"stop_reason":%b,"token_ids":null}' % ends


class CompletionFrames(_Frames):
    """A stream of text_completion objects."""

    def __init__(self, reply: Reply, plan: Plan, echoes: list[str], body: Sampling) -> None:
        super().__init__(reply, plan, body.stream_options, "text_completion")
        self._echoes = echoes

    def head(self) -> bytes:
        """The prompts, where echo was asked; else nothing."""
        parts = [self._chunk(index, echo, None) for index, echo in enumerate(self._echoes) if echo]
        return b"".join(parts)

    def _choice(self, index: int, piece: str, said: Answer | None) -> bytes:
        front = b'{"index":%d,"text":%b,"logprobs":null,"finish_reason":' % (index, msgspec.json.encode(piece))
        ends = msgspec.json.encode(said and said.reason), msgspec.json.encode(said and said.stop)
        return front + b'%b,"stop_reason":%b,"prompt_token_ids":null,"token_ids":null}' % ends
