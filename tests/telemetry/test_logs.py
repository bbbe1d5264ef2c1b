"""Logs: what is written, what never is, and that a terminal that hangs holds nobody up."""

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import pytest

from penstock.core.events import Woke
from penstock.telemetry.logs import ACCESS, AUDIT, HIDDEN, AccessLog, Hider, LogHandler, set_up
from tests.telemetry.rows import record

FORMS: tuple[Literal["json"], Literal["text"]] = ("json", "text")


class Settings(msgspec.Struct):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"
    access: bool = False
    slow_s: float = 0.0


@contextmanager
def logging_to(settings: Settings, secrets: tuple[str, ...] = ()) -> Iterator[io.StringIO]:
    """Logs as in a gateway for the time of a test; what was there before is put back."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers.clear()
    stream = io.StringIO()
    handler = set_up(settings, stream, secrets)
    try:
        yield stream
        handler.flush()
    finally:
        root.removeHandler(handler)
        handler.close()
        root.handlers[:] = before
        root.setLevel(level)


def made(message: str, level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    record = logging.LogRecord("penstock", level, "", 0, message, None, None)
    vars(record).update(fields)
    return record


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines() -> None:
    """A record is one JSON object with its time, level, logger, message and extra fields."""
    with logging_to(Settings()) as stream:
        logging.getLogger("penstock.gateway").info("serving on %s", "127.0.0.1:8080", extra={"port": 8080, "tls": None})
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "logger": "penstock.gateway", "message": "serving on 127.0.0.1:8080", "port": 8080, "tls": None
    }  # fmt: skip


def test_text_lines() -> None:
    """For people a record is one line, with its extra fields behind."""
    with logging_to(Settings(format="text")) as stream:
        logging.getLogger("penstock.gateway").warning("slow", extra={"took_s": 1.5, "who": "a b", "none": None})
    assert stream.getvalue()[12:] == ' warning gateway: slow took_s=1.5 who="a b"\n'


def test_a_client_cannot_write_lines_of_its_own() -> None:
    """Line ends and terminal codes in a client's text are shown escaped, in both formats."""
    evil = "x\n2026-01-01 info: forged\x1b[31m\u2028\x00"
    for form in FORMS:
        with logging_to(Settings(format=form)) as stream:
            logging.getLogger("penstock").info("model %s", evil, extra={"model": evil})
        assert len(stream.getvalue().split("\n")) == 2
        assert "\x1b" not in stream.getvalue()
        assert "\x00" not in stream.getvalue()


def test_traces_are_whole_and_on_one_line_in_json() -> None:
    """A bug's trace is a field of its line; in text it follows the line."""
    for form in FORMS:
        with logging_to(Settings(format=form)) as stream:
            try:
                raise ValueError("wrong with Authorization: Bearer sk-very-secret")
            except ValueError as error:
                logging.getLogger("penstock").error("bug", exc_info=error)
        text = stream.getvalue()
        assert "test_logs.py" in text
        assert "ValueError: wrong with" in text
        assert "very-secret" not in text
        assert (text.count("\n") == 1) == (form == "json")


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer S3CRET-abc",
        "authorization=S3CRET-abc",
        "'Authorization': 'Bearer S3CRET-abc'",
        "(b'authorization', b'Bearer S3CRET-abc')",
        "('x-api-key', 'S3CRET-abc')",
        "Proxy-Authorization: Basic S3CRET-abc",
        "bearer  S3CRET-abc",
        '{"api_key": "S3CRET-abc"}',
        "X-API-Key:S3CRET-abc",
        "Cookie: S3CRET-abc",
        "password=S3CRET-abc&x=1",
        "key sk-S3CRET-abc was refused",
        "http://user:S3CRET-abc@host/path",
        "known S3CRET-known here",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    """Whatever looks like a key, a token, a cookie or a password, or is known as a secret, is not written."""
    hidden = Hider(["S3CRET-known", ""])(text)
    assert "S3CRET" not in hidden
    assert HIDDEN in hidden


def test_harmless_text_stays() -> None:
    """Counts of tokens, ids and addresses are not taken for secrets."""
    text = "prompt_tokens=12 max_tokens: 5 key demo of tenant sk at http://127.0.0.1:8080/v1 task-force"
    assert Hider()(text) == text


def test_no_secret_reaches_the_stream_by_any_way() -> None:
    """Message, arguments, extra fields, traces and access lines all pass the filter."""
    with logging_to(Settings(access=True), ("UPSTREAM-KEY-1",)) as stream:
        log = logging.getLogger("penstock")
        log.info("Authorization: Bearer AAA1")
        log.info("got %s and %r", "UPSTREAM-KEY-1", {"api_key": "AAA2"})
        log.info("x", extra={"header": "Bearer AAA3", "headers": [("authorization", "AAA4")]})
        AccessLog(Settings(access=True)).observe(1.0, Woke(), [record(client_id="sk-AAA5", model="Bearer AAA6")])
    assert len(lines(stream)) == 4
    assert "AAA" not in stream.getvalue()
    assert "UPSTREAM-KEY" not in stream.getvalue()


def test_the_access_log() -> None:
    """With access on, every call is a line with its row, times in milliseconds."""
    with logging_to(Settings(access=True, level="error")) as stream:
        reader = AccessLog(Settings(access=True))
        reader.observe(1.0, Woke(), [record()])
        reader.observe(2.0, Woke(), [record(id="c2", usage=None, ttft_s=None, outcome="died_mid_answer", status=502)])
    first, second = lines(stream)
    assert (first["message"], first["logger"], first["level"]) == ("call", ACCESS, "info")
    assert {name: first[name] for name in ("id", "status", "latency_ms", "ttft_ms", "queue_ms", "priority")} == {
        "id": "c1", "status": 200, "latency_ms": 2100.0, "ttft_ms": 100.0, "queue_ms": 20.0, "priority": "normal"
    }  # fmt: skip
    assert (first["prompt_tokens"], first["completion_tokens"], first["cached_tokens"]) == (10, 21, 4)
    assert first["cached_estimate"] == 3
    assert (second["outcome"], second["ttft_ms"], second["completion_tokens"]) == ("died_mid_answer", None, 20)


def test_the_slow_log() -> None:
    """With access off only calls over the bound are logged, as warnings; with both off none is."""
    with logging_to(Settings()) as stream:
        reader = AccessLog(Settings(slow_s=2.0))
        reader.observe(1.0, Woke(), [record(latency_s=1.9), record(id="slow", latency_s=2.0)])
        reader.settings = Settings()
        reader.observe(1.0, Woke(), [record(latency_s=100.0)])
    (line,) = lines(stream)
    assert (line["id"], line["message"], line["level"]) == ("slow", "slow call", "warning")


class StuckStream(io.StringIO):
    """A terminal that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.free = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.free.wait(10)
        return super().write(text)


def test_a_hanging_terminal_holds_nobody_up() -> None:
    """While the stream hangs, logging returns at once; what was dropped is told when it goes on."""
    stream = StuckStream()
    handler = LogHandler(Settings(), stream, pending=10)
    handler.handle(made("first", logging.WARNING))
    assert stream.reached.wait(10)
    begun = time.perf_counter()
    for _ in range(100):
        handler.handle(made("more"))
    assert time.perf_counter() - begun < 1.0
    assert handler.spool.dropped == 91
    stream.free.set()
    handler.close()
    messages = [line["message"] for line in lines(stream)]
    assert messages == ["first", *["more"] * 9, "91 log lines were dropped"]


def test_a_record_that_cannot_be_shown_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments that do not fit the message are reported as logging does it, and the caller goes on."""
    stream = io.StringIO()
    handler = LogHandler(Settings(), stream)
    handler.handle(made("%d", args=("x",)))
    handler.handle(made("next"))
    handler.close()
    assert [line["message"] for line in lines(stream)] == ["next"]
    assert "Logging error" in capsys.readouterr().err


def test_setting_up_again_replaces_the_handler() -> None:
    """After a reload there is still one handler, with the new settings."""
    with logging_to(Settings()) as stream:
        again = set_up(Settings(level="error", format="text"), stream)
        try:
            logging.getLogger("penstock").info("hidden")
            logging.getLogger("penstock").error("shown")
            assert [h for h in logging.getLogger().handlers if isinstance(h, LogHandler)] == [again]
        finally:
            logging.getLogger().removeHandler(again)
            again.close()
    assert stream.getvalue().endswith("error   penstock: shown\n")
    assert "hidden" not in stream.getvalue()


@pytest.mark.parametrize(("level", "told"), [("info", 1), ("debug", 3)])
def test_what_a_library_loads_is_no_news(level: Literal["info", "debug"], told: int) -> None:
    """Seven lines about plugins stood before the first one of ours; who debugs has them."""
    with logging_to(Settings(level=level)) as stream:
        logging.getLogger("alembic.runtime.plugins").info("setup plugin alembic.autogenerate.types")
        logging.getLogger("alembic.runtime.migration").info("Context impl SQLiteImpl.")
        logging.getLogger("alembic.runtime.migration").info("Running upgrade 0001 -> 0002, users")
    assert len(lines(stream)) == told


def test_who_changed_what_is_written_whatever_the_level() -> None:
    """A gateway that logs errors only tells who made a key."""
    with logging_to(Settings(level="error")) as stream:
        logging.getLogger(AUDIT).info("the key %r was %s by %s", "a", "created", "me", extra={"settings": "{}"})
        logging.getLogger("penstock").info("hidden")
    (line,) = lines(stream)
    assert (line["message"], line["logger"]) == ("the key 'a' was created by me", AUDIT)


def test_a_record_whose_extra_cannot_be_shown_does_not_end_the_thread() -> None:
    """A value that raises when shown costs its own line; the writing thread and later lines live."""

    class Rude:
        def __str__(self) -> str:
            raise RuntimeError

    stream = io.StringIO()
    handler = LogHandler(Settings(), stream)
    handler.handle(made("rude", rude=Rude()))
    handler.flush()
    handler.handle(made("next"))
    handler.close()
    assert [line["message"] for line in lines(stream)] == ["a line was lost: RuntimeError", "next"]
