"""`penstock cache`: numbers, putting out of use, filling beforehand; mistakes are told by an exit status."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from penstock.base.contents import CacheView
from penstock.cli.main import app
from tests.helpers.desk import desk, listening

VIEW = CacheView(
    entries=12, bytes=3 << 20, calls={"hit": 60, "coalesced": 20, "miss": 20, "bypass": 7}, kept=20, evicted=5,
    expired=2, invalidated=1, leading=0, following=0,
)  # fmt: skip


def ran(*arguments: str) -> tuple[int, str]:
    """Exit status, and all that it printed."""
    result = CliRunner().invoke(app, ["cache", *arguments])
    return result.exit_code, result.output


def test_numbers_are_shown_with_their_shares() -> None:
    """Of the calls that a kept answer could have served."""
    with desk() as made:
        made.pages["/admin/cache"] = VIEW
        status, said = ran("stats", "--admin", made.url)
        assert status == 0
        assert "60.0 %" in said
        assert "3.0 MiB" in said
        assert json.loads(ran("stats", "--admin", made.url, "--json")[1])["entries"] == 12


def test_answers_to_questions_in_other_words_are_shown() -> None:
    """As a line of their own, where there are any."""
    with desk() as made:
        made.pages["/admin/cache"] = replace(VIEW, calls={**VIEW.calls, "similar": 25})
        _, said = ran("stats", "--admin", made.url)
        line = next(line for line in said.splitlines() if "similar" in line)
        assert "20.0 %" in line
        made.pages["/admin/cache"] = VIEW
        assert "similar" not in ran("stats", "--admin", made.url)[1]


def test_without_a_cache_or_a_gateway_that_is_told() -> None:
    """Exit status 1."""
    with desk() as made:
        made.pages["/admin/cache"] = (404, "There is no cache here.", "not_found")
        status, said = ran("stats", "--admin", made.url)
        assert (status, "There is no cache here." in said) == (1, True)
    assert ran("stats", "--admin", "http://127.0.0.1:1")[0] == 1


wishes: list[str] = []
"""What requests wished of the cache, the last last."""


@contextmanager
def posted(status: int = 200) -> Iterator[tuple[str, list[tuple[str, Any, str]]]]:
    """A server that takes posts: its URL, and what came."""
    got: list[tuple[str, Any, str]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                got.append((self.path, json.loads(body), self.headers.get("authorization", "")))
                wishes.append(self.headers.get("x-penstock-cache", ""))
            answer = json.dumps({"invalidated": 3, "choices": []}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as port:
        yield f"http://127.0.0.1:{port}", got


def test_answers_are_put_out_of_use() -> None:
    """What is named is sent, and how many it were is told."""
    with posted() as (url, got):
        status, said = ran("clear", "--admin", url, "--tag", "t", "--tenant", "x")
        assert (status, said.startswith("3 answers")) == (0, True)
        assert ran("clear", "--admin", url, "--all")[0] == 0
    assert [(path, body) for path, body, _ in got] == [
        ("/admin/cache/invalidate", {"tag": "t", "tenant": "x", "all": False}),
        ("/admin/cache/invalidate", {"all": True}),
    ]


@pytest.mark.parametrize("words", [(), ("--all", "--tag", "t")])
def test_what_is_not_said_plainly_is_a_mistake(words: tuple[str, ...]) -> None:
    """Nothing is sent."""
    assert ran("clear", "--admin", "http://127.0.0.1:1", *words)[0] == 2


def test_requests_are_sent_beforehand(tmp_path: Path) -> None:
    """Bodies of chats, or of other paths, with the key of whose answers they are."""
    file = tmp_path / "questions.jsonl"
    file.write_text('{"model": "m", "messages": []}\n\n{"path": "/v1/embeddings", "body": {"input": "x"}}\n')
    with posted() as (url, got):
        status, said = ran("warm", str(file), "--url", url, "--key", "sk-1")
    assert (status, said) == (0, "2 of 2 requests were answered.\n")
    assert sorted(path for path, _, _ in got) == ["/v1/chat/completions", "/v1/embeddings"]
    assert {key for _, _, key in got} == {"Bearer sk-1"}
    assert wishes[-2:] == ["", ""]
    with posted() as (url, _):
        assert ran("warm", str(file), "--url", url, "--similar")[0] == 0
    assert wishes[-2:] == ["similar", "similar"]


def test_failures_are_counted(tmp_path: Path) -> None:
    """Exit status 1, and what they were."""
    file = tmp_path / "questions.jsonl"
    file.write_text('{"model": "m"}\n')
    with posted(400) as (url, _):
        status, said = ran("warm", str(file), "--url", url)
    assert status == 1
    assert "0 of 1 requests" in said


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_a_line_that_is_no_request_is_named(tmp_path: Path, text: str) -> None:
    """Before anything is sent."""
    file = tmp_path / "questions.jsonl"
    file.write_text("{}\n" + text)
    status, said = ran("warm", str(file), "--url", "http://127.0.0.1:1")
    assert (status, "line 2" in said) == (2, True)
