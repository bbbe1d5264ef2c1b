"""The paths of an emulated vLLM, wired into one Starlette app."""

import time
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from penstock.emulator import messages, metrics, openai, pooling, responses, tokens, wire
from penstock.emulator.faults import Fault, Faults
from penstock.emulator.plan import Plan, plan
from penstock.emulator.replica import Job, Replica
from penstock.emulator.replies import Frames, Streamed, Whole
from penstock.emulator.sabotage import Sabotage
from penstock.emulator.spec import EmulatorSpec
from penstock.emulator.text import block_hashes, chat_tokens, digest_of, tokenize
from penstock.emulator.wire import Wrong, encoded
from penstock.engine.words import Finish, Slowed

__all__ = ["EmulatorSpec", "build"]

COMPLETION_TOKENS = 16
"""Default max_tokens of /v1/completions, OpenAI's and vLLM's."""


def build(spec: EmulatorSpec) -> Starlette:
    """An emulated replica. `app.state` has its `replica` and `faults`, for tests in the same process."""
    return Emulator(spec).app


class Emulator:
    """One replica's endpoints."""

    def __init__(self, spec: EmulatorSpec) -> None:
        self.spec = spec
        self.replica = Replica(spec.engine())
        self.faults = Faults(spec.faults, spec.seed)
        self.replica.batcher.on(Slowed(self.faults.slow_factor), 0.0)
        self._started = int(time.time())
        self._fingerprint = f"vllm-{spec.version}-{digest_of([spec.model], size=4).hex()}"
        self.app = Starlette(
            routes=self._routes(),
            middleware=[Middleware(Sabotage, faults=self.faults)],
            exception_handlers={404: _detail, 405: _detail, Wrong: _wrong},
        )
        self.app.state.replica = self.replica
        self.app.state.faults = self.faults

    def _routes(self) -> list[Route]:
        posts: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "/v1/chat/completions": self.chat,
            "/v1/completions": self.completions,
            "/v1/responses": self.responses,
            "/v1/messages": self.messages,
            "/v1/messages/count_tokens": self.count_tokens,
            "/v1/embeddings": self.embeddings,
            "/v1/rerank": self.rerank,
            "/rerank": self.rerank,
            "/v1/score": self.score,
            "/score": self.score,
            "/tokenize": self.tokenize,
            "/detokenize": self.detokenize,
            "/generate": self.generate,
            "/emulator/faults": self.set_faults,
        }
        gets: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "/v1/models": self.models,
            "/health": self.health,
            "/ping": self.health,
            "/load": self.load,
            "/version": self.version,
            "/metrics": self.metrics,
            "/emulator/faults": self.show_faults,
            "/emulator/seen": self.seen,
        }
        return [
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
            *(Route(path, endpoint, methods=["GET"]) for path, endpoint in gets.items()),
            Route("/ping", self.health, methods=["POST"]),
        ]

    # ===== text =====

    async def chat(self, request: Request) -> ASGIApp:
        """/v1/chat/completions."""
        body = await self._read(request, wire.ChatBody)
        asked = body.max_completion_tokens if body.max_tokens is None else body.max_tokens
        wire.check_sampling(body, asked, self.spec.max_model_len)
        if not body.messages:
            raise Wrong("Cannot apply chat template to an empty conversation. Provide at least one message.")
        turns = [(message.role, wire.text_of(message.content)) for message in body.messages]
        if body.tools:
            turns.insert(0, ("system", msgspec.json.encode(body.tools).decode()))
        planned = plan(self.spec, [chat_tokens(turns)], body, asked)
        reply = self._reply(request, "chatcmpl-")
        frames = openai.ChatFrames(reply, planned, body)
        return self._text(reply, planned, body, frames, lambda ends: openai.chat_whole(reply, planned, ends))

    async def completions(self, request: Request) -> ASGIApp:
        """/v1/completions."""
        body = await self._read(request, wire.CompletionBody)
        wire.check_sampling(body, body.max_tokens, self.spec.max_model_len)
        prompts = _bounded(pooling.prompts_of(body.prompt))
        if not prompts or not all(prompts):
            text = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"
            raise Wrong(text, "prompt")
        planned = plan(self.spec, prompts, body, body.max_tokens, None if body.ignore_eos else COMPLETION_TOKENS)
        echoes = ["".join(prompts[at // planned.choices]) if body.echo else "" for at in range(len(planned.jobs))]
        reply = self._reply(request, "cmpl-")
        frames = openai.CompletionFrames(reply, planned, echoes, body)
        return self._text(
            reply, planned, body, frames, lambda ends: openai.completion_whole(reply, planned, echoes, ends)
        )

    async def responses(self, request: Request) -> ASGIApp:
        """/v1/responses."""
        body = await self._read(request, responses.ResponsesBody)
        wire.check_sampling(body, body.max_output_tokens, self.spec.max_model_len)
        prompt = chat_tokens(responses.conversation(body))
        planned = plan(self.spec, [prompt], _single(body), body.max_output_tokens)
        reply = self._reply(request, "resp_")
        frames = responses.ResponsesFrames(reply, planned, body)
        return self._text(reply, planned, body, frames, frames.whole)

    async def messages(self, request: Request) -> ASGIApp:
        """/v1/messages."""
        body = await wire.read(request, messages.MessagesBody, self.spec.max_body_bytes)
        try:
            wire.check_model(body.model, self.spec.model)
            wire.check_sampling(body, body.max_tokens, self.spec.max_model_len)
            sampling = _single(msgspec.structs.replace(body, stop=body.stop_sequences))
            planned = plan(self.spec, [chat_tokens(messages.conversation(body))], sampling, body.max_tokens)
        except Wrong as wrong:
            return messages.refused(wrong)
        reply = self._reply(request, "chatcmpl-")
        frames = messages.MessagesFrames(reply, planned)
        return self._text(reply, planned, body, frames, frames.whole)

    async def count_tokens(self, request: Request) -> ASGIApp:
        """/v1/messages/count_tokens."""
        body = await self._read(request, messages.CountBody)
        count = len(chat_tokens(messages.conversation(body)))
        return encoded({"input_tokens": count, "context_management": {"original_input_tokens": count}})

    async def generate(self, request: Request) -> ASGIApp:
        """/generate, the plain path of vLLM's demonstration server."""
        body = await self._read(request, tokens.GenerateBody)
        wire.check_sampling(body, body.max_tokens, self.spec.max_model_len)
        planned = plan(self.spec, [tokenize(body.prompt)], body, body.max_tokens, COMPLETION_TOKENS)
        frames = tokens.GenerateFrames(body.prompt, planned)
        return self._text(self._reply(request, "gen-"), planned, body, frames, frames.whole)

    # ===== numbers =====

    async def embeddings(self, request: Request) -> ASGIApp:
        """/v1/embeddings."""
        body = await self._read(request, pooling.EmbeddingBody)
        prompts = _bounded(pooling.prompts_of(body.input))
        if not prompts or not all(prompts):
            raise Wrong("The input must not be empty.", "input")
        dimensions = self.spec.embedding_dimensions if body.dimensions is None else body.dimensions
        if not 1 <= dimensions <= 4096:
            raise Wrong(f"dimensions must be between 1 and 4096, got {dimensions}.", "dimensions")
        reply, packed = self._reply(request, "embd-"), body.encoding_format == "base64"
        return self._pooled(
            request, reply, prompts,
            lambda ends: pooling.embedding_whole(reply, prompts, dimensions, packed, ends),
        )  # fmt: skip

    async def rerank(self, request: Request) -> ASGIApp:
        """/v1/rerank."""
        body = await self._read(request, pooling.RerankBody)
        prompts = _bounded([tokenize(f"{body.query} {text}") for text in body.documents])
        reply, size = self._reply(request, "rerank-"), self.spec.embedding_dimensions
        if not prompts:
            raise Wrong("At least one document is needed.", "documents")
        return self._pooled(request, reply, prompts, lambda ends: pooling.rerank_whole(reply, body, size, ends))

    async def score(self, request: Request) -> ASGIApp:
        """/v1/score."""
        body = await self._read(request, pooling.ScoreBody)
        pairs = pooling.pairs_of(body)
        prompts = _bounded([tokenize(f"{left} {right}") for left, right in pairs])
        reply, size = self._reply(request, "score-"), self.spec.embedding_dimensions
        return self._pooled(request, reply, prompts, lambda ends: pooling.score_whole(reply, pairs, size, ends))

    async def tokenize(self, request: Request) -> ASGIApp:
        """/tokenize."""
        return tokens.tokenized(await self._read(request, tokens.TokenizeBody), self.spec.max_model_len)

    async def detokenize(self, request: Request) -> ASGIApp:
        """/detokenize."""
        return tokens.detokenized(await self._read(request, tokens.DetokenizeBody))

    # ===== about itself =====

    async def models(self, request: Request) -> Response:
        """/v1/models."""
        return tokens.model_list(self.spec, self._started)

    async def health(self, request: Request) -> Response:
        """/health and /ping: 200 and no body."""
        return Response(b"")

    async def load(self, request: Request) -> Response:
        """/load: requests in flight."""
        return encoded({"server_load": self.replica.in_flight})

    async def version(self, request: Request) -> Response:
        """/version."""
        return encoded({"version": self.spec.version})

    async def metrics(self, request: Request) -> Response:
        """/metrics."""
        self.replica.catch_up()
        page = metrics.render(self.replica.batcher, self.spec)
        return Response(page, headers={"content-type": metrics.CONTENT_TYPE})

    async def show_faults(self, request: Request) -> Response:
        """GET /emulator/faults: what is set, and how often each has struck."""
        pairs = zip(self.faults.set, self.faults.struck)
        return encoded([{**msgspec.structs.asdict(fault), "struck": struck} for fault, struck in pairs])

    async def set_faults(self, request: Request) -> Response:
        """POST /emulator/faults: a list replaces what is set; an empty one ends all."""
        try:
            faults = msgspec.json.decode(await request.body(), type=tuple[Fault, ...])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Wrong(f'{error}; send a list like [{{"kind": "status", "status": 503}}]') from None
        self.faults.replace(faults)
        self.replica.slow_down(self.faults.slow_factor)
        return await self.show_faults(request)

    async def seen(self, request: Request) -> Response:
        """GET /emulator/seen: the last 100,000 requests that the engine got: for whom, how they ended, their tokens."""
        return encoded(list(self.replica.seen))

    # ===== what they share =====

    async def _read(self, request: Request, kind: type[wire.Body]) -> wire.Body:
        body = await wire.read(request, kind, self.spec.max_body_bytes)
        wire.check_model(getattr(body, "model", None), self.spec.model)
        return body

    def _reply(self, request: Request, prefix: str) -> openai.Reply:
        own = request.headers.get("x-request-id") or token_hex(8)
        return openai.Reply(prefix + own, int(time.time()), self.spec.model, self._fingerprint)

    def _text(
        self,
        reply: openai.Reply,
        planned: Plan,
        body: wire.Sampling,
        frames: Frames,
        whole: Callable[[list[Finish]], bytes],
    ) -> ASGIApp:
        if body.stream:
            return Streamed(self.replica, reply.id, planned.jobs, frames, body.user or "")
        return Whole(self.replica, reply.id, planned.jobs, whole, body.user or "")

    def _pooled(
        self, request: Request, reply: openai.Reply, prompts: list[list[str]], whole: Callable[[list[Finish]], bytes]
    ) -> ASGIApp:
        jobs = []
        for prompt in prompts:
            wire.check_length(len(prompt), self.spec.max_model_len)
            jobs.append(Job(len(prompt), 0, block_hashes(prompt, self.spec.block_size), stops=True))
        return Whole(self.replica, reply.id, jobs, whole)


def _single(body: wire.Sampling) -> wire.Sampling:
    return msgspec.structs.replace(body, n=None)


def _bounded(prompts: list[list[str]]) -> list[list[str]]:
    if len(prompts) > pooling.MAX_INPUTS:
        raise Wrong(f"At most {pooling.MAX_INPUTS} inputs in one request, got {len(prompts)}.", "input")
    return prompts


async def _detail(request: Request, error: Exception) -> Response:
    response = encoded({"detail": getattr(error, "detail", "Not Found")}, getattr(error, "status_code", 404))
    response.headers.update(getattr(error, "headers", None) or {})
    return response


async def _wrong(request: Request, error: Exception) -> Response:
    assert isinstance(error, Wrong)
    return wire.error(error)
