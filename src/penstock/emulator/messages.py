"""/v1/messages: Anthropic's shape, whole and streamed, as a vLLM 0.32 sends it."""

from typing import Any

import msgspec
from starlette.responses import Response

from penstock.emulator.openai import Reply
from penstock.emulator.plan import Plan
from penstock.emulator.wire import Content, Message, Sampling, Wrong, encoded, event, text_of
from penstock.engine.words import Finish

_REASONS = {"length": "max_tokens", "stop": "end_turn"}


class CountBody(msgspec.Struct, kw_only=True):
    """/v1/messages/count_tokens."""

    messages: list[Message]
    model: str | None = None
    system: Content = None


class MessagesBody(Sampling, kw_only=True):
    """/v1/messages."""

    messages: list[Message]
    max_tokens: int
    system: Content = None
    stop_sequences: list[str] | None = None


def conversation(body: MessagesBody | CountBody) -> list[tuple[str, str]]:
    """The messages as (role, text), the system prompt first."""
    system = text_of(body.system)
    turns = [("system", system)] if system else []
    return turns + [(message.role, text_of(message.content)) for message in body.messages]


def refused(wrong: Wrong) -> Response:
    """An error in Anthropic's shape. What does not even parse is answered in OpenAI's, as a vLLM does."""
    return encoded({"type": "error", "error": {"type": wrong.kind, "message": wrong.message}}, wrong.status)


class MessagesFrames:
    """A message as named events, and as one object."""

    def __init__(self, reply: Reply, plan: Plan) -> None:
        self._reply, self._plan = reply, plan
        self._said = plan.answers[0]

    def whole(self, finishes: list[Finish]) -> bytes:
        """The message object."""
        content = [{"type": "text", "text": "".join(self._said.pieces)}]
        ends: dict[str, Any] = {"stop_reason": self._reason()}
        if self._said.stop is not None:
            ends["stop_sequence"] = self._said.stop
        return msgspec.json.encode({**self._message(), "content": content, **ends, "usage": self._usage(finishes)})

    def head(self) -> bytes:
        """The message begins, and its one block of text."""
        usage = {"input_tokens": self._plan.jobs[0].prompt_tokens, "output_tokens": 0}
        start = {**self._message(), "stop_reason": None, "stop_sequence": None, "usage": usage}
        block = {"type": "text", "text": ""}
        return self._event("message_start", message=start) + self._event(
            "content_block_start", content_block=block, index=0
        )

    def tokens(self, index: int, start: int, stop: int, finish: Finish | None) -> bytes:
        """One delta a token."""
        pieces = [piece for piece in self._said.pieces[start:stop] if piece]
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        return b"".join([self._event("content_block_delta", delta=delta, index=0) for delta in deltas])

    def tail(self, finishes: list[Finish]) -> bytes:
        """The block and the message end."""
        delta = {"stop_reason": self._reason(), "stop_sequence": self._said.stop}
        return (
            self._event("content_block_stop", index=0)
            + self._event("message_delta", delta=delta, usage=self._usage(finishes))
            + self._event("message_stop")
        )

    def _event(self, name: str, **fields: Any) -> bytes:
        return event({"type": name, **fields}, name)

    def _message(self) -> dict[str, Any]:
        reply = self._reply
        return {"id": reply.id, "type": "message", "role": "assistant", "content": [], "model": reply.model}

    def _reason(self) -> str:
        return "stop_sequence" if self._said.stop is not None else _REASONS[self._said.reason]

    def _usage(self, finishes: list[Finish]) -> dict[str, int]:
        spent = self._plan.usage(finishes)
        cached = {"cache_read_input_tokens": spent.cached} if spent.cached else {}
        return {"input_tokens": spent.prompt, "output_tokens": spent.completion, **cached}
