"""The paths together, over a socket, and with the official client."""

from typing import Any

import pytest

from penstock.emulator.serve import Running
from tests.emulator.client import CHAT, Reply, ask, chat, serving

USER: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello there"}]}


def replies(*requests: tuple[str, Any], **changes: Any) -> list[Reply]:
    """The answers of one emulator to these requests, in order."""
    got: list[Reply] = []

    async def test(emulator: Running) -> None:
        got.extend([await ask(emulator.ports[0], path, value) for path, value in requests])

    serving(test, **changes)
    return got


def test_streamed_and_whole_say_the_same() -> None:
    """The same request gives the same text, whether it is streamed, and on whichever replica."""
    whole, streamed = replies((CHAT, chat(max_tokens=9)), (CHAT, chat(max_tokens=9, stream=True)))
    assert whole.json["choices"][0]["message"]["content"] == streamed.text
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert replies((CHAT, chat(max_tokens=9, stream=True)), seed=5)[0].text == streamed.text


def test_the_other_ways_to_ask() -> None:
    """Completions, responses, messages and plain generation all answer."""
    completion, response, message, generated, count = replies(
        ("/v1/completions", {"prompt": "Hello there"}),
        ("/v1/responses", {"input": "Hello there", "max_output_tokens": 3}),
        ("/v1/messages", {**USER, "max_tokens": 3}),
        ("/generate", {"prompt": "Hello there", "max_tokens": 2}),
        ("/v1/messages/count_tokens", USER),
    )
    assert completion.json["usage"] == {
        "prompt_tokens": 2, "total_tokens": 18, "completion_tokens": 16, "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }  # fmt: skip
    assert response.json["output"][0]["content"][0]["text"] == message.json["content"][0]["text"]
    assert generated.json["text"][0].startswith("Hello there")
    assert count.json["input_tokens"] == message.json["usage"]["input_tokens"] == 5


def test_the_other_ways_to_stream() -> None:
    """Responses and messages end with their own last event."""
    response, message = replies(
        ("/v1/responses", {"input": "hi", "max_output_tokens": 3, "stream": True}),
        ("/v1/messages", {**USER, "max_tokens": 3, "stream": True}),
    )
    assert '"type":"response.completed"' in response.events[-1]
    assert message.events[-1] == '{"type":"message_stop"}'


def test_numbers() -> None:
    """Embeddings, ranks and scores, in the shapes of a vLLM's pooling models; nothing to embed is a mistake."""
    embedded, ranked, scored, empty, wide = replies(
        ("/v1/embeddings", {"input": ["a", "b"], "dimensions": 8}),
        ("/v1/rerank", {"query": "a", "documents": ["b", "a"]}),
        ("/v1/score", {"text_1": "a", "text_2": "a"}),
        ("/v1/embeddings", {"input": []}),
        ("/v1/embeddings", {"input": "a", "dimensions": 10**9}),
    )
    assert [len(entry["embedding"]) for entry in embedded.json["data"]] == [8, 8]
    assert [entry["index"] for entry in ranked.json["results"]] == [1, 0]
    assert scored.json["data"][0]["score"] > 0.99
    assert (empty.status, wide.status) == (400, 400)


def test_about_itself() -> None:
    """Health, version, models, load, metrics and what it saw."""
    health, version, models, load, metrics, seen, unknown, wrong_method = replies(
        ("/health", None), ("/version", None), ("/v1/models", None), ("/load", None), ("/metrics", None),
        ("/emulator/seen", None), ("/nope", None), (CHAT, None),
    )  # fmt: skip
    assert (health.status, health.body, version.json) == (200, b"", {"version": "0.32.0"})
    assert models.json["data"][0]["id"] == "tiny"
    assert (load.json, seen.json) == ({"server_load": 0}, [])
    assert b'vllm:num_requests_running{engine="0",model_name="tiny"} 0.0' in metrics.body
    assert (unknown.status, unknown.json) == (404, {"detail": "Not Found"})
    assert (wrong_method.status, wrong_method.headers["allow"]) == (405, "POST")


def test_a_request_keeps_its_id() -> None:
    """The client's x-request-id becomes part of the answer's id and of the list of what was seen, with its user."""

    async def test(emulator: Running) -> None:
        reply = await ask(emulator.ports[0], CHAT, chat(max_tokens=1, user="ada"), headers="x-request-id: mine\r\n")
        (seen,) = (await ask(emulator.ports[0], "/emulator/seen")).json
        assert reply.json["id"] == seen["id"] == "chatcmpl-mine"
        assert (seen["outcome"], seen["completion_tokens"], seen["user"]) == ("finished", 1, "ada")

    serving(test)


def test_a_conversation_finds_its_past() -> None:
    """The second turn of a conversation is found in the prefix cache, its first answer included."""

    async def test(emulator: Running) -> None:
        question = {"role": "user", "content": "word " * 40}
        first = (await ask(emulator.ports[0], CHAT, {"messages": [question], "max_tokens": 40})).json
        said = {"role": "assistant", "content": first["choices"][0]["message"]["content"]}
        turns = [question, said, {"role": "user", "content": "and then"}]
        second = (await ask(emulator.ports[0], CHAT, {"messages": turns, "max_tokens": 4})).json
        assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == 80

    serving(test)


@pytest.mark.slow
def test_the_official_client_understands_it() -> None:
    """Models, chat, completions, embeddings and responses, streamed and not, with the openai package."""
    from openai import AsyncOpenAI, NotFoundError

    async def test(emulator: Running) -> None:
        async with AsyncOpenAI(base_url=f"{emulator.urls[0]}/v1", api_key="any") as client:
            assert [model.id async for model in client.models.list()] == ["tiny"]
            whole = await client.chat.completions.create(**chat(max_tokens=5))
            stream = await client.chat.completions.create(**chat(max_tokens=5, stream=True))
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            assert whole.choices[0].message.content == text
            completion = await client.completions.create(model="tiny", prompt="a", max_tokens=3)
            assert completion.usage is not None
            assert completion.usage.completion_tokens == 3
            embedded = await client.embeddings.create(model="tiny", input=["a", "b"])
            assert [len(entry.embedding) for entry in embedded.data] == [64, 64]
            events = await client.responses.create(model="tiny", input="a", max_output_tokens=2, stream=True)
            assert [event.type async for event in events][-1] == "response.completed"
            with pytest.raises(NotFoundError, match="`nope` does not exist"):
                await client.chat.completions.create(**{**chat(), "model": "nope"})

    serving(test)
