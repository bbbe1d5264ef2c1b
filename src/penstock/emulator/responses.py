"""/v1/responses: the basic text answer, whole and streamed, as a vLLM 0.32 shapes it. Nothing is stored."""

from typing import Any

import msgspec
from msgspec import Struct

from penstock.emulator.openai import Reply
from penstock.emulator.plan import Plan
from penstock.emulator.wire import Content, Sampling, event, text_of
from penstock.engine.words import Finish


class Item(Struct):
    """One item of an input list."""

    role: str = "user"
    content: Content = None


class ResponsesBody(Sampling, kw_only=True):
    """/v1/responses."""

    input: str | list[Item]
    instructions: str | None = None
    max_output_tokens: int | None = None


def conversation(body: ResponsesBody) -> list[tuple[str, str]]:
    """The input as (role, text)."""
    turns = [("system", body.instructions)] if body.instructions else []
    if isinstance(body.input, str):
        return [*turns, ("user", body.input)]
    return turns + [(item.role, text_of(item.content)) for item in body.input]


class ResponsesFrames:
    """A response as named events, and as one object."""

    def __init__(self, reply: Reply, plan: Plan, body: ResponsesBody) -> None:
        self._reply, self._plan, self._body = reply, plan, body
        self._said = plan.answers[0]
        self._text = "".join(self._said.pieces)
        self._item_id = "msg_" + reply.id.removeprefix("resp_")
        self._number = 0

    def whole(self, finishes: list[Finish]) -> bytes:
        """The response object."""
        return msgspec.json.encode(self._response(finishes))

    def head(self) -> bytes:
        """What announces the answer, before its first token."""
        response = self._response(None)
        item = {**self._item(), "content": [], "status": "in_progress"}
        part = {"annotations": [], "text": "", "type": "output_text", "logprobs": []}
        return (
            self._event("response.created", response=response)
            + self._event("response.in_progress", response=response)
            + self._event("response.output_item.added", item=item, output_index=0)
            + self._event("response.content_part.added", part=part, **self._place())
        )

    def tokens(self, index: int, start: int, stop: int, finish: Finish | None) -> bytes:
        """One delta a token."""
        pieces = [piece for piece in self._said.pieces[start:stop] if piece]
        name = "response.output_text.delta"
        return b"".join([self._event(name, delta=piece, logprobs=[], **self._place()) for piece in pieces])

    def tail(self, finishes: list[Finish]) -> bytes:
        """What closes the answer."""
        done = self._event("response.output_text.done", text=self._text, logprobs=[], **self._place())
        part = self._event("response.content_part.done", part=self._item()["content"][0], **self._place())
        item = self._event("response.output_item.done", item=self._item(), output_index=0)
        return done + part + item + self._event("response.completed", response=self._response(finishes))

    def _place(self) -> dict[str, Any]:
        return {"content_index": 0, "item_id": self._item_id, "output_index": 0}

    def _event(self, name: str, **fields: Any) -> bytes:
        number = self._number
        self._number += 1
        return event({**fields, "sequence_number": number, "type": name}, name)

    def _item(self) -> dict[str, Any]:
        content: list[dict[str, Any]] = [
            {"annotations": [], "text": self._text, "type": "output_text", "logprobs": None}
        ]
        return {
            "id": self._item_id, "content": content, "role": "assistant", "status": "completed", "type": "message",
            "phase": None,
        }  # fmt: skip

    def _response(self, finishes: list[Finish] | None) -> dict[str, Any]:
        cut = finishes is not None and self._said.reason == "length"
        status = "in_progress" if finishes is None else "incomplete" if cut else "completed"
        return {
            "id": self._reply.id, "created_at": self._reply.created,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": self._body.instructions, "metadata": None, "model": self._reply.model,
            "object": "response", "output": [] if finishes is None else [self._item()],
            "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "none", "tools": [], "top_p": 1.0,
            "background": False, "max_output_tokens": self._body.max_output_tokens, "max_tool_calls": None,
            "previous_response_id": None, "prompt": None, "reasoning": None, "service_tier": "auto",
            "status": status, "text": None, "top_logprobs": None, "truncation": "disabled",
            "usage": None if finishes is None else self._usage(finishes), "user": None, "presence_penalty": 0.0,
            "frequency_penalty": 0.0, "kv_transfer_params": None, "ec_transfer_params": None,
            "input_messages": None, "output_messages": None,
        }  # fmt: skip

    def _usage(self, finishes: list[Finish]) -> dict[str, Any]:
        spent = self._plan.usage(finishes)
        read = {"cached_tokens": spent.cached, "cache_write_tokens": 0}
        written = {"reasoning_tokens": 0, "tool_output_tokens": 0}
        return {
            "input_tokens": spent.prompt,
            "input_tokens_details": {**read, "input_tokens_per_turn": [], "cached_tokens_per_turn": []},
            "output_tokens": spent.completion,
            "output_tokens_details": {**written, "output_tokens_per_turn": [], "tool_output_tokens_per_turn": []},
            "total_tokens": spent.prompt + spent.completion,
        }
