"""Every fault, seen from a client's socket."""

import asyncio

import pytest

from penstock.emulator.faults import Fault
from penstock.emulator.serve import Running
from tests.emulator.client import CHAT, Connection, Reply, ask, chat, serving, until

STREAM = chat(stream=True, max_tokens=20)
FULL = "ash0 urn1 pea2 ray3"


def under(fault: Fault, value: object = None) -> Reply:
    """What one request gets under a fault; the engine must be free again afterwards, and the next request well."""
    got: list[Reply] = []

    async def test(emulator: Running) -> None:
        state = emulator.apps[0].state
        got.append(await ask(emulator.ports[0], CHAT, value or STREAM))
        await until(lambda: state.replica.in_flight == 0 and state.replica.batcher.running == 0)
        state.faults.replace(())
        after = await ask(emulator.ports[0], CHAT, STREAM)
        assert after.events[-1] == "[DONE]"

    serving(test, faults=(fault,))
    return got[0]


def test_refuse_closes_new_connections() -> None:
    """A connection is accepted and reset before anything is read."""
    reply = under(Fault(kind="refuse"))
    assert reply.status == 0
    assert reply.body == b""


@pytest.mark.parametrize("kind, reset", [("reset_before_head", True), ("close_before_head", False)])
def test_no_answer_at_all(kind: str, reset: bool) -> None:
    """The connection ends by RST or by FIN before any byte of an answer."""
    reply = under(Fault(kind=kind))  # type: ignore[arg-type]
    assert (reply.status, reply.body, reply.reset) == (0, b"", reset)


def test_a_head_without_a_body() -> None:
    """The head promises a body that never comes."""
    reply = under(Fault(kind="close_after_head"))
    assert (reply.status, reply.body, reply.complete) == (200, b"", False)


def test_garbage_is_not_http() -> None:
    """The answer cannot be parsed."""
    assert under(Fault(kind="garbage")).garbled


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_status_with_retry_after(status: int) -> None:
    """An error in OpenAI's shape, with Retry-After."""
    reply = under(Fault(kind="status", status=status, retry_after_s=7))
    assert (reply.status, reply.headers["retry-after"], reply.json["error"]["code"]) == (status, "7", status)


@pytest.mark.parametrize("kind", ["reset_mid_stream", "close_mid_stream", "bad_chunk"])
def test_a_stream_that_dies(kind: str) -> None:
    """Three events come as they should, then the connection ends without the end of the body."""
    reply = under(Fault(kind=kind, after=3))  # type: ignore[arg-type]
    assert reply.text == "ash0 urn1"
    assert len(reply.events) == 3
    assert not reply.complete
    assert reply.garbled == (kind == "bad_chunk")


def test_a_short_stream_dies_before_its_end() -> None:
    """Where there are fewer events than `after`, it dies before [DONE]."""
    reply = under(Fault(kind="close_mid_stream", after=99), chat(stream=True, max_tokens=2))
    assert (reply.text, reply.complete, "[DONE]" in reply.events) == ("ash0 urn1", False, False)


def test_an_error_event() -> None:
    """After three events comes an error, and the stream ends cleanly."""
    reply = under(Fault(kind="error_event", after=3))
    assert reply.complete
    assert '"code":500' in reply.events[3]
    assert reply.events[4:] == ["[DONE]"]


def test_an_error_event_leaves_whole_answers_alone() -> None:
    """There are no events in an answer that is no stream."""
    reply = under(Fault(kind="error_event"), chat(max_tokens=4))
    assert reply.json["choices"][0]["message"]["content"] == FULL


@pytest.mark.parametrize("kind", ["truncated", "close_mid_stream", "reset_mid_stream", "bad_chunk"])
def test_a_whole_answer_is_cut_in_half(kind: str) -> None:
    """An answer that is no stream comes to its half."""
    reply = under(Fault(kind=kind), chat(max_tokens=4))  # type: ignore[arg-type]
    assert reply.status == 200 or reply.garbled
    assert not reply.complete
    assert FULL.encode() not in reply.body or not reply.body.endswith(b"}")


def test_a_slow_drip_is_slow_but_whole() -> None:
    """The answer comes byte by byte and is complete."""
    reply = under(Fault(kind="slow_drip", delay_s=0), chat(max_tokens=2))
    assert reply.complete
    assert reply.json["choices"][0]["message"]["content"] == "ash0 urn1"


@pytest.mark.parametrize("kind", ["hang_before_head", "hang_mid_stream"])
def test_a_hang_lasts_until_the_client_leaves(kind: str) -> None:
    """Nothing comes any more, health still answers, and leaving frees the engine."""

    async def test(emulator: Running) -> None:
        replica, faults = emulator.apps[0].state.replica, emulator.apps[0].state.faults
        connection = await Connection.open(emulator.ports[0])
        connection.send(CHAT, STREAM)
        await until(lambda: faults.struck == [1])
        assert (await ask(emulator.ports[0], "/health")).status == 200
        if kind == "hang_mid_stream":
            reply = await connection.read(lambda reply: reply.body.count(b"\n\n") >= 3)
            assert len(reply.events) == 3
        connection.close()
        await until(lambda: replica.in_flight == 0 and replica.batcher.running == 0)

    serving(test, faults=(Fault(kind=kind, after=3),))  # type: ignore[arg-type]


def test_wrong_metrics_are_nonsense() -> None:
    """/metrics answers with 200 and no metrics; other paths are well."""

    async def test(emulator: Running) -> None:
        assert b"NaN" in (await ask(emulator.ports[0], "/metrics")).body
        assert (await ask(emulator.ports[0], "/v1/models")).status == 200

    serving(test, faults=(Fault(kind="wrong_metrics"),))


@pytest.mark.parametrize(("claim", "waiting"), [("idle", b"0.0"), ("full", b"100000.0")])
def test_lying_metrics_are_in_good_order(claim: str, waiting: bytes) -> None:
    """/metrics answers with numbers that can be read and are not so; other paths are well."""

    async def test(emulator: Running) -> None:
        page = (await ask(emulator.ports[0], "/metrics")).body
        assert b'vllm:num_requests_waiting{engine="0"} ' + waiting in page
        assert (await ask(emulator.ports[0], "/v1/models")).status == 200

    serving(test, faults=(Fault(kind="lying_metrics", claim=claim),))  # type: ignore[arg-type]


def test_a_flapping_replica_resets_and_serves_in_turn() -> None:
    """Within a few periods a client has seen both, at its calls and at its health checks."""

    async def test(emulator: Running) -> None:
        for path in ("/v1/models", "/health"):
            seen: set[int] = set()

            async def both(path: str = path, seen: set[int] = seen) -> bool:
                seen.add((await ask(emulator.ports[0], path)).status)
                return seen == {0, 200}

            async with asyncio.timeout(5.0):
                while not await both():
                    pass

    serving(test, faults=(Fault(kind="flap", period_s=0.02),))


def test_faults_come_and_go_at_run_time() -> None:
    """POST /emulator/faults replaces the list, GET shows it with its counts, and nothing hits these two."""

    async def test(emulator: Running) -> None:
        port, path = emulator.ports[0], "/emulator/faults"
        await ask(port, path, [{"kind": "status", "status": 503, "path": "/"}, {"kind": "slow", "factor": 2}])
        assert (await ask(port, "/health")).status == 503
        shown = (await ask(port, path)).json
        assert [(fault["kind"], fault["struck"]) for fault in shown] == [("status", 1), ("slow", 0)]
        assert (await ask(port, path, [{"kind": "explode"}])).status == 400
        assert (await ask(port, path, [])).json == []
        assert (await ask(port, "/health")).status == 200

    serving(test)
