"""The client against a real server on loopback: times, connections, TLS, cancellation, and a name for every failure."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest

from penstock.loadgen.answer import Answer
from penstock.loadgen.client import Client, Target, parse_target, tls_context
from penstock.loadgen.exchange import Timeouts
from tests.loadgen.scripted import (
    DONE,
    ROLE,
    STREAM_HEAD,
    TLS,
    Request,
    Server,
    always,
    piece,
    plain,
    run,
    stream,
    with_server,
)

PATH = "/v1/chat/completions"


def asked(
    script: Callable[[Request, asyncio.StreamWriter], Awaitable[None]], timeouts: Timeouts | None = None
) -> Answer:
    """The answer to one request to a server with this script."""

    async def use(server: Server) -> Answer:
        client = Client(parse_target(server.url), timeouts=timeouts)
        try:
            async with asyncio.timeout(5):
                return await client.ask("POST", PATH, b"{}")
        finally:
            client.close()

    return with_server(script, use)


@pytest.mark.parametrize(
    ("url", "target", "shown"),
    [
        ("http://127.0.0.1:8080", Target("127.0.0.1", 8080), "http://127.0.0.1:8080"),
        ("http://localhost/v1/", Target("localhost", 80), "http://localhost"),
        ("https://a.example/base/v1", Target("a.example", 443, True, "/base"), "https://a.example/base"),
        ("http://[::1]:90/x/", Target("::1", 90, False, "/x"), "http://[::1]:90/x"),
    ],
)
def test_targets(url: str, target: Target, shown: str) -> None:
    """An address may have a base path, a trailing /v1, an IPv6 host."""
    assert parse_target(url) == target
    assert target.url == shown


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://a/?x=1", "http://a b",
        "http://a\r\n", "http://a..b",
    ],
)  # fmt: skip
def test_bad_targets(url: str) -> None:
    """What is no address is refused with the form that is wanted."""
    with pytest.raises(ValueError, match="write http://HOST:PORT"):
        parse_target(url)


def test_no_password_in_the_address() -> None:
    """A password in an address is refused: it would be shown in reports."""
    with pytest.raises(ValueError, match="--key"):
        parse_target("http://user:secret@a")


def test_request_and_key() -> None:
    """The request carries host, key, length and body, below the target's base path."""

    async def use(server: Server) -> None:
        client = Client(parse_target(server.url + "/base/v1"), key="sk-demo")
        await client.ask("POST", PATH, b'{"a":1}')
        await client.ask("GET", "/v1/models")
        client.close()
        post, get = server.requests
        assert post.line == "POST /base/v1/chat/completions HTTP/1.1"
        assert post.headers["host"] == f"127.0.0.1:{server.port}"
        assert post.headers["authorization"] == "Bearer sk-demo"
        assert post.raw == b'{"a":1}'
        assert "content-length" not in get.headers

    with_server(always(plain(200, b"{}")), use)


def test_key_cannot_split_the_head() -> None:
    """A key with a line break is refused."""

    async def main() -> None:
        Client(Target("127.0.0.1", 1), key="a\r\nx: y")

    with pytest.raises(ValueError, match="header"):
        run(main())


def test_times_of_a_stream() -> None:
    """Time to first token ends with the content, not with the head or the role; gaps lie between content events."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        for part in (STREAM_HEAD + b"\r\n", ROLE, piece("a"), piece("b")):
            writer.write(part)
            await asyncio.sleep(0.02)
        writer.write(DONE)

    answer = asked(script)
    assert answer.error == ""
    assert answer.ttft_s is not None
    assert answer.ttft_s >= 0.03  # two pauses of 20 ms, by a clock of whole milliseconds
    assert len(answer.gaps_s) == 1
    assert answer.ttft_s + answer.gaps_s[0] < answer.e2e_s
    assert answer.e2e_s >= 0.07


def test_kept_connection() -> None:
    """One after the other, requests use one connection."""

    async def use(server: Server) -> None:
        client = Client(parse_target(server.url))
        for _ in range(3):
            assert (await client.ask("POST", PATH, b"{}")).error == ""
        assert (server.connections, client.reconnects) == (1, 0)
        await asyncio.gather(*(client.ask("POST", PATH, b"{}") for _ in range(3)))
        assert server.connections == 3
        client.close()

    with_server(always(stream("a")), use)


def test_stale_connection() -> None:
    """A kept connection that the target closes under a request costs a second try, which is counted."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.raw == b"close":
            writer.transport.abort()
        else:
            writer.write(plain(200, b"{}"))

    async def use(server: Server) -> None:
        client = Client(parse_target(server.url))
        assert (await client.ask("POST", PATH, b"first")).error == ""
        answer = await client.ask("POST", PATH, b"close")
        assert answer.error in ("closed_early", "reset")  # the new connection was closed as well: that is an error
        assert (client.reconnects, server.connections) == (1, 2)
        client.close()

    with_server(script, use)


@pytest.mark.parametrize(
    ("limits", "reply", "error"),
    [
        (Timeouts(first_byte_s=0.03), b"", "first_byte_timeout"),
        (Timeouts(idle_s=0.03), STREAM_HEAD + b"\r\n" + piece("a"), "idle_timeout"),
    ],
)
def test_hangs(limits: Timeouts, reply: bytes, error: str) -> None:
    """A target that stops talking costs the limit of that phase, no more."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await asyncio.Event().wait()

    assert asked(script, limits).error == error


def test_truncated() -> None:
    """A stream whose connection is closed before [DONE] is truncated, with what it brought counted."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"\r\n" + piece("a") + piece("b"))
        writer.close()

    answer = asked(script)
    assert (answer.error, answer.pieces) == ("truncated", 2)


def test_refused() -> None:
    """Nobody at the port is told as refused, under one address or several of a name."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def main() -> list[str]:
        clients = [Client(Target(host, port)) for host in ("127.0.0.1", "localhost")]
        return [(await client.ask("GET", "/v1/models")).error for client in clients]

    assert run(main()) == ["refused", "refused"]


def test_unreachable() -> None:
    """An address to which the system opens no connection is told as a failed one."""

    async def main() -> str:
        return (await Client(Target("255.255.255.255", 80)).ask("GET", "/v1/models")).error

    assert run(main()) == "connect_failed"


def test_cancelled() -> None:
    """A request that is given up closes its connection, so that the target can stop."""

    async def use(server: Server) -> None:
        client = Client(parse_target(server.url))
        task = asyncio.get_running_loop().create_task(client.ask("POST", PATH, b"{}"))
        async with asyncio.timeout(5):
            await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await server.left.wait()
        assert not client._pool.connections

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"\r\n" + piece("a"))
        await asyncio.Event().wait()

    with_server(script, use)


@pytest.mark.parametrize(
    ("context", "error"),
    [
        (lambda: tls_context(str(TLS / "cert.pem")), ""),
        (lambda: tls_context(verify=False), ""),
        (tls_context, "tls_failed"),
    ],
    ids=["authority", "insecure", "unknown"],
)
def test_tls(context: Callable[[], ssl.SSLContext], error: str) -> None:
    """An https target is trusted by its authority, or on demand without; a stranger is not."""

    async def use(server: Server) -> str:
        client = Client(Target("127.0.0.1", server.port, tls=True), tls=context())
        answer = await client.ask("POST", PATH, b"{}")
        client.close()
        return answer.error

    assert with_server(always(stream("a")), use, tls=True) == error


def test_handshake_that_hangs() -> None:
    """A port that accepts and never shakes hands costs the connect limit."""

    async def use(server: Server) -> str:
        target = Target("127.0.0.1", server.port, tls=True)
        client = Client(target, timeouts=Timeouts(connect_s=0.03), tls=tls_context(verify=False))
        return (await client.ask("POST", PATH, b"{}")).error

    assert with_server(always(b""), use) == "connect_timeout"
