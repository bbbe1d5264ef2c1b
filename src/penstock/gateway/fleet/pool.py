"""Connections to one replica: idle ones wait to be used again, the last used first; else new ones are opened.

Also the request's head as this replica gets it: rebuilt from parsed values, with the replica's own Host and secrets.
"""

import asyncio
import logging
import re
import ssl
from abc import abstractmethod
from errno import EMFILE, ENFILE
from typing import Final
from urllib.parse import urlsplit

from penstock.adapters.wire.response import ResponseHead, parse_response_head
from penstock.base.errors import Label
from penstock.base.nouns import Replica
from penstock.config.schema import Access
from penstock.gateway.client.head import Head
from penstock.gateway.fleet.lines import watch
from penstock.gateway.fleet.supply import Supply, Taker

log = logging.getLogger("penstock.gateway")

_JOIN_BYTES: Final = 64 << 10
"""A body up to this size is copied behind its head, for one system call; a larger one is written beside it."""
_MAX_KNOWN_HEADS: Final = 32
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_OURS: Final = frozenset(("host", "content-length", "transfer-encoding", "connection"))


class Seeker(Taker):
    """Whoever wants a connection."""

    __slots__ = ("task",)

    task: "asyncio.Task[None] | None"

    @abstractmethod
    def connected(self, conn: "Upstream") -> None:
        """Here it is."""

    @abstractmethod
    def fail(self, label: Label, status: int = 0, retry_s: float | None = None) -> None:
        """There is none to be had."""


class Upstream:
    """One connection to a replica; a plain class in the shape of `asyncio.Protocol`."""

    __slots__ = ("attempt", "idle_since", "open", "pool", "reused", "served", "transport", "wanted")

    transport: asyncio.Transport

    def __init__(self, pool: "Pool") -> None:
        self.pool = pool
        self.attempt: Taker | None = None
        self.reused = False
        self.open = False
        self.wanted = True
        self.idle_since = 0.0
        self.served = 0
        """Answers that it has brought, counted only where there is a bound on them."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """It is open."""
        self.transport = transport
        if not self.wanted:
            transport.abort()
            return
        self.open = True
        self.pool.outbound.open += 1
        watch(transport, self.pool.outbound.watching)

    def give_up(self) -> None:
        """Nobody waits for it any more, whether it has come about or not. (uvloop closes a connection whose making was
        cancelled without a word to its protocol.)"""
        self.wanted = False
        if self.open:
            self.transport.abort()
            self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        """Bytes of the replica; unasked-for ones make the connection useless."""
        attempt = self.attempt
        if attempt is not None:
            attempt.received(data)
        else:
            self.transport.abort()

    def eof_received(self) -> bool:
        """The replica closed its side."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        if not self.open:
            return
        self.open = False
        self.pool.lost(self)
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.lost(exc is None)

    def pause_writing(self) -> None:
        """The replica takes the request slowly; there is nothing more to write."""

    def resume_writing(self) -> None:
        """The replica has taken it."""

    def send(self, head: bytes, body: bytes) -> None:
        """Write a request."""
        if len(body) <= _JOIN_BYTES:
            self.pool.outbound.plane.outbox.post(self.transport, head + body)
        else:
            self.transport.writelines((head, body))


class Pool:
    """The connections to one replica, at one address, with one set of secrets."""

    __slots__ = (
        "_context", "_heads", "_named", "_suffix", "access", "base", "connecting", "host", "idle", "label",
        "outbound", "port", "replica", "retired", "server_name",
    )  # fmt: skip

    def __init__(self, outbound: Supply, replica: Replica, access: Access) -> None:
        parts = urlsplit(replica.url)
        self.outbound = outbound
        self.replica = replica
        self.access = access
        self.host = parts.hostname or ""
        self.server_name = (access.tls.server_name or self.host) if parts.scheme == "https" else None
        self.port = parts.port or (443 if self.server_name else 80)
        # paths of clients bring their own /v1; a base path may end in it, as OpenAI's base URLs do
        self.base = parts.path.rstrip("/").removesuffix("/v1").encode("ascii", "ignore")
        self.label = re.sub(r"[^!-~]", "_", replica.id).encode("ascii")
        self.idle: list[Upstream] = []
        self.connecting = 0
        """Attempts that wait for a connection to open."""
        self.retired = False
        self._named: frozenset[bytes] = frozenset()
        """Headers that the replica's own configuration sets, lower case."""
        self._suffix = self._own_headers()
        self._context: ssl.SSLContext | None = None
        self._heads: dict[bytes, ResponseHead] = {}

    def _own_headers(self) -> bytes:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.server_name else 80
        lines = [f"host: {host}" if self.port == default else f"host: {host}:{self.port}"]
        named: set[bytes] = set()
        if self.access.api_key is not None:
            lines.append(f"authorization: Bearer {self.access.api_key}")
        for name, value in self.access.headers:
            if name.lower() not in _OURS:
                lines.append(f"{name.lower()}: {value}")
                named.add(name.lower().encode("ascii", "ignore"))
        good = [line for line in lines if _NAME.match(line) and _VALUE.fullmatch(line)]
        if len(good) < len(lines):
            log.error("replica %s: a configured key or header cannot be sent and is left out", self.replica.id)
        self._named = frozenset(named)
        return "".join(line + "\r\n" for line in good).encode("ascii")

    # ===== connections =====

    def take(self) -> Upstream | None:
        """An idle connection that still looks open; None: there is none."""
        idle = self.idle
        while idle:
            conn = idle.pop()
            self.outbound.idle -= 1
            if not conn.transport.is_closing():
                conn.reused = True
                return conn
        return None

    def give(self, conn: Upstream) -> None:
        """A connection whose answer is complete: keep it. The bounds on idle ones are kept by the sweep: under load a
        connection is idle for a moment only, and closing it for that would cost a new one per request."""
        outbound = self.outbound
        if self.retired or conn.transport.get_write_buffer_size():
            conn.transport.abort()  # the second: it answered before it had read the whole request
            return
        if outbound.most_answers is not None:
            conn.served += 1
            if conn.served >= outbound.most_answers:
                conn.transport.close()
                return
        conn.idle_since = outbound.pulse.now
        self.idle.append(conn)
        outbound.idle += 1

    def lost(self, conn: Upstream) -> None:
        """A connection has closed."""
        self.outbound.lost()
        if conn.attempt is None and conn in self.idle:
            self.idle.remove(conn)
            self.outbound.idle -= 1

    def close_idle(self, before: float, keep: int = 0) -> None:
        """Close the connections that have been idle since before then, but for so many."""
        while len(self.idle) > keep and self.idle[0].idle_since <= before:
            conn = self.idle.pop(0)
            self.outbound.idle -= 1
            conn.transport.close()

    def retire(self) -> None:
        """Keep nothing any more; answers under way finish."""
        self.retired = True
        self.close_idle(float("inf"))

    def connect(self, attempt: Seeker) -> "asyncio.Task[None]":
        """Open a connection for this attempt."""
        return self.outbound.spawn(self._connect(attempt))

    async def _connect(self, attempt: Seeker) -> None:
        if self.connecting >= self.outbound.spec.pending_per_replica:
            attempt.task = None
            attempt.fail("pending_full")
            return
        try:
            self.connecting += 1
            try:
                conn = await self.open(self.port)
            finally:
                self.connecting -= 1
        except OSError as error:  # includes TLS and name resolution
            label: Label = "connect_refused"
            if error.errno in (EMFILE, ENFILE):
                label = "overloaded"
                self.outbound.warn_exhausted()
            attempt.task = None
            attempt.fail(label)
        else:
            attempt.connected(conn)

    async def open(self, port: int) -> Upstream:
        """A new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        context = self._tls() if self.server_name is not None else None
        conn = Upstream(self)
        try:
            await loop.create_connection(
                lambda: conn,
                self.host,
                port,
                ssl=context,
                server_hostname=self.server_name,  # type: ignore[type-var]
            )
        except BaseException:  # a cancelled attempt may find its connection made all the same
            conn.give_up()
            raise
        return conn

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            spec = self.access.tls
            self._context = ssl.create_default_context(cafile=spec.ca)
            if not spec.verify:
                self._context.check_hostname = False
                self._context.verify_mode = ssl.CERT_NONE
        return self._context

    # ===== heads =====

    def request_head(self, head: Head, length: int, request_id: str) -> bytes:
        """The head of a request to this replica."""
        return b"%b %b%b HTTP/1.1\r\n%b%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n" % (
            head.method,
            self.base,
            head.target,
            self._suffix,
            self._without_named(head.forward) if self._named else head.forward,
            length,
            request_id.encode("ascii"),
        )

    def _without_named(self, lines: bytes) -> bytes:
        """A client cannot set what the replica's configuration sets."""
        kept = [line for line in lines.splitlines(keepends=True) if line.partition(b":")[0] not in self._named]
        return b"".join(kept)

    def fetch_head(self, path: str) -> bytes:
        """The head of a GET of our own."""
        return b"GET %b%b HTTP/1.1\r\n%buser-agent: penstock\r\naccept: */*\r\nconnection: close\r\n\r\n" % (
            self.base,
            path.encode("ascii", "ignore"),
            self._suffix,
        )

    def post_head(self, path: str, length: int) -> bytes:
        """The head of a POST of our own, of JSON."""
        return b"POST %b%b HTTP/1.1\r\n%b%buser-agent: penstock\r\naccept: */*\r\ncontent-length: %d\r\n\r\n" % (
            self.base,
            path.encode("ascii", "ignore"),
            self._suffix,
            b"content-type: application/json\r\nconnection: close\r\n",
            length,
        )

    def read_head(self, raw: bytes) -> ResponseHead:
        """A response's head. Replicas repeat themselves, so equal bytes are read once. Raises FramingError."""
        known = self._heads.get(raw)
        if known is None:
            known = parse_response_head(raw)
            if len(self._heads) >= _MAX_KNOWN_HEADS:
                self._heads.clear()
            if len(raw) <= 1024:
                self._heads[raw] = known
        return known
