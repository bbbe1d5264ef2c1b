"""Clients that leave in any phase free the engine, and nothing of an answer is lost on the way."""

import pytest

from penstock.emulator.serve import Running
from tests.emulator.client import CHAT, Connection, ask, chat, serving, until


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["waiting", "prefill", "decode"])
def test_a_client_that_leaves_frees_the_engine(phase: str, stream: bool) -> None:
    """Waiting for a seat, while its prompt is read, or while it generates; streamed or not."""

    async def test(emulator: Running) -> None:
        replica = emulator.apps[0].state.replica
        batcher = replica.batcher
        blocker = await Connection.open(emulator.ports[0])
        if phase == "waiting":
            blocker.send(CHAT, chat(max_tokens=4000))
            await until(lambda: batcher.running == 1)
        connection = await Connection.open(emulator.ports[0])
        connection.send(CHAT, chat("word " * 30, stream=stream, max_tokens=4000))
        await until(lambda: batcher.waiting == 1 if phase == "waiting" else batcher.running == 1)
        if phase == "decode":
            await until(lambda: replica.seen[-1].completion_tokens > 2)
        connection.close()
        await until(lambda: replica.seen[-1].outcome == "aborted")
        if phase == "waiting":
            assert (batcher.running, batcher.waiting) == (1, 0)
        blocker.close()
        await until(lambda: replica.in_flight == 0)
        assert (batcher.running, batcher.waiting, batcher.memory.used_blocks) == (0, 0, 0)

    serving(test, max_num_seqs=1, **({"speed": 0.01} if phase == "prefill" else {}))


def test_streams_at_once_are_all_complete() -> None:
    """Fifty streams over few seats each get all their tokens, in order, once."""

    async def test(emulator: Running) -> None:
        connections = [await Connection.open(emulator.ports[0]) for _ in range(50)]
        for connection in connections:
            connection.send(CHAT, chat(stream=True, max_tokens=30))
        texts = {(await connection.read()).text for connection in connections}
        assert len(texts) == 1
        numbers = [int("".join(filter(str.isdigit, word))) for word in texts.pop().split()]
        assert numbers == list(range(30))
        for connection in connections:
            connection.close()

    serving(test, max_num_seqs=8)


def test_a_full_queue_is_told_before_the_head() -> None:
    """Where the engine's queue is full, even a stream gets an HTTP status."""

    async def test(emulator: Running) -> None:
        batcher = emulator.apps[0].state.replica.batcher
        connections = [await Connection.open(emulator.ports[0]) for _ in range(2)]
        for connection in connections:
            connection.send(CHAT, chat(max_tokens=4000))
        await until(lambda: (batcher.running, batcher.waiting) == (1, 1))
        reply = await ask(emulator.ports[0], CHAT, chat(stream=True))
        assert (reply.status, reply.json["error"]["type"]) == (503, "ServiceUnavailableError")
        for connection in connections:
            connection.close()

    serving(test, max_num_seqs=1, max_waiting=1)


def test_what_does_not_fit_into_memory_is_refused() -> None:
    """A whole answer and a stream are both refused with 400 when the KV cache is too small for them."""

    async def test(emulator: Running) -> None:
        for stream in (True, False):
            reply = await ask(emulator.ports[0], CHAT, chat(stream=stream, max_tokens=100))
            assert (reply.status, reply.json["error"]["param"]) == (400, "input_tokens")

    serving(test, kv_blocks=2)
