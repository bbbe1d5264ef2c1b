"""An asyncio client for OpenAI endpoints that measures: keep-alive connections, TLS, a limit on every wait.

`ask` never raises for what a target does: every ending is a value in `Answer.error`, of one of these kinds:
`refused`, `connect_timeout`, `connect_failed`, `tls_failed`; `closed_early`, `reset` (no answer had begun);
`first_byte_timeout`, `idle_timeout`, `total_timeout`; `truncated` (the answer ended before its end mark or length);
`bad_http`, `bad_json`, `body_too_large`, `event_too_large`, `empty`; `stream_error CODE` (an error event inside a
stream); and `STATUS CODE` (an HTTP error and the code in its body).
"""

import asyncio
import errno
import ssl
import time
from urllib.parse import urlsplit

import msgspec

from penstock import __version__
from penstock.loadgen.answer import Answer
from penstock.loadgen.exchange import Exchange, Timeouts
from penstock.loadgen.wire import Connection, Pool

_STALE = ("closed_early", "reset")


class Target(msgspec.Struct, frozen=True):
    """Where load goes."""

    host: str
    port: int
    tls: bool = False
    base_path: str = ""

    @property
    def authority(self) -> str:
        """host:port as the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The target for people."""
        return f"http{'s' if self.tls else ''}://{self.authority}{self.base_path}"


def parse_target(url: str) -> Target:
    """A target from its URL; a trailing /v1, as OpenAI clients want it, is dropped. Raises ValueError."""
    hint = f"{url!r} is not an address: write http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ValueError(hint) from None
    path = parts.path.rstrip("/").removesuffix("/v1")
    strange = set(url) - {chr(code) for code in range(0x21, 0x7F)}
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or strange:
        raise ValueError(hint)
    if parts.username is not None:
        raise ValueError("an address must not carry a user name or password: give the key by --key")
    tls = parts.scheme == "https"
    return Target(parts.hostname, port or (443 if tls else 80), tls, path)


def check_key(key: str) -> str:
    """The key itself. Raises ValueError where it would break the head that carries it."""
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the key has characters that a header cannot carry")
    return key


def tls_context(ca: str | None = None, verify: bool = True) -> ssl.SSLContext:
    """How to trust an https target: the system's authorities, those of a file, or (verify=False) anybody."""
    context = ssl.create_default_context(cafile=ca)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """Asks one target. Must be made and used inside a running loop."""

    def __init__(
        self, target: Target, *, key: str | None = None, timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.target = target
        self.reconnects = 0
        """Kept connections that the target had closed just when we used them, so that we asked again on a new one."""
        self._timeouts = timeouts or Timeouts()
        self._tls = (tls or tls_context()) if target.tls else None
        self._pool = Pool()
        self._loop = asyncio.get_running_loop()
        self._head = f"host: {target.authority}\r\nuser-agent: penstock-load/{__version__}\r\n".encode() + (
            f"authorization: Bearer {check_key(key)}\r\n".encode() if key else b""
        )

    async def ask(self, method: str, path: str, body: bytes = b"", headers: bytes = b"") -> Answer:
        """One request and its whole answer; `path` begins with /v1, `headers` are whole lines."""
        answer = Answer(time.perf_counter())
        request = self._request(method, path, body, headers)
        kept = self._pool.take()
        if kept is not None:
            await self._exchange(kept, request, answer)
            if answer.first_byte_at is not None or answer.error not in _STALE:
                return answer
            self.reconnects += 1
            answer = Answer(answer.started_at)
        fresh = await self._connect(answer)
        if fresh is not None:
            await self._exchange(fresh, request, answer)
        return answer

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def _request(self, method: str, path: str, body: bytes, headers: bytes) -> bytes:
        about = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body) if body else b""
        line = f"{method} {self.target.base_path}{path} HTTP/1.1\r\n".encode()
        return b"".join((line, self._head, headers, about, b"\r\n", body))

    async def _exchange(self, connection: Connection, request: bytes, answer: Answer) -> None:
        exchange = Exchange(answer, self._timeouts, time.perf_counter, self._loop)
        try:
            connection.send(request, exchange)
            await exchange.done
        finally:  # when we are cancelled, too: then the connection is closed, and the target sees us leave
            exchange.close()
            connection.end()

    async def _connect(self, answer: Answer) -> Connection | None:
        target, limit_s = self.target, min(self._timeouts.connect_s, self._timeouts.total_s)
        try:
            async with asyncio.timeout(limit_s):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._pool),
                    target.host,
                    target.port,
                    ssl=self._tls,
                    server_hostname=target.host if self._tls else None,
                )
                return connection
        except TimeoutError:
            answer.error = "connect_timeout"
        except ssl.SSLError:
            answer.error = "tls_failed"
        except OSError as error:
            answer.error = "refused" if _refused(error) else "connect_failed"
        answer.ended_at = time.perf_counter()
        return None


def _refused(error: OSError) -> bool:
    # Where a name has several addresses and all refuse, asyncio joins the errors' texts into one plain OSError.
    return error.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(error)
