"""A book behind a Unix socket: who may ask, what is no message, a parent that goes and comes back.

What a store must do stands in tests/contracts/test_lease_stores.py.
"""

import asyncio
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock.adapters.stores.lease_memory import LeaseMemory
from penstock.adapters.stores.lease_socket import MOST_BYTES, LeaseClient, LeaseServer
from penstock.base.leases import Ask, Question, Want
from penstock.core.limits.book import LeaseBook
from tests.helpers.wire import run


def question(number: int, least: int = 1) -> Question:
    """One call is to be let in."""
    return Question(
        "a", number, 3.0, (Ask(("tenant", "t", ""), number, (Want("requests per day", 5, (), 0, least, least),)),)
    )


@asynccontextmanager
async def serving(book: LeaseBook | None = None) -> AsyncIterator[str]:
    """A server; its path, which is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="leases-") as folder:
        server = LeaseServer(LeaseMemory(LeaseBook() if book is None else book, lambda: 90_000.0), f"{folder}/s")
        await server.start()
        try:
            yield f"{folder}/s"
        finally:
            await server.close()


def test_only_its_own_user_may_ask() -> None:
    """The socket has no rights for others, and is gone when the server is."""

    async def main() -> None:
        async with serving() as path:
            assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600  # noqa: ASYNC240 - a test
        assert not Path(path).exists()  # noqa: ASYNC240 - a test

    run(main)


def test_a_client_that_was_interrupted_asks_anew() -> None:
    """Its question was given up: the answer to it is not taken for the answer to the next."""

    async def main() -> None:
        async with serving() as path:
            client = LeaseClient(path)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await client.exchange(question(1))
            reply = await client.exchange(question(2, 3))
            assert reply.answers[0].grants[0].granted == 3
            await client.close()

    run(main)


def test_a_parent_that_comes_back_is_found_again() -> None:
    """While it is away a question is an OSError, at once."""

    async def main() -> None:
        book = LeaseBook()
        with tempfile.TemporaryDirectory(prefix="leases-") as folder:
            path = f"{folder}/s"
            client = LeaseClient(path)
            for number in (1, 4):
                server = LeaseServer(LeaseMemory(book, lambda: 90_000.0), path)
                await server.start()
                assert (await client.exchange(question(number))).answers
                await server.close()
                with pytest.raises(OSError, match=r"closed|refused|No such file|reset"):
                    await client.exchange(question(number + 1))
            await client.close()

    run(main)


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x03abc", (MOST_BYTES + 1).to_bytes(4, "big"), b"\x00\x00"])
def test_what_is_no_message_ends_the_connection(data: bytes) -> None:
    """Nonsense, too long, or cut off: it is closed, and others are served."""

    async def main() -> None:
        async with serving() as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            client = LeaseClient(path)
            assert (await client.exchange(question(1))).answers
            await client.close()

    run(main)
