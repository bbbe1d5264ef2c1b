"""Small requests of our own."""

import pytest

from tests.helpers.plane import Rig, serving
from tests.helpers.wire import CLOSE, END, HANG, Engine, Script, answer, chunk, run, until

HEAD = b"HTTP/1.1 200 OK\r\n"


async def fetch(rig: Rig, timeout_s: float = 1.0, max_bytes: int = 1000, port: int | None = None) -> tuple[int, bytes]:
    """A page of the first replica."""
    return await rig.plane.outbound.fetch("r0", "/health", port, timeout_s, max_bytes)


@pytest.mark.parametrize(
    "script",
    [
        [answer(b"page")],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"page")],
        [HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk(b"pa"), chunk(b"ge") + END],
        [HEAD + b"\r\npa", b"ge", CLOSE],
        [b"HT", b"TP/1.1 200 OK\r\ncontent-length: 4\r\n\r", b"\npage"],
    ],
    ids=["counted", "interim", "chunked", "until close", "in pieces"],
)
def test_a_page_is_fetched(script: Script) -> None:
    """Whatever its framing; nothing stays open."""

    async def main() -> None:
        async with Engine([script]) as engine, serving(engine) as rig:
            assert await fetch(rig) == (200, b"page")
            assert engine.got[0].line == b"GET /health HTTP/1.1"
            assert engine.got[0].header("connection") == "close"
            await until(lambda: rig.plane.outbound.open == 0)

    run(main)


@pytest.mark.parametrize(
    "script,error",
    [
        ([answer(b"x" * 2000)], ValueError),
        ([b"nonsense\r\n\r\n", HANG], ValueError),
        ([HEAD + b"x: y\r\n" * 20_000, HANG], ValueError),
        ([HEAD + b"content-length: 10\r\n\r\npage", CLOSE], OSError),
        ([CLOSE], OSError),
        ([HANG], TimeoutError),
        ([HEAD + b"content-length: 10\r\n\r\npage", HANG], TimeoutError),
    ],
    ids=["too large", "garbage", "endless head", "half", "nothing", "silence", "half and silence"],
)
def test_a_page_that_fails_raises(script: Script, error: type[Exception]) -> None:
    """With an error that says which, and nothing stays open."""

    async def main() -> None:
        async with Engine([script]) as engine, serving(engine) as rig:
            with pytest.raises(error):
                await fetch(rig, timeout_s=0.1)
            await until(lambda: rig.plane.outbound.open == 0)

    run(main)


def test_another_port_and_an_unknown_replica() -> None:
    """A probe may ask another port; nobody answers for a replica that is not there."""

    async def main() -> None:
        async with Engine([[answer(b"one")]]) as engine, Engine([[answer(b"two")]]) as other, serving(engine) as rig:
            assert await fetch(rig, port=other.port) == (200, b"two")
            with pytest.raises(KeyError):
                await rig.plane.outbound.fetch("nobody", "/", None, 1.0, 10)

    run(main)


def test_closing_stops_what_runs() -> None:
    """A fetch under way ends with the plane."""

    async def main() -> None:
        async with Engine([[HANG]]) as engine, serving(engine) as rig:

            async def forever() -> None:
                await fetch(rig, timeout_s=100)

            task = rig.plane.outbound.spawn(forever())
            await until(lambda: len(engine.got) == 1)
            await rig.plane.outbound.close()
            assert task.cancelled()

    run(main)
