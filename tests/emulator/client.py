"""A raw HTTP client for the emulator's tests: what came, byte by byte, and how it ended."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httptools
import msgspec

from penstock.emulator.serve import Running, running
from penstock.emulator.spec import EmulatorSpec
from penstock.engine.perf import PRESETS

CHAT = "/v1/chat/completions"
LIMIT_S = 10.0


def spec(**changes: Any) -> EmulatorSpec:
    """An emulator that needs 0.2 ms a token."""
    return EmulatorSpec(model="tiny", cost=PRESETS["fast"], **changes)


def serving(test: Callable[[Running], Coroutine[Any, Any, None]], **changes: Any) -> None:
    """Run a test against one emulator on a port of its own."""

    async def main() -> None:
        async with asyncio.timeout(LIMIT_S), running([spec(**changes)]) as emulator:
            await test(emulator)

    asyncio.run(main())


def chat(text: str = "Hello there", **fields: Any) -> dict[str, Any]:
    """A chat request of one message."""
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], **fields}


class Reply:
    """A response as far as it came."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        """The message ended as HTTP says it should."""
        self.reset = False
        self.garbled = False

    # what httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self.body += body

    def on_message_complete(self) -> None:
        """The end."""
        self.complete = True

    # what tests ask

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[str]:
        """The data of its server-sent events."""
        parts = self.body.decode().split("\n\n")
        return [line[6:] for part in parts for line in part.split("\n") if line.startswith("data: ")]

    @property
    def text(self) -> str:
        """The text that a chat stream said."""
        chunks = [msgspec.json.decode(event) for event in self.events if event.startswith('{"id"')]
        return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


class Connection:
    """One connection to an emulator."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, path: str, value: Any = None, method: str = "", headers: str = "") -> None:
        """Send one request; with a value it is a POST of it as JSON, bytes go as they are."""
        body = b"" if value is None else value if isinstance(value, bytes) else msgspec.json.encode(value)
        method = method or ("GET" if value is None else "POST")
        kind = "" if "content-type" in headers else "content-type: application/json\r\n"
        head = f"{method} {path} HTTP/1.1\r\nhost: test\r\n{kind}{headers}content-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)

    async def read(self, stop: Callable[[Reply], bool] = lambda reply: False) -> Reply:
        """Read a response to its end, or until `stop` says so."""
        reply = Reply()
        parser = httptools.HttpResponseParser(reply)
        while not reply.complete and not stop(reply):
            try:
                data = await self.reader.read(65536)
            except ConnectionResetError:
                reply.reset = True
                break
            if not data:
                break
            try:
                parser.feed_data(data)
            except httptools.HttpParserError:
                reply.garbled = True
                break
        reply.status = 0 if reply.garbled else parser.get_status_code()
        return reply

    def close(self) -> None:
        """Leave."""
        self.writer.close()


async def ask(port: int, path: str, value: Any = None, method: str = "", headers: str = "") -> Reply:
    """One request on a connection of its own."""
    connection = await Connection.open(port)
    try:
        connection.send(path, value, method, headers)
        return await connection.read()
    finally:
        connection.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds; the test's time limit bounds it."""
    while not condition():  # noqa: ASYNC110  what is waited for has no event of its own
        await asyncio.sleep(0.001)
