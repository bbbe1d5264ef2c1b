"""What of a request is its question, and what is the frame around it: questions in other words are compared only where
all the rest of their requests is equal.

The question is the last message, if it is the user's and text alone. Requests with tools, images or anything else that
is no text have none: what their answer depends on cannot be seen in words. Nor have long ones.
"""

from hashlib import blake2b
from typing import Any, Final

from penstock.core.cache.marks import Marks, marks_of
from penstock.gateway.cache.content import IGNORED, MOST_READ_BYTES, Twice, decode, encode

PATHS: Final = frozenset({"/v1/chat/completions", "/chat/completions", "/v1/messages"})
_TOOLS: Final = ("tools", "functions", "mcp_servers", "audio", "modalities", "web_search_options", "documents")
"""Fields of requests whose answers depend on more than words."""
_TEXTS: Final = frozenset({"system", "developer", "user", "assistant"})
"""Roles of messages that may be text alone."""


class Question:
    """One request's."""

    __slots__ = ("_marks", "frame", "text", "vector")

    def __init__(self, text: str, frame: str) -> None:
        self.text = text
        self.frame = frame
        """A digest of all around it."""
        self.vector: Any = None
        """Once it was made."""
        self._marks: Marks | None = None

    @property
    def marks(self) -> Marks:
        """What of it embeddings hardly see."""
        if self._marks is None:
            self._marks = marks_of(self.text)
        return self._marks


def question_of(path: str, body: bytes, longest_bytes: int) -> Question | None:
    """A request's question; None: it has none that could be put in other words."""
    if path not in PATHS or len(body) > MOST_READ_BYTES:
        return None
    try:
        fields = decode(body.decode())
        return _asked(fields, longest_bytes)
    except (ValueError, RecursionError, Twice):
        return None


def _asked(fields: Any, longest_bytes: int) -> Question | None:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages or any(fields.get(name) for name in _TOOLS):
        return None
    if not all(map(_is_text, messages)) or messages[-1]["role"] != "user":
        return None
    last = messages[-1]
    text, last["content"] = _taken(last["content"])
    if not text.strip() or len(text.encode()) > longest_bytes:
        return None
    for name in IGNORED:
        fields.pop(name, None)
    return Question(text, blake2b(encode(fields).encode(), digest_size=16).hexdigest())


def _is_text(message: Any) -> bool:
    if not isinstance(message, dict) or message.get("role") not in _TEXTS:
        return False
    if message.get("tool_calls") or message.get("function_call"):
        return False
    content = message.get("content")
    return isinstance(content, str) or (isinstance(content, list) and all(map(_is_text_part, content)))


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _taken(content: Any) -> tuple[str, Any]:
    """The question out of a message's content, and what is left of it. Of several parts none is the question."""
    if isinstance(content, str):
        return content, None
    if len(content) != 1:
        return "", content
    return content[0]["text"], [{**content[0], "text": None}]
