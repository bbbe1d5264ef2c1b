"""The data plane as a whole: listening, TLS, reloading, draining."""

import asyncio
import json
import ssl
import subprocess
from pathlib import Path

import msgspec
import pytest

from penstock.base.nouns import Replica
from penstock.config.schema import Access, LimitSpec, ServerSpec, Settings, TlsConf, UpstreamTlsConf
from penstock.core.events import Arrived, ClientGone, Failed
from tests.helpers.plane import serving
from tests.helpers.wire import (
    DONE,
    HANG,
    SSE_HEAD,
    Client,
    Engine,
    Script,
    answer,
    chunk,
    event,
    get,
    request,
    run,
    stream,
    until,
)

STREAM = b'{"model":"m","stream":true}'


def test_a_taken_address_is_named() -> None:
    """Who starts it learns which address cannot be had."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            spec = msgspec.structs.replace(rig.settings.server, listen=("127.0.0.1", rig.port))
            rig.plane.server = spec
            with pytest.raises(OSError, match=f"127.0.0.1:{rig.port}"):
                await rig.plane.start()

    run(main)


def test_a_reload_changes_what_it_says_and_drops_nothing() -> None:
    """New keys and limits hold for the next request of the same connection; the stream under way goes on."""

    async def main() -> None:
        go = asyncio.Event()
        script: Script = [SSE_HEAD + chunk(event("a")), go, *stream("b")[1:]]
        engine = Engine([script, [answer()]])
        async with engine, serving(engine) as rig, Client(rig.port) as client, Client(rig.port) as streaming:
            streaming.send(request(STREAM))
            await until(rig.gate.begun.is_set)
            server = ServerSpec(listen=rig.settings.server.listen, open=False, limits=LimitSpec(body_bytes=50))
            rig.plane.apply(Settings(server=server, replicas=rig.settings.replicas))
            client.send(get("/v1/models"))
            assert (await client.answer()).status == 401
            client.send(get("/health"))
            assert (await client.answer()).status == 200
            go.set()
            assert (await streaming.answer()).body == event("a") + event("b") + DONE

    run(main)


def test_draining_lets_answers_finish_and_takes_nothing_new() -> None:
    """Streams end as they should; kept and new connections get 503 and close; then the kernel refuses."""

    async def main() -> None:
        go = asyncio.Event()
        script: Script = [SSE_HEAD + chunk(event("a")), go, *stream("b")[1:]]
        async with Engine([script, [answer()]]) as engine, serving(engine) as rig:
            async with Client(rig.port) as streaming, Client(rig.port) as late, Client(rig.port) as idle:
                streaming.send(request(STREAM))
                await until(rig.gate.begun.is_set)
                late.send(request()[:30])
                await until(lambda: rig.plane.counters()["connections"] == 3)
                await until(lambda: any(inbound._buffer for inbound in rig.plane._connections))
                drain = asyncio.ensure_future(rig.plane.drain(5.0))
                assert await idle.closed() == b""
                late.send(request()[30:])
                found = await late.answer()
                assert (found.status, found.header("connection")) == (503, "close")
                assert json.loads(found.body)["error"]["code"] == "shutting_down"
                async with Client(rig.port) as new:
                    new.send(request())
                    assert (await new.answer()).status == 503
                assert not drain.done()
                go.set()
                assert (await streaming.answer()).body == event("a") + event("b") + DONE
                late.writer.close()
                await drain
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", rig.port)
            assert len(rig.gate.told(Arrived)) == 1

    run(main)


def test_a_drain_that_takes_too_long_cuts_with_a_clear_error() -> None:
    """A stream gets an error event, a call without an answer a 503, a waiting call a 503; then nothing is left."""

    async def main() -> None:
        scripts: list[Script] = [[SSE_HEAD + chunk(event("a")), HANG], [HANG]]
        async with Engine(scripts) as engine, serving(engine) as rig:
            async with Client(rig.port) as streaming, Client(rig.port) as waiting, Client(rig.port) as queued:
                streaming.send(request(STREAM))
                await until(rig.gate.begun.is_set)
                waiting.send(request())
                await until(lambda: len(engine.got) == 2)
                rig.gate.hold = True
                queued.send(request())
                await until(lambda: len(rig.gate.told(Arrived)) == 3)
                rig.gate.attempts = 1
                drain = asyncio.ensure_future(rig.plane.drain(0.05))
                found = await streaming.answer()
                assert found.body.startswith(event("a"))
                assert json.loads(found.body[len(event("a")) + 6 :])["error"]["code"] == "cut_by_shutdown"
                found = await waiting.answer()
                assert (found.status, json.loads(found.body)["error"]["code"]) == (503, "cut_by_shutdown")
                found = await queued.answer()
                assert (found.status, json.loads(found.body)["error"]["code"]) == (503, "shutting_down")
                await drain
            assert engine.gone == 2
            assert len(rig.gate.told(Failed)) == 2
            assert len(rig.gate.told(ClientGone)) == 1

    run(main)


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for localhost, and its key."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", key, "-out", cert,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.mark.slow
def test_tls_on_both_sides(tmp_path: Path) -> None:
    """A gateway that serves HTTPS is the replica of another one that checks its certificate; a client in front of both
    sees the engine's answers, plain and streamed, and one with the wrong CA gets 502."""
    cert, key = certificate(tmp_path)

    async def main() -> None:
        server = {"tls": TlsConf(cert=cert, key=key)}
        async with Engine([[answer(b'{"n":1}')], stream("a")]) as engine:  # noqa: SIM117
            async with serving(engine, server=server) as inner:
                replica = Replica(id="inner", url=f"https://localhost:{inner.port}", pool="p")
                access = {"inner": Access(tls=UpstreamTlsConf(ca=cert))}
                async with serving(replicas=(replica,), access=access) as outer, Client(outer.port) as client:
                    client.send(request())
                    assert (await client.answer()).body == b'{"n":1}'
                    client.send(request(STREAM))
                    assert (await client.answer()).body == event("a") + DONE
                assert engine.got[0].header("x-forwarded-proto") == "https"
                async with serving(replicas=(replica,)) as outer, Client(outer.port) as client:
                    outer.gate.attempts = 1
                    client.send(request())
                    assert (await client.answer()).status == 502
                    assert outer.gate.told(Failed)[0].label == "connect_refused"
                access = {"inner": Access(tls=UpstreamTlsConf(verify=False))}
                async with serving(replicas=(replica,), access=access) as outer, Client(outer.port) as client:
                    client.send(get("/health"))
                    assert (await client.answer()).status == 200

    run(main)


@pytest.mark.slow
def test_a_certificate_is_held_against_the_name_that_is_given(tmp_path: Path) -> None:
    """A replica that was found by its address shows a certificate for a name: it is trusted under that name alone."""
    cert, key = certificate(tmp_path)

    async def main() -> None:
        async with (
            Engine([[answer()]]) as engine,
            serving(engine, server={"tls": TlsConf(cert=cert, key=key)}) as inner,
        ):
            replica = Replica(id="inner", url=f"https://127.0.0.1:{inner.port}", pool="p")
            for name, status in ((None, 502), ("localhost", 200), ("other.test", 502)):
                access = {"inner": Access(tls=UpstreamTlsConf(ca=cert, server_name=name))}
                async with serving(replicas=(replica,), access=access) as outer, Client(outer.port) as client:
                    outer.gate.attempts = 1
                    client.send(request())
                    assert (await client.answer()).status == status

    run(main)


@pytest.mark.slow
def test_a_tls_client_gets_its_errors_too(tmp_path: Path) -> None:
    """An early refusal over TLS is readable and closes."""
    cert, key = certificate(tmp_path)

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine, server={"tls": TlsConf(cert=cert, key=key)}) as rig:
            context = ssl.create_default_context(cafile=cert)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", rig.port, ssl=context, server_hostname="localhost"
            )
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
            writer.close()

    run(main)


def test_files_of_tls_that_are_missing_are_an_error(tmp_path: Path) -> None:
    """Starting fails at once."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            tls = TlsConf(cert=str(tmp_path / "none"), key=str(tmp_path / "none"))
            rig.plane.server = msgspec.structs.replace(rig.settings.server, tls=tls)
            with pytest.raises(FileNotFoundError):
                await rig.plane.start()

    run(main)


def test_proxies_are_trusted_by_address_or_network() -> None:
    """Only the listed ones."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine:
            for trusted, wanted in (
                (("127.0.0.0/8",), "1.2.3.4, 127.0.0.1"),
                (("10.0.0.1",), "127.0.0.1"),
                ((), "127.0.0.1"),
            ):
                async with serving(engine, server={"trusted_proxies": trusted}) as rig, Client(rig.port) as client:
                    client.send(request(extra="X-Forwarded-For: 1.2.3.4\r\n"))
                    assert (await client.answer()).status == 200
                    assert engine.got[-1].header("x-forwarded-for") == wanted

    run(main)


def test_two_planes_can_share_a_port() -> None:
    """With `reuse_port`, as several workers do."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            rig.plane.server = msgspec.structs.replace(rig.settings.server, listen=("127.0.0.1", 0))
            await rig.plane.start(reuse_port=True)
            first, second = rig.plane.addresses
            async with Client(second[1]) as client:
                client.send(request())
                assert (await client.answer()).status == 200
            rig.plane.server = msgspec.structs.replace(rig.settings.server, listen=second)
            await rig.plane.start(reuse_port=True)
            assert rig.plane.addresses[2] == second
            assert first != second

    run(main)
