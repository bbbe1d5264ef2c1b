"""Raw ends of the wire for tests: an engine that plays scripts and records what it got, and a client of bytes.

Both are deliberately simple-minded and share no code with the gateway. An engine's script is a sequence of steps,
played for each whole request: bytes are written, an `asyncio.Event` is waited for, and CLOSE, RESET and HANG end it.
BEGUN waits for the engine's `begun`, which a rig sets when the first answer has begun.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

CLOSE = "close"
"""Close cleanly (FIN)."""
RESET = "reset"
"""Close at once, as a dying process does (RST)."""
HANG = "hang"
"""Say nothing more until the other end closes."""

BEGUN = "begun"
"""Wait until the gateway has passed something on."""

Step = bytes | asyncio.Event | str
Script = Sequence[Step]
Result = TypeVar("Result")

DEADLINE_S = 10.0


def run(main: Callable[[], Coroutine[Any, Any, Result]], deadline_s: float = DEADLINE_S) -> Result:
    """Run a test's coroutine on the loop of production; a hang is a failure."""

    async def bounded() -> Result:
        async with asyncio.timeout(deadline_s):
            return await main()

    return uvloop.run(bounded())


async def until(true: Callable[[], bool], what: str = "it") -> None:
    """Wait until something is so; bounded by the deadline of the run."""
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"{what} did not come about")


def answer(
    body: bytes = b'{"ok":true}', status: int = 200, content_type: str = "application/json", extra: str = ""
) -> bytes:
    """A plain answer with a Content-Length."""
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def chunk(payload: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def event(text: str) -> bytes:
    """A chat completion chunk with this content, as a server-sent event."""
    return b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % text.encode()


ROLE = b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
USAGE = b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}\n\n'


def stream(*texts: str, usage: bool = False) -> list[bytes]:
    """A whole stream, one write a step."""
    events = [event(text) for text in texts] + ([USAGE] if usage else []) + [DONE]
    return [SSE_HEAD, *(chunk(one) for one in events), END]


@dataclass
class Got:
    """One request as an engine received it."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.split(b"\r\n", 1)[0]

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Header lines, in order."""
        lines = self.head.split(b"\r\n")[1:-2]
        return [
            (name.decode().lower(), value.strip().decode("latin-1"))
            for name, _, value in (line.partition(b":") for line in lines)
        ]

    def header(self, name: str) -> str | None:
        """The only value of a header; None: it is not there. Fails when it is there twice."""
        values = [value for found, value in self.headers if found == name]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None


@dataclass
class Engine:
    """A scripted upstream. Use as `async with Engine(script, …) as engine`; the last script repeats."""

    scripts: Sequence[Script] = ()
    got: list[Got] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    port: int = 0
    gone: int = 0
    """Requests whose other end closed while the script was hanging or waiting."""
    errors: list[BaseException] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Engine":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            while await self._one(reader, writer, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except RuntimeError as error:  # uvloop's word for writing to what the other end has closed
            if "closed" not in str(error):
                self.errors.append(error)
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        got = Got(head, b"", number)
        length = got.header("content-length")
        assert got.header("transfer-encoding") is None, "the gateway always announces a length"
        if length is not None:
            got.body = await reader.readexactly(int(length))
        self.got.append(got)
        script = self.scripts[min(len(self.got), len(self.scripts)) - 1]
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
            elif isinstance(step, asyncio.Event):
                await self._wait(step, reader)
            elif step == BEGUN:
                await self._wait(self.begun, reader)
            elif step == HANG:
                await self._wait(asyncio.Event(), reader)
            elif step == RESET:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
            else:
                writer.close()
                return False
        return True

    async def _wait(self, event: asyncio.Event, reader: asyncio.StreamReader) -> None:
        """Wait for the event; notices a close of the other end."""
        waiting = asyncio.ensure_future(event.wait())
        closing = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                self.gone += 1
                raise ConnectionResetError
        finally:
            for one in (waiting, closing):
                one.cancel()
            await asyncio.gather(waiting, closing, return_exceptions=True)


@dataclass
class Answer:
    """One answer as a client received it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    raw: bytes
    complete: bool
    """Its framing came to its end."""

    def header(self, name: str) -> str | None:
        """The only value of a header."""
        values = [value for found, value in self.headers if found == name]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None


class Client:
    """A client of bytes. Use as `async with Client(port) as client`."""

    def __init__(self, port: int, *, holds_bytes: int = 1 << 22) -> None:
        self.port = port
        self._holds_bytes = holds_bytes
        """What is taken in without anybody reading."""
        self._kept = b""

    async def __aenter__(self) -> "Client":
        sock = socket.socket()
        if self._holds_bytes < 1 << 20:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._holds_bytes)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=self._holds_bytes)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def send(self, data: bytes) -> None:
        """Write, without waiting."""
        self.writer.write(data)

    async def drip(self, data: bytes, size: int = 1) -> None:
        """Write in small pieces, each a segment of its own."""
        for at in range(0, len(data), size):
            self.writer.write(data[at : at + size])
            await asyncio.sleep(0)

    def reset(self) -> None:
        """Close as a dying process does (RST)."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def answer(self) -> Answer:
        """The next answer, or as much of it as came before the connection closed. Fails when nothing came."""
        head = self._kept
        while b"\r\n\r\n" not in head:
            more = await self._read()
            assert more, f"closed without an answer: {head!r}"
            head += more
        head, _, rest = head.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = int(lines[0].split()[1])
        headers = [
            (name.decode().lower(), value.strip().decode("latin-1"))
            for name, _, value in (line.partition(b":") for line in lines[1:])
        ]
        found = Answer(status, headers, b"", head + b"\r\n\r\n", False)
        if status < 200:
            self._kept = rest
            found.complete = True
            return found
        if found.header("transfer-encoding") == "chunked":
            await self._chunks(found, rest)
        elif found.header("content-length") is not None:
            await self._counted(found, rest, int(found.header("content-length") or 0))
        else:
            while more := await self._read():
                rest += more
            found.body = rest
            found.complete = True
        found.raw += rest
        return found

    async def _read(self) -> bytes:
        try:
            return await self.reader.read(1 << 16)
        except ConnectionError:
            return b""

    async def _counted(self, found: Answer, rest: bytes, length: int) -> None:
        while len(rest) < length:
            more = await self._read()
            if not more:
                break
            rest += more
        found.body, self._kept = rest[:length], rest[length:]
        found.complete = len(found.body) == length

    async def _chunks(self, found: Answer, rest: bytes) -> None:
        while True:
            while b"\r\n" not in rest:
                more = await self._read()
                if not more:
                    return
                rest += more
            line, _, rest = rest.partition(b"\r\n")
            size = int(line, 16)
            while len(rest) < size + 2:
                more = await self._read()
                if not more:
                    found.body += rest[:size]
                    return
                rest += more
            assert rest[size : size + 2] == b"\r\n"
            found.body += rest[:size]
            rest = rest[size + 2 :]
            if size == 0:
                found.complete = True
                self._kept = rest
                return

    async def closed(self) -> bytes:
        """What still comes until the gateway closes."""
        rest, self._kept = self._kept, b""
        while more := await self._read():
            rest += more
        return rest


def request(
    body: bytes = b'{"model":"m","messages":[]}', path: str = "/v1/chat/completions", method: str = "POST",
    extra: str = "",
) -> bytes:  # fmt: skip
    """A whole request."""
    lines = f"Host: test\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}"
    head = f"{method} {path} HTTP/1.1\r\n{lines}\r\n"
    return head.encode() + body


def get(path: str) -> bytes:
    """A GET."""
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


def error_of(body: bytes) -> dict[str, Any]:
    """The error of an answer in OpenAI's shape; fails if it is another shape."""
    found = json.loads(body)
    assert set(found) == {"error"}
    assert set(found["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = found["error"]
    return error


def post(lines: bytes, body: bytes = b"") -> bytes:
    """A POST with these header lines."""
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n" + body
