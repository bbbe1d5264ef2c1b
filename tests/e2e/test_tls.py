"""TLS on both sides, with certificates made for the test: the data port's, and a replica's behind a proxy of ours."""

import asyncio
import json
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Tree
from tests.helpers.traffic import CHAT, ask, at_rest, chat, pool, post, ready
from tests.helpers.wire import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl"),
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate of 127.0.0.1, and one that is of another name."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, subject in [("right", "IP:127.0.0.1"), ("wrong", "DNS:elsewhere.example")]:
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += ["-days", "2", "-subj", "/CN=penstock test", "-addext", f"subjectAltName={subject}"]
        words += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
        subprocess.run(words, check=True, capture_output=True, timeout=30)
    return folder


def trusting(certificates: Path) -> ssl.SSLContext:
    """A client that trusts the right certificate."""
    return ssl.create_default_context(cafile=str(certificates / "right.crt"))


async def whole(port: int, request: bytes, context: ssl.SSLContext) -> bytes:
    """Everything that comes back over TLS until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(request.replace(b"Host: test", b"Host: test\r\nConnection: close"))
        return await reader.read()
    finally:
        writer.close()


def test_the_data_port_speaks_tls(start: Start, engines: list[str], certificates: Path) -> None:
    """With `tls` chats, streamed and not, come over TLS; plain HTTP and strangers' certificates get nothing."""
    files = {"cert": str(certificates / "right.crt"), "key": str(certificates / "right.key")}
    gateway = start({"tls": files, "pools": [pool(engines[0])]})
    assert f"serves on https://127.0.0.1:{gateway.port}/v1" in gateway.said()

    async def main() -> None:
        await ready(gateway)
        context = trusting(certificates)
        got = await whole(gateway.port, post(chat(5)), context)
        assert got.startswith(b"HTTP/1.1 200 ")
        assert json.loads(got.partition(b"\r\n\r\n")[2])["usage"]["completion_tokens"] == 5
        got = await whole(gateway.port, post(chat(50, stream=True)), context)
        assert b"data: [DONE]" in got
        with pytest.raises(AssertionError, match="closed without an answer"):
            await ask(gateway.port, chat(5))
        with pytest.raises(ssl.SSLCertVerificationError):
            await whole(gateway.port, post(chat(5)), ssl.create_default_context())
        await at_rest(gateway)

    run(main)


def test_a_client_that_leaves_over_tls(start: Start, engines: list[str], certificates: Path) -> None:
    """A client that cuts its TLS connection within a stream frees the replica."""
    files = {"cert": str(certificates / "right.crt"), "key": str(certificates / "right.key")}
    gateway = start({"tls": files, "pools": [pool(engines[3])]})

    async def main() -> None:
        await ready(gateway)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=trusting(certificates))
        writer.write(post(chat(20_000, stream=True)))
        await reader.readuntil(b"data: ")
        writer.transport.abort()
        await at_rest(gateway, 2.0)

    run(main)


def test_files_that_do_not_fit_are_told(start: Start, engines: list[str], certificates: Path) -> None:
    """A key of another certificate ends the start with status 1 and the names of both files."""
    files = {"cert": str(certificates / "right.crt"), "key": str(certificates / "wrong.key")}
    gateway = start({"tls": files, "pools": [pool(engines[0])]})
    assert gateway.wait(20) == 1
    assert "right.crt" in gateway.log()
    assert "wrong.key" in gateway.log()
    assert "Choose another address" not in gateway.log()


class Proxy:
    """TLS in front of an engine."""

    def __init__(self, engine: str, certificates: Path, name: str) -> None:
        self._engine = int(engine.rpartition(":")[2])
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates / f"{name}.crt", certificates / f"{name}.key")
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        engine_reader, engine_writer = await asyncio.open_connection("127.0.0.1", self._engine)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass(reader, engine_writer))
                both.create_task(_pass(engine_reader, writer))
        except* (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()
            engine_writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    raise ConnectionError


def behind_tls(port: int, **tls: object) -> Tree:
    """A pool over a replica at an https address."""
    tree = pool(f"https://127.0.0.1:{port}")
    tree["replicas"][0]["tls"] = tls
    return tree


def test_a_replica_behind_tls(start: Start, engines: list[str], certificates: Path) -> None:
    """A replica whose certificate is trusted serves, streamed and not; a stranger's only where `verify` is off."""

    async def main() -> None:
        async with Proxy(engines[0], certificates, "right") as right, Proxy(engines[1], certificates, "wrong") as wrong:
            ca = str(certificates / "right.crt")
            trees = [behind_tls(right.port, ca=ca), behind_tls(wrong.port, ca=ca), behind_tls(wrong.port, verify=False)]
            for number, tree in enumerate(trees):
                tree["name"] = f"p{number}"
                tree["models"] = [f"m{number}"]
                tree["replicas"][0] |= {"id": f"r{number}", "models": {f"m{number}": "tiny"}}
                tree["queue"] = {"unavailable_wait": "100ms"}
            gateway = start({"pools": trees})
            await asyncio.to_thread(lambda: gateway.port)
            await ready(gateway, 2)
            for model, status in [("m0", 200), ("m1", 503), ("m2", 200)]:
                answer = await ask(gateway.port, chat(5, model=model))
                assert answer.status == status, (model, answer.raw)
            answer = await ask(gateway.port, chat(50, model="m0", stream=True), CHAT)
            assert answer.body.endswith(b"data: [DONE]\n\n")
            await at_rest(gateway)

    run(main, 30.0)
