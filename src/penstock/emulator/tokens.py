"""The small paths: /tokenize, /detokenize, /generate and /v1/models."""

import msgspec
from msgspec import Struct
from starlette.responses import Response

from penstock.emulator.plan import Plan
from penstock.emulator.spec import EmulatorSpec
from penstock.emulator.text import chat_tokens, digest_of, token_id, token_of, tokenize
from penstock.emulator.wire import Message, Sampling, Wrong, encoded, text_of
from penstock.engine.words import Finish


class TokenizeBody(Struct, kw_only=True):
    """/tokenize: a prompt or a conversation."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    return_token_strs: bool | None = False


class DetokenizeBody(Struct, kw_only=True):
    """/detokenize."""

    tokens: list[int]
    model: str | None = None


class GenerateBody(Sampling, kw_only=True):
    """/generate."""

    prompt: str


def tokenized(body: TokenizeBody, max_model_len: int) -> Response:
    """Token numbers. Raises Wrong when there is neither a prompt nor a conversation."""
    if body.prompt is None and body.messages is None:
        detail = "{'type': 'missing', 'loc': 'body.prompt', 'msg': 'Field required'}"
        raise Wrong(f"1 validation error:\n  {detail}", "body.prompt", kind="Bad Request")
    turns = [(message.role, text_of(message.content)) for message in body.messages or ()]
    tokens = tokenize(body.prompt) if body.prompt is not None else chat_tokens(turns)
    return encoded(
        {
            "count": len(tokens),
            "max_model_len": max_model_len,
            "tokens": [token_id(token) for token in tokens],
            "token_strs": tokens if body.return_token_strs else None,
        }
    )


def detokenized(body: DetokenizeBody) -> Response:
    """The text of token numbers."""
    return encoded({"prompt": "".join([token_of(number) for number in body.tokens])})


class GenerateFrames:
    """An answer with its prompt before it: whole, or one JSON line a token with all the text so far."""

    def __init__(self, prompt: str, plan: Plan) -> None:
        self._prompt, self._plan = prompt, plan

    def whole(self, finishes: list[Finish]) -> bytes:
        """One text a choice."""
        texts = [self._prompt + "".join(said.pieces) for said in self._plan.answers]
        return msgspec.json.encode({"text": texts})

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def tokens(self, index: int, start: int, stop: int, finish: Finish | None) -> bytes:
        """The text so far, after each token."""
        pieces = self._plan.answers[index].pieces
        lines = [msgspec.json.encode({"text": [self._prompt + "".join(pieces[: at + 1])]}) for at in range(start, stop)]
        return b"".join([line + b"\n" for line in lines])

    def tail(self, finishes: list[Finish]) -> bytes:
        """Nothing."""
        return b""


def model_list(spec: EmulatorSpec, created: int) -> Response:
    """The one model that is served."""
    permission = {
        "id": "modelperm-" + digest_of([spec.model], size=8).hex(), "object": "model_permission", "created": created,
        "allow_create_engine": False, "allow_sampling": True, "allow_logprobs": True, "allow_search_indices": False,
        "allow_view": True, "allow_fine_tuning": False, "organization": "*", "group": None, "is_blocking": False,
    }  # fmt: skip
    model = {
        "id": spec.model, "object": "model", "created": created, "owned_by": "vllm", "root": spec.model,
        "parent": None, "max_model_len": spec.max_model_len, "permission": [permission],
    }  # fmt: skip
    return encoded({"object": "list", "data": [model]})
