"""Chat and completions, byte for byte as a vLLM 0.32 sent them (ids, times and texts aside)."""

import msgspec

from penstock.emulator.openai import ChatFrames, CompletionFrames, Reply, chat_whole, completion_whole
from penstock.emulator.plan import Plan
from penstock.emulator.replica import Job
from penstock.emulator.text import Answer
from penstock.emulator.wire import Sampling, StreamOptions
from penstock.engine.words import Finish

REPLY = Reply("chatcmpl-1", 1795230581, 'a "quoted" model', "vllm-0.32.0-x")
BASE = '"object":"chat.completion.chunk","created":1795230581,"model":"a \\"quoted\\" model"'
PLAN = Plan([Job(8, 2, ())], [Answer(["oak0", " elm1"], ["oak0", " elm1"], "length")], 1)
ENDS = [Finish("0", 8, 2, 0, "length")]


def chat_events(options: StreamOptions | None = None, plan: Plan = PLAN) -> list[str]:
    """All events of a chat stream."""
    frames = ChatFrames(REPLY, plan, Sampling(stream=True, stream_options=options))
    body = frames.head() + frames.tokens(0, 0, 1, None) + frames.tokens(0, 1, 2, ENDS[0]) + frames.tail(ENDS)
    return body.decode().removesuffix("\n\n").split("\n\n")


def test_a_chat_stream_literally() -> None:
    """Role first, one chunk a token, the reason with the last token, then [DONE]."""
    assert chat_events() == [
        f'data: {{"id":"chatcmpl-1",{BASE},"choices":[{{"index":0,"delta":{{"role":"assistant","content":""}},'
        '"logprobs":null,"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null}',
        f'data: {{"id":"chatcmpl-1",{BASE},"choices":[{{"index":0,"delta":{{"content":"oak0"}},"logprobs":null,'
        '"finish_reason":null,"token_ids":null}]}',
        f'data: {{"id":"chatcmpl-1",{BASE},"choices":[{{"index":0,"delta":{{"content":" elm1"}},"logprobs":null,'
        '"finish_reason":"length","stop_reason":null,"token_ids":null}],"system_fingerprint":"vllm-0.32.0-x"}',
        "data: [DONE]",
    ]


def test_usage_is_a_chunk_of_its_own() -> None:
    """With include_usage a chunk without choices has the counts and the fingerprint; without it there is none."""
    events = chat_events(StreamOptions(include_usage=True))
    assert events[3] == (
        f'data: {{"id":"chatcmpl-1",{BASE},"choices":[],"usage":{{"prompt_tokens":8,"total_tokens":10,'
        '"completion_tokens":2},"system_fingerprint":"vllm-0.32.0-x"}'
    )
    assert not any("usage" in event or "fingerprint" in event for event in events[:3])


def test_continuous_usage_counts_up() -> None:
    """Each chunk says what was used so far."""
    events = chat_events(StreamOptions(include_usage=True, continuous_usage_stats=True))
    counts = [msgspec.json.decode(event[6:])["usage"]["completion_tokens"] for event in events[:-1]]
    assert counts == [0, 1, 2, 2]


def test_pieces_that_a_stop_cut_away_make_no_chunk() -> None:
    """Only what is left of a token is sent; the last chunk comes even when nothing is left of it."""
    plan = Plan([Job(8, 2, ())], [Answer(["oak0", " elm1"], ["", ""], "stop", "oak0 e")], 1)
    events = chat_events(plan=plan)
    assert len(events) == 3
    assert '"content":""' in events[1]
    assert '"finish_reason":"stop","stop_reason":"oak0 e"' in events[1]


def test_a_whole_chat_answer() -> None:
    """The object has the text, the reason and the counts; what was cached is told when something was."""
    whole = msgspec.json.decode(chat_whole(REPLY, PLAN, [Finish("0", 8, 2, 5, "length")]))
    assert whole["choices"][0]["message"]["content"] == "oak0 elm1"
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"] == {
        "prompt_tokens": 8, "total_tokens": 10, "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens_details": None,
    }  # fmt: skip


def test_a_completion_stream_literally() -> None:
    """Text instead of deltas, no role, and the prompt first where echo was asked."""
    frames = CompletionFrames(REPLY, PLAN, ['say "'], Sampling(stream=True))
    events = (frames.head() + frames.tokens(0, 0, 2, ENDS[0]) + frames.tail(ENDS)).decode().split("\n\n")
    texts = [msgspec.json.decode(event[6:])["choices"][0] for event in events[:3]]
    assert [choice["text"] for choice in texts] == ['say "', "oak0", " elm1"]
    assert texts[2] == {
        "index": 0, "text": " elm1", "logprobs": None, "finish_reason": "length", "stop_reason": None,
        "prompt_token_ids": None, "token_ids": None,
    }  # fmt: skip
    assert CompletionFrames(REPLY, PLAN, [""], Sampling()).head() == b""


def test_a_whole_completion() -> None:
    """The text follows its echo."""
    whole = msgspec.json.decode(completion_whole(REPLY, PLAN, ["say "], ENDS))
    assert (whole["object"], whole["choices"][0]["text"]) == ("text_completion", "say oak0 elm1")
