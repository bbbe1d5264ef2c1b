"""A real HTTP server on a free loopback port whose answers are scripts: raw bytes, pauses until told, closes."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop

T = TypeVar("T")
TLS = Path(__file__).parent / "tls"


class Request:
    """What the server read."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.line, _, rest = head.decode().partition("\r\n")
        self.path = self.line.split(" ")[1]
        self.headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in rest.splitlines() if line)}
        self.raw = body

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body."""
        decoded: dict[str, Any] = msgspec.json.decode(self.raw)
        return decoded


Script = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Runs a script for every request; counts connections, and those that their clients left."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[Request] = []
        self.connections = 0
        self.asked, self.left = asyncio.Event(), asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a port that the system chooses."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Close everything and wait for it."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                request = Request(head, b"")
                request.raw = await reader.readexactly(int(request.headers.get("content-length", "0")))
                self.requests.append(request)
                self.asked.set()
                watcher = asyncio.get_running_loop().create_task(self._watch(reader))
                try:
                    await self._script(request, writer)
                finally:
                    watcher.cancel()
                    await asyncio.gather(watcher, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        while not reader.at_eof():  # noqa: ASYNC110, the stream has no event for its end, and to read would steal bytes
            await asyncio.sleep(0.001)
        self.left.set()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop, as `penstock load` does."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def with_server(script: Script, use: Callable[[Server], Awaitable[T]], tls: bool = False) -> T:
    """Run `use` against a server with this script."""

    async def main() -> T:
        server = Server(script)
        context = None
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
        await server.start(context)
        try:
            return await use(server)
        finally:
            await server.stop()

    return run(main())


def in_thread(script: Script, use: Callable[[str], T]) -> T:
    """Run `use` with the server's URL while the server runs in another thread: for what makes its own loop."""
    ready, stop = threading.Event(), asyncio.Event()
    place: list[Any] = []

    async def main() -> None:
        server = Server(script)
        await server.start()
        place.extend((asyncio.get_running_loop(), server.url))
        ready.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(50)
        return use(place[1])
    finally:
        place[0].call_soon_threadsafe(stop.set)
        thread.join(50)


# ===== what OpenAI endpoints send =====


def plain(status: int, body: bytes, headers: bytes = b"") -> bytes:
    """A whole answer with a length."""
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n%b\r\n%b" % (status, len(body), headers, body)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: str) -> bytes:
    """One event as one chunk."""
    return chunk(f"data: {data}\n\n".encode())


def piece(text: str) -> bytes:
    """One content event of a chat stream."""
    return event(msgspec.json.encode({"choices": [{"index": 0, "delta": {"content": text}}]}).decode())


ROLE = event('{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}')
DONE = event("[DONE]") + b"0\r\n\r\n"


def usage(prompt: int, output: int, cached: int | None = None) -> bytes:
    """The last chunk of a stream with include_usage."""
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    numbers = {"prompt_tokens": prompt, "completion_tokens": output, **details}
    return event(msgspec.json.encode({"choices": [], "usage": numbers}).decode())


def stream(*texts: str, headers: bytes = b"") -> bytes:
    """A whole chat stream."""
    parts: Iterable[bytes] = (piece(text) for text in texts)
    return STREAM_HEAD + headers + b"\r\n" + ROLE + b"".join(parts) + usage(7, len(texts), 3) + DONE


MODELS = plain(200, b'{"object":"list","data":[{"id":"tiny","object":"model"}]}')


def always(answer: bytes) -> Script:
    """A script that answers every request with these bytes, and the model list with a model."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(MODELS if request.path.endswith("/v1/models") else answer)
        await writer.drain()

    return script
