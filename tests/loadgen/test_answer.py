"""Chunks, bodies and errors of OpenAI endpoints are understood."""

import pytest

from penstock.loadgen.answer import Answer, clean, error_code, read_body, read_event

USAGE = '{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}'


def answer_of(*events: tuple[str, float], started_at: float = 10.0) -> Answer:
    """An answer that got these events at these times."""
    answer = Answer(started_at)
    answer.status = 200
    for data, at in events:
        read_event(answer, data.encode(), at)
    return answer


def test_first_content_is_not_the_role() -> None:
    """The time to first token ends with the first content: neither the role nor an empty text is one."""
    answer = answer_of(
        ('{"choices":[{"delta":{"role":"assistant","content":""}}]}', 10.1),
        ('{"choices":[{"delta":{"content":"a"}}]}', 10.5),
        ('{"choices":[{"delta":{"content":"b"}}]}', 10.7),
        ('{"choices":[{"delta":{},"finish_reason":"stop"}]}', 10.75),
        (f'{{"choices":[],"usage":{USAGE}}}', 10.8),
        ("[DONE]", 10.9),
    )
    assert answer.ttft_s == pytest.approx(0.5)
    assert list(answer.gaps_s) == pytest.approx([0.2])
    assert (answer.pieces, answer.prompt_tokens, answer.output_tokens, answer.cached_tokens) == (2, 9, 5, 4)
    assert answer.per_token_s == pytest.approx(0.2 / 4)
    assert answer.finished
    assert answer.e2e_s == pytest.approx(0.9)


@pytest.mark.parametrize(
    "choice",
    [
        '{"text":"a"}',
        '{"delta":{"reasoning_content":"hm"}}',
        '{"delta":{"reasoning":"hm"}}',
        '{"delta":{"tool_calls":[{"index":0}]}}',
    ],
)
def test_other_content(choice: str) -> None:
    """Completions' text, reasoning and tool calls are content, too."""
    assert answer_of((f'{{"choices":[{choice}]}}', 11.0)).ttft_s == pytest.approx(1.0)


def test_without_usage() -> None:
    """Where the engine counts nothing, content events count as tokens."""
    answer = answer_of(*((f'{{"choices":[{{"text":"{n}"}}]}}', 10.0 + n) for n in range(3)))
    assert answer.per_token_s == pytest.approx(1.0)
    assert answer_of(('{"choices":[{"text":"a"}]}', 11.0)).per_token_s is None


def test_error_event() -> None:
    """An error inside a stream is one, with its code and text; nothing after it counts."""
    answer = answer_of(
        ('{"choices":[{"text":"a"}]}', 11.0),
        ('{"error":{"message":"it broke","type":"upstream_error","code":"died_mid_answer"}}', 12.0),
        ('{"choices":[{"text":"b"}]}', 13.0),
        ("[DONE]", 13.0),
    )
    assert (answer.error, answer.said) == ("stream_error died_mid_answer", "it broke")
    assert (answer.pieces, answer.finished) == (1, False)


@pytest.mark.parametrize("data", ["{oops", "[1]", '{"choices":5}', '{"choices":[{"delta":5}]}', "\xff", '{"a":' * 5000])
def test_bad_event(data: str) -> None:
    """Nonsense in a stream is an error of its own, not a crash."""
    assert answer_of((data, 11.0)).error == "bad_json"


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (429, '{"error":{"message":"full","type":"rate_limit_error","code":"queue_full"}}', "429 queue_full", "full"),
        (400, '{"error":{"message":"long","type":"BadRequestError","code":400}}', "400 BadRequestError", "long"),
        (400, '{"object":"error","message":"old","type":"BadRequestError","code":400}', "400 BadRequestError", "old"),
        (404, '{"detail":"Not Found"}', "404", ""),
        (500, '{"error":"boom"}', "500", "boom"),
        (502, "<html>bad gateway</html>", "502", "<html>bad gateway</html>"),
        (503, "", "503", ""),
        (307, "", "307", ""),
        (200, "{oops", "bad_json", ""),
        (200, '{"error":{"message":"x","code":"odd"}}', "200 odd", "x"),
    ],
)
def test_failed_bodies(status: int, body: str, error: str, said: str) -> None:
    """A failed answer is told by status and code, whatever the shape of its body."""
    answer = Answer(0.0)
    answer.status = status
    read_body(answer, body.encode(), 1.0)
    assert (answer.error, answer.said) == (error, said)


def test_good_body() -> None:
    """A whole JSON answer has its usage, an end, and no first token."""
    answer = Answer(0.0)
    answer.status = 200
    read_body(answer, f'{{"choices":[{{"message":{{"content":"a"}}}}],"usage":{USAGE}}}'.encode(), 1.5)
    assert (answer.error, answer.finished, answer.ttft_s) == ("", True, None)
    assert (answer.prompt_tokens, answer.output_tokens, answer.e2e_s) == (9, 5, 1.5)


def test_clean() -> None:
    """What a target says cannot act on a terminal."""
    assert clean("\x1b[31mred\n\u202e") == "?[31mred??"
    assert len(clean("x" * 1000)) == 60
    assert error_code({"code": "\x07", "type": "t"}) == "?"
    assert error_code({"code": 5, "type": None}) == error_code("text") == error_code(None) == ""
