"""Logs: one line a record on standard error, JSON for machines or text for people, and the access log.

Lines are written by a thread behind a bounded spool: a terminal or a pipe that hangs costs lines, which are counted,
never calls. Everything passes one filter that takes out what looks like a secret, whoever wrote it there.
"""

import atexit
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TextIO

import msgspec

from penstock.base.nouns import PRIORITIES, CallRow
from penstock.core.effects import Effect, Record
from penstock.core.events import Event
from penstock.drive.spool import Spool

PENDING_LINES = 10_000
"""Lines that may wait for the terminal."""
PIPE_BYTES = 4096
MAX_TEXT = 4096
"""Characters of a single value (a trace excepted: sixteen times as many)."""

ACCESS = "penstock.access"
AUDIT = "penstock.audit"
"""Who changed what: written whatever the level of the rest."""
_CHATTY = "alembic.runtime.plugins"
"""It says at every start what it has loaded."""
_MIGRATION = "alembic.runtime.migration"
"""It says at every start how it would change a database; that it does is news."""
HIDDEN = "[hidden]"
_SECRETS = re.compile(
    r"""(?ix)
    (?P<keep> \b (?: (?: proxy-)? authorization | (?: x-)? api[-_]?key | (?: set-)? cookie | password | secret | token )
                 ["']? \s* [:=,] \s* (?: b["'] | ["'] )? (?: (?: bearer|basic|token) \s+ )?
            | \b (?: bearer|basic) \s+ )
      (?P<value> [^\s"',;&}]+ )
    | (?P<key> \b sk-[\w-]{3,} )
    | (?P<login> (?<=://) [^\s/@:"']+ : [^\s/@"']+ (?=@) )
    """
)

_HINTS = ("auth", "bearer", "basic", "key", "cookie", "password", "secret", "token", "sk-", "://")
"""Without one of these a text has nothing for the pattern above, which costs ten times as much to find out."""


class LogSettings(Protocol):
    """What the configuration says about logs (`config.schema.LogSpec` says it)."""

    @property
    def level(self) -> Literal["debug", "info", "warning", "error"]: ...
    @property
    def format(self) -> Literal["json", "text"]: ...
    @property
    def access(self) -> bool: ...
    @property
    def slow_s(self) -> float: ...


class Hider:
    """Takes out of a text what looks like a secret, and the secrets that are known."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = sorted(filter(None, known), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without known secrets, bearer tokens, keys, cookies, passwords, or the login of a URL."""
        for secret in self._known:
            text = text.replace(secret, HIDDEN)
        low = text.lower()
        for hint in _HINTS:
            if hint in low:
                return _SECRETS.sub(_hide, text)
        return text


def _hide(match: re.Match[str]) -> str:
    return (match["keep"] or "") + HIDDEN


# ===== formats =====

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord, hide: Hider) -> dict[str, Any]:
    """What a log record says, as fields: time, level, logger, message, whatever it was given as `extra`, its trace."""
    when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields: dict[str, Any] = {
        "time": when,
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    for name, value in vars(record).items():
        if name not in _STANDARD:
            fields.update(access_fields(value) if isinstance(value, CallRow) else {name: value})
    for name, value in fields.items():
        if value is not None and not isinstance(value, bool | int | float):
            fields[name] = hide(str(value)[:MAX_TEXT])
    if record.exc_info and record.exc_info[1] is not None:
        fields["trace"] = hide("".join(traceback.format_exception(record.exc_info[1]))[: 16 * MAX_TEXT])
    return fields


def as_json(fields: dict[str, Any]) -> str:
    """One JSON object on one line."""
    return msgspec.json.encode(fields).decode()


def as_text(fields: dict[str, Any]) -> str:
    """A line for people. Control characters are shown escaped: a client's text must not write lines of its own."""
    fields = dict(fields)
    trace = fields.pop("trace", "")
    time, level, logger, message = (fields.pop(name) for name in ("time", "level", "logger", "message"))
    rest = "".join(f" {name}={_shown(value)}" for name, value in fields.items() if value is not None)
    line = f"{time[11:23]} {level:<7} {logger.removeprefix('penstock.')}: {_printable(message)}{rest}"
    return f"{line}\n{_printable(trace, keep=chr(10))}" if trace else line


def _shown(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f'"{_printable(text)}"' if not text or " " in text or '"' in text else _printable(text)


def _printable(text: str, keep: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


# ===== writing =====


class LogHandler(logging.Handler):
    """The one handler of a gateway: leaves records to a thread, drops and counts them when that cannot keep up."""

    def __init__(
        self,
        settings: LogSettings,
        stream: TextIO | None = None,
        secrets: Iterable[str] = (),
        pending: int = PENDING_LINES,
        worker: int | None = None,
    ) -> None:
        """`worker`: which of several processes this is; it stands in every line."""
        super().__init__()
        self._stream = stream or sys.stderr
        self._format = as_json if settings.format == "json" else as_text
        self._hide = Hider(secrets)
        self._told = 0
        self._worker = {} if worker is None else {"worker": worker}
        self.spool: Spool[logging.LogRecord] = Spool(self._write, pending)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record. From warning on it is written at once, others within a fifth of a second."""
        try:
            record.msg, record.args = record.getMessage(), None  # its arguments may change before it is written
            self.spool.put(record, now=record.levelno >= logging.WARNING)
        except Exception:  # as logging wants it: a record that cannot be shown must not end what was being done
            self.handleError(record)

    def flush(self) -> None:
        """Wait until the lines so far are written, a second at most."""
        self.spool.flush(1.0)

    def close(self) -> None:
        """Write what is left, a second at most."""
        self.spool.close(1.0)
        super().close()

    def _write(self, records: list[logging.LogRecord]) -> None:
        missing = self.spool.dropped - self._told
        if missing:
            self._told += missing
            told = {"name": "penstock.logs", "levelname": "WARNING", "msg": f"{missing} log lines were dropped"}
            records = [*records, logging.makeLogRecord(told)]
        lines = list(map(self._line, records))
        if self._worker:  # they share a pipe: what is written at once, up to this size, is not torn apart (pipe(7))
            for text in joined(lines, PIPE_BYTES):
                self._stream.write(text)
                self._stream.flush()
        else:
            self._stream.write("".join(lines))
            self._stream.flush()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self._format(fields_of(record, self._hide) | self._worker) + "\n"
        except Exception as error:  # an extra field that cannot be shown costs its own line only
            told = {"name": "penstock.logs", "levelname": "ERROR", "msg": f"a line was lost: {type(error).__name__}"}
            return self._format(fields_of(logging.makeLogRecord(told), self._hide) | self._worker) + "\n"


def joined(lines: Iterable[str], most: int) -> Iterator[str]:
    """The lines in pieces of at most so many bytes; a longer line is a piece of its own."""
    piece, size = "", 0
    for line in lines:
        more = len(line.encode())
        if piece and size + more > most:
            yield piece
            piece, size = "", 0
        piece, size = piece + line, size + more
    if piece:
        yield piece


def set_up(
    settings: LogSettings, stream: TextIO | None = None, secrets: Iterable[str] = (), worker: int | None = None
) -> LogHandler:
    """Send all logging of this process to standard error (or `stream`), as `settings` say; again after a reload.

    `secrets` are texts that must never be written, beside everything that looks like a secret. `worker`: which of
    several processes this is.
    """
    root = logging.getLogger()
    handler = LogHandler(settings, stream, secrets, worker=worker)
    for old in list(root.handlers):
        if isinstance(old, LogHandler):
            root.removeHandler(old)
            atexit.unregister(old.close)
            old.close()
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    logging.getLogger(ACCESS).setLevel(logging.INFO)  # its own switches decide, whatever the level of the rest
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    logging.getLogger(_CHATTY).setLevel(logging.NOTSET if settings.level == "debug" else logging.WARNING)
    migration = logging.getLogger(_MIGRATION)
    migration.removeFilter(_is_news)
    if settings.level != "debug":
        migration.addFilter(_is_news)
    atexit.register(handler.close)
    return handler


def _is_news(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or record.getMessage().startswith("Running ")


# ===== the access log =====


class AccessLog:
    """A reader of the journal that logs calls as they end: all of them, or the slow ones."""

    def __init__(self, settings: LogSettings) -> None:
        self.settings = settings
        """May be replaced at any time."""
        self._logger = logging.getLogger(ACCESS)

    def observe(self, now: float, event: Event, effects: list[Effect]) -> None:
        """Read one turn."""
        settings = self.settings
        if not (settings.access or settings.slow_s):
            return
        for effect in effects:
            if type(effect) is Record:
                slow = 0 < settings.slow_s <= effect.row.latency_s
                if slow or settings.access:
                    self._log(effect.row, slow)

    def _log(self, row: CallRow, slow: bool) -> None:
        # the row travels as it is and is turned into fields by the writing thread
        level, message = (logging.WARNING, "slow call") if slow else (logging.INFO, "call")
        record = logging.LogRecord(ACCESS, level, "", 0, message, None, None)
        record.row = row
        self._logger.handle(record)


def access_fields(row: CallRow) -> dict[str, Any]:
    """A call's row as log fields; times in milliseconds."""
    usage = row.usage
    cache = {"cache": row.cache} if row.cache else {}
    return cache | {
        "id": row.id,
        "client_id": row.client_id,
        "tenant": row.tenant,
        "model": row.model,
        "path": row.path,
        "pool": row.pool,
        "replica": row.replica,
        "outcome": row.outcome,
        "status": row.status,
        "stream": row.stream,
        "priority": PRIORITIES[row.priority] if 0 <= row.priority < len(PRIORITIES) else str(row.priority),
        "attempts": row.attempts,
        "hedge": row.hedge or None,
        "latency_ms": round(row.latency_s * 1e3, 3),
        "ttft_ms": None if row.ttft_s is None else round(row.ttft_s * 1e3, 3),
        "queue_ms": round(row.queue_s * 1e3, 3),
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else row.relayed_tokens,
        "cached_tokens": usage.cached_tokens if usage else None,
        "cached_estimate": row.cached_estimate,
    }
