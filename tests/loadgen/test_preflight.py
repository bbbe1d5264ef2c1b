"""Before any load the target is asked, and what is wrong is said in words."""

import asyncio
import socket

import pytest

from penstock.loadgen.client import Client, Target, parse_target
from penstock.loadgen.exchange import Timeouts
from penstock.loadgen.preflight import Unready, model_of
from tests.loadgen.scripted import MODELS, Request, Server, plain, run, with_server


def model(answer: bytes, named: str | None = None) -> str:
    """The model found at a target that answers the model list like this."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        assert request.line == "GET /v1/models HTTP/1.1"
        writer.write(answer)

    async def use(server: Server) -> str:
        client = Client(parse_target(server.url), timeouts=Timeouts(first_byte_s=2.0))
        try:
            return await model_of(client, named)
        finally:
            client.close()

    return with_server(script, use)


def test_first_model() -> None:
    """Where none is named, the first of the list is taken."""
    assert model(MODELS) == "tiny"


def test_named_model() -> None:
    """A named model is taken as it is, even where there is no list."""
    assert model(plain(404, b""), "mine") == "mine"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (plain(401, b'{"error":{"code":"unauthorized"}}'), r"refuses the key \(401 unauthorized\). Give one"),
        (plain(200, b'{"data":[]}'), r"lists no model \(an empty list\). Name one with --model"),
        (plain(404, b""), r"lists no model \(404\)"),
        (plain(200, b"<html>"), "lists no model"),
    ],
)
def test_unready(answer: bytes, said: str) -> None:
    """A refused key and a missing model are told with the option that helps."""
    with pytest.raises(Unready, match=said):
        model(answer)


def test_nobody_there() -> None:
    """A target that does not answer is told before anything is sent, even where the model is named."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def main() -> str:
        return await model_of(Client(Target("127.0.0.1", port)), "mine")

    with pytest.raises(Unready, match=r"does not answer \(refused\). Is it running there\?"):
        run(main())
