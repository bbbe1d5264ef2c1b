"""Calls in progress: clients that leave in any phase, refusals, splices, and orders that come late."""

import asyncio
import json
from collections.abc import Callable

import pytest

from penstock.config.schema import GatewayTimeouts
from penstock.core.effects import Cancel, Record, Refuse, Send
from penstock.core.events import Arrived, Began, ClientGone, Failed
from tests.helpers.plane import Rig, serving
from tests.helpers.wire import (
    BEGUN,
    DONE,
    END,
    HANG,
    ROLE,
    SSE_HEAD,
    Client,
    Engine,
    Script,
    answer,
    chunk,
    event,
    request,
    run,
    stream,
    until,
)

STREAM = b'{"model":"m","stream":true}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"

PHASES: dict[str, tuple[Script, bytes, type]] = {
    "before any byte": ([HANG], b'{"model":"m"}', Arrived),
    "behind the head": ([SSE_HEAD, HANG], STREAM, Arrived),
    "behind the role": ([SSE_HEAD + chunk(ROLE), HANG], STREAM, Arrived),
    "in the stream": ([SSE_HEAD + chunk(event("a")), HANG], STREAM, Began),
    "in a plain answer": ([HEAD + b"content-length: 20\r\n\r\n{", HANG], b'{"model":"m"}', Arrived),
    "in a large answer": ([HEAD + b"content-length: 900000\r\n\r\n", b"x" * 600_000, HANG], b'{"model":"m"}', Began),
}


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("what", PHASES)
def test_a_client_that_leaves_frees_its_replica(what: str, how: str) -> None:
    """In every phase: told once, the engine's connection closes at once, nothing is sent again."""

    async def main() -> None:
        script, body, sign = PHASES[what]
        async with Engine([script]) as engine, serving(engine) as rig:
            async with Client(rig.port) as client:
                client.send(request(body))
                await until(lambda: bool(engine.got) and bool(rig.gate.told(sign)))
                if how == "RST":
                    client.reset()
            await until(lambda: engine.gone == 1, "the engine's freedom")
            await until(lambda: engine.open == 0)
            assert len(rig.gate.told(ClientGone)) == 1
            assert not rig.gate.told(Failed)
            assert rig.gate.rows[0][1] == "client_gone"
            assert len(engine.got) == 1

    run(main)


def test_a_client_that_leaves_the_queue_never_reaches_an_engine() -> None:
    """A waiting call ends with its client."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            rig.gate.hold = True
            async with Client(rig.port) as client:
                client.send(request())
                await until(lambda: bool(rig.gate.told(Arrived)))
            await until(lambda: bool(rig.gate.told(ClientGone)))
            assert not engine.got

    run(main)


def test_a_client_that_leaves_while_its_request_is_read_was_never_a_call() -> None:
    """Half a request is nothing."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            for cut in (10, 60, 120, len(request()) - 1):
                async with Client(rig.port) as client:
                    client.send(request()[:cut])
                    await client.writer.drain()
            await until(lambda: rig.plane.counters()["accepted_total"] == 4)
            await until(rig.zero)
            assert not rig.gate.facts

    run(main)


def test_a_client_that_leaves_while_we_connect() -> None:
    """The connecting is given up, and a connection that came about is not leaked."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            for _ in range(20):
                async with Client(rig.port) as client:
                    client.send(request())
                    client.reset()
            await until(rig.zero)
            await until(lambda: engine.open == rig.plane.outbound.open)

    run(main)


@pytest.mark.slow
def test_a_client_that_reads_nothing_is_cut() -> None:
    """After the bound, without having grown: the replica is freed."""

    async def main() -> None:
        piece = chunk(b"data: " + b"x" * 60_000 + b"\n\n")
        script: Script = [SSE_HEAD + chunk(event("a")), *([piece] * 1000), chunk(DONE), END]
        timeouts = GatewayTimeouts(send_s=0.1)
        async with (
            Engine([script]) as engine,
            serving(engine, server={"timeouts": timeouts}) as rig,
            Client(rig.port, holds_bytes=1 << 16) as client,
        ):
            rig.gate.timeouts = (1.0, 0.2, 0.1)
            client.send(request(STREAM))
            await until(lambda: bool(rig.gate.told(ClientGone)), "the cut")
            assert not rig.gate.told(Failed)

    run(main)


def refused(
    order: Callable[[Rig, str], None], script: Script = (HANG,), body: bytes = STREAM, wait_for: type = Arrived
) -> tuple[int, dict[str, str | None], bytes, bool]:
    """What a client gets when the Gate refuses its call at some point."""

    async def main() -> tuple[int, dict[str, str | None], bytes, bool]:
        async with Engine([list(script)]) as engine, serving(engine) as rig, Client(rig.port) as client:
            rig.gate.hold = wait_for is Arrived
            client.send(request(body))
            await until(lambda: bool(rig.gate.told(wait_for)))
            (arrived,) = rig.gate.told(Arrived)
            order(rig, arrived.call.id)
            found = await client.answer()
            rig.gate._calls.setdefault(arrived.call.id, (arrived.call, 1, False))
            rig.plane.perform(rig.gate._record(arrived.call.id, "refused"))
            return found.status, dict(found.headers), found.body, found.complete

    return run(main)


def test_a_refusal_before_an_answer_is_a_status() -> None:
    """With the label, Retry-After rounded up, our ids, and the connection kept."""
    status, headers, body, complete = refused(
        lambda rig, call: rig.plane.perform(Refuse(call, "queue_full", 429, retry_after_s=1.2))
    )
    assert (status, complete) == (429, True)
    assert json.loads(body)["error"]["code"] == "queue_full"
    assert (headers["retry-after"], headers["x-penstock-attempts"]) == ("2", "0")
    assert "connection" not in headers


def test_a_refusals_detail_is_told() -> None:
    """Where the Gate knows more than the table."""
    _, _, body, _ = refused(
        lambda rig, call: rig.plane.perform(Refuse(call, "model_not_found", 404, "No model 'm' here."))
    )
    assert json.loads(body)["error"]["message"] == "No model 'm' here."


def test_a_refusal_in_a_stream_is_an_event_and_frees_the_replica() -> None:
    """Also while its attempt is still under way."""
    script: Script = [SSE_HEAD + chunk(event("a")), HANG]
    status, _, body, complete = refused(
        lambda rig, call: rig.plane.perform(Refuse(call, "idle_timeout", 504)), script, wait_for=Began
    )
    assert (status, complete) == (200, True)
    assert body.startswith(event("a") + b'data: {"error":')
    assert b"[DONE]" not in body


def test_a_call_that_ends_without_an_answer_is_not_left_hanging() -> None:
    """A record without a refusal is a bug of the Gate's; the client still gets an end."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            rig.gate.hold = True
            client.send(request())
            await until(lambda: bool(rig.gate.told(Arrived)))
            rig.plane.perform(rig.gate._record(rig.gate.told(Arrived)[0].call.id, "lost"))
            assert (await client.answer()).status == 500

    run(main)


def test_a_bug_ends_its_call() -> None:
    """`fail` answers 500 and lets go of everything."""

    async def main() -> None:
        async with Engine([[HANG]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request())
            await until(lambda: bool(engine.got))
            id = rig.gate.told(Arrived)[0].call.id
            rig.plane.fail(id)
            assert (await client.answer()).status == 500
            rig.pump.tell(ClientGone(id))
            await until(lambda: engine.gone == 1)

    run(main)


def test_orders_for_calls_that_are_over_do_nothing() -> None:
    """Late and foreign orders are harmless."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request())
            assert (await client.answer()).status == 200
            id = rig.gate.told(Arrived)[0].call.id
            for order in (
                Send(id, 2, "r0", "m", 1, 1, 1, 0),
                Cancel(id, 1),
                Refuse(id, "internal", 500),
                Cancel("nobody", 1),
            ):
                rig.plane.perform(order)
            assert len(engine.got) == 1

    run(main)


def test_a_second_attempt_beside_the_first_loses_to_its_first_content() -> None:
    """Two attempts at once (a hedge): the first content wins, the other is cancelled, the client sees one answer."""

    async def main() -> None:
        slow = Engine([[HANG]])
        quick = Engine([stream("b")])
        async with slow, quick, serving(slow, quick) as rig, Client(rig.port) as client:
            client.send(request(STREAM))
            await until(lambda: bool(slow.got))
            id = rig.gate.told(Arrived)[0].call.id
            rig.plane.perform(Send(id, 2, "r1", "m", 1, 5, 5, 0))
            await until(lambda: bool(rig.gate.told(Began)))
            assert rig.gate.told(Began)[0].attempt == 2
            rig.plane.perform(Cancel(id, 1))
            found = await client.answer()
            assert found.body == event("b") + DONE
            await until(lambda: slow.gone == 1)

    run(main)


SPLICED = [
    ("m", b'{"model":"m","x":1}', b'{"model":"up","x":1}'),
    (
        "m",
        b'{ "messages":["\\"model\\":\\"m\\""], "model" : "m" }',
        b'{ "messages":["\\"model\\":\\"m\\""], "model" : "up" }',
    ),
    ("n", b'{"model":"n"}', b'{"model":"n"}'),
]


@pytest.mark.parametrize("model,sent,got", SPLICED)
def test_the_upstreams_own_name_of_a_model_is_spliced_in(model: str, sent: bytes, got: bytes) -> None:
    """Only where it differs; every other byte as the client sent it."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            rig.gate.model = {"m": "up"}
            client.send(request(sent))
            assert (await client.answer()).status == 200
            assert engine.got[0].body == got

    run(main)


def test_forms_are_spliced_too() -> None:
    """An upload keeps its bytes but for the model."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            rig.gate.model = {"m": "whisper-1"}
            part = b"--b\r\nContent-Disposition: form-data; name="
            form = part + b'"model"\r\n\r\n%b\r\n' + part + b'"file"\r\n\r\n\x00\xff\r\n--b--\r\n'
            body = form % b"m"
            client.send(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body
            )
            assert (await client.answer()).status == 200
            assert engine.got[0].body == form % b"whisper-1"
            assert rig.gate.told(Arrived)[0].call.model == "m"

    run(main)


def test_paths_without_a_model_need_none() -> None:
    """And get none, unless the Gate says one."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request(b'{"text":"x"}', path="/generate"))
            assert (await client.answer()).status == 200
            rig.gate.model = {"": "m"}
            client.send(request(b'{"text":"x"}', path="/tokenize"))
            assert (await client.answer()).status == 200
            assert [got.body for got in engine.got] == [b'{"text":"x"}', b'{"model":"m","text":"x"}']

    run(main)


def test_large_bodies_pass_unharmed() -> None:
    """Megabytes up and down, byte for byte, and nothing is kept afterwards."""

    async def main() -> None:
        up = b'{"model":"m","x":"' + bytes(range(0x23, 0x5B)) * 60_000 + b'"}'
        down = b'{"y":"' + b"0123456789" * 300_000 + b'"}'
        async with Engine([[answer(down)]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request(up))
            found = await client.answer()
            assert engine.got[0].body == up
            assert found.body == down

    run(main)


def test_many_calls_at_once_do_not_mix() -> None:
    """A hundred clients with their own words get their own words back."""

    async def main() -> None:
        async with Engine() as engine:
            engine.scripts = [stream("a", str(number), usage=True) for number in range(100)]
            async with serving(engine) as rig:

                async def one(number: int) -> tuple[int, bytes]:
                    async with Client(rig.port) as client:
                        client.send(request(b'{"model":"m","stream":true,"number":%d}' % number))
                        return number, (await client.answer()).body

                answers = dict(await asyncio.gather(*(one(number) for number in range(100))))
                for index, got in enumerate(engine.got):
                    number = json.loads(got.body)["number"]
                    assert answers[number] == event("a") + event(str(index)) + DONE

    run(main)


def test_a_record_after_the_end_lets_go() -> None:
    """What a call held is gone with its record, whoever ended it."""

    async def main() -> None:
        async with Engine([[BEGUN]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request())
            await until(lambda: bool(engine.got))
            id = rig.gate.told(Arrived)[0].call.id
            rig.plane.perform(Refuse(id, "queue_timeout", 504))
            assert (await client.answer()).status == 504
            assert rig.plane.buffered_bytes == 0
            record = rig.gate._record(id, "queue_timeout")
            assert isinstance(record, Record)
            rig.plane.perform(record)
            assert not rig.plane.exchanges

    run(main)
