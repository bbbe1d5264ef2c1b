"""A worker in this process, at one end of a channel: what it is told holds, what holds with it is told."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from penstock.base.nouns import Replica
from penstock.config.load import load
from penstock.config.schema import Settings
from penstock.core.events import Probed
from penstock.gateway.processes.channel import Channel
from penstock.gateway.processes.words import (
    Answer,
    Ask,
    Begin,
    Down,
    Explained,
    Halt,
    Report,
    Settle,
    Shared,
    Snapshot,
    Told,
    Up,
)
from penstock.gateway.processes.worker import CALM_S, ROOM, TICK_S, Worker, own_part
from tests.helpers.wire import Client, Engine, answer, request, run, until

TEXT = """
listen: 127.0.0.1:0
admin: null
limits: {{connections: 101, body: 1MiB, buffered: 64MiB}}
queue: {{max: 11}}
{more}
pools: [{{name: p, models: [m], replicas: [{{url: "{url}", id: r, models: [m], max_concurrent_requests: 8}}]}}]
"""


def settings_of(url: str = "http://127.0.0.1:9", more: str = "") -> Settings:
    """A pool of one replica."""
    return load(TEXT.format(url=url, more=more), {}, lambda path: Path(path).read_text())


class Upside:
    """The parent's end."""

    def __init__(self) -> None:
        self.words: list[Up] = []
        self.closed = asyncio.Event()
        self.channel: Channel[Up]

    def last(self) -> Report | None:
        """The last report."""
        return next((word for word in reversed(self.words) if isinstance(word, Report)), None)

    async def ask(self, **asked: object) -> bytes:
        """The answer to a question."""
        before = len(self.words)
        self.channel.tell(Ask(7, **asked))  # type: ignore[arg-type]
        await until(lambda: any(isinstance(word, Answer) for word in self.words[before:]), "an answer")
        return next(word.body for word in self.words[before:] if isinstance(word, Answer))


@asynccontextmanager
async def working(settings: Settings, worker: int = 1, workers: int = 2) -> AsyncIterator[tuple[Worker, Upside]]:
    """A worker that serves, and the parent's end; it holds nothing at the end."""
    ours, theirs = socket.socketpair()
    up = Upside()
    up.channel = await Channel.over(ours, Up, up.words.append, up.closed.set)
    made: list[Worker] = []
    down: Channel[Down] = await Channel.over(theirs, Down, lambda word: made[0].heard(word), up.closed.set)
    made.append(Worker(Begin(worker, workers, 1, settings), down))
    await made[0].start()
    try:
        yield made[0], up
    finally:
        await made[0].stop()
        up.channel.close()
        down.close()


def test_its_part_of_the_settings() -> None:
    """Bounds are divided, its journal is its own file, and what is the parent's is not there."""
    settings = settings_of(more="journal: /tmp/turns")
    parts = [own_part(settings, number, 2) for number in (1, 2)]
    assert [part.server.limits.connections for part in parts] == [51, 50]
    assert {part.server.limits.buffered_bytes for part in parts} == {32 << 20}
    assert [part.server.journal for part in parts] == ["/tmp/turns.worker1", "/tmp/turns.worker2"]
    assert [part.gate.pools[0].queue.max for part in parts] == [6, 5]
    assert (parts[0].sources, parts[0].scaled, parts[0].server.admin) == ((), (), None)


def test_settings_travel() -> None:
    """All that a worker is sent can be read by it again."""
    settings = settings_of(more="tls: null")
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(Settle(1, settings)), type=Down)
    assert sent == Settle(1, settings)


def test_it_looks_at_no_replica_and_has_no_seats() -> None:
    """Before it is told anything no replica has been asked anything, and no call is sent; with facts and a share it
    serves."""

    async def main() -> None:
        async with Engine([[answer(b'{"ok":true}')]]) as engine, working(settings_of(engine.url)) as (worker, up):
            assert [(view.state, view.seats) for view in worker.replica_views()] == [("warming", 1)]
            async with Client(worker.bound().server.listen[1]) as client:
                client.send(request())
                await until(lambda: worker.gate.waiting() == {"p": 1}, "a call that waits")
                up.channel.tell(Told([Probed("r", True)]))
                await until(lambda: worker.replica_views()[0].state == "busy", "a replica that is well")
                assert engine.got == []
                up.channel.tell(Shared(1, {"r": 3}))
                assert (await client.answer()).status == 200
            assert len(engine.got) == 1
            assert [view.seats for view in worker.replica_views()] == [3]
            await until(lambda: up.last() == Report(0, 1, {}, {}), "a report")

    run(main)


def test_it_reports_at_once_what_holds() -> None:
    """New settings and new shares are acknowledged by their numbers; a share outlives new settings, and goes with its
    replica."""
    settings = settings_of()
    other = replace(settings.replicas[0], id="s", url="http://127.0.0.1:10")
    both = replace(settings, replicas=(*settings.replicas, other))

    async def main() -> None:
        async with working(settings) as (worker, up):
            up.channel.tell(Shared(1, {"r": 3}))
            up.channel.tell(Settle(1, both))
            await until(lambda: up.last() == Report(1, 1, {}, {}), "both")
            assert {view.id: view.seats for view in worker.replica_views()} == {"r": 3, "s": 1}
            assert [seat.health.seats for seat in worker.gate.pool("p").seats] == [3, 0]
            up.channel.tell(Settle(2, replace(both, replicas=(other,))))
            up.channel.tell(Settle(3, both))
            await until(lambda: up.last() == Report(3, 1, {}, {}), "the last")
            assert {seat.id: seat.health.seats for seat in worker.gate.pool("p").seats} == {"r": 0, "s": 0}

    run(main)


def test_it_looks_less_often_while_it_has_room() -> None:
    """With so many free seats that none will be lacking soon it wakes every tenth of a second, else four times as
    often."""

    async def main() -> None:
        async with working(settings_of()) as (worker, _):
            assert worker.pause_s() == TICK_S
            for number, seats, pause_s in ((1, ROOM - 1, TICK_S), (2, ROOM, CALM_S)):
                worker.heard(Shared(number, {"r": seats}))
                assert worker.pause_s() == pause_s

    run(main)


def test_new_settings_hold() -> None:
    """Another queue and other keys hold as soon as they are acknowledged."""

    async def main() -> None:
        async with working(settings_of()) as (worker, up):
            up.channel.tell(Settle(1, settings_of(more="keys: [{name: k, key: sk-k}]\nmax_waiting: 9")))
            await until(lambda: up.last() is not None and up.last().settled == 1, "settings")  # type: ignore[union-attr]
            assert worker.gate.spec.max_waiting == 5
            async with Client(worker.bound().server.listen[1]) as client:
                client.send(request())
                assert (await client.answer()).status == 401

    run(main)


@pytest.mark.parametrize(("strategy", "queue"), [("adaptive", 100), ("{{kind: consistent_hash, pin: true}}", 50)])
def test_the_bound_of_who_waits_for_one_replica(strategy: str, queue: int) -> None:
    """Where calls may wait for one replica alone, each worker has its part of that bound; else it is the engine's own
    queue that counts, which is everybody's."""
    text = TEXT.replace("models: [m], replicas", f"models: [m], strategy: {strategy}, replicas")
    settings = load(text.format(url="http://127.0.0.1:9", more=""), {}, lambda path: Path(path).read_text())

    async def main() -> None:
        async with working(settings) as (worker, _):
            replica: Replica = worker.gate.pool("p").seats[0].replica
            assert replica.max_queue_size == queue

    run(main)


def test_it_answers_questions() -> None:
    """A snapshot, an explanation, the last calls, and its turns: each as JSON."""

    async def main() -> None:
        async with Engine([[answer(b'{"ok":true}')]]) as engine, working(settings_of(engine.url)) as (worker, up):
            up.channel.tell(Told([Probed("r", True)]))
            up.channel.tell(Shared(1, {"r": 8}))
            async with Client(worker.bound().server.listen[1]) as client:
                client.send(request())
                assert (await client.answer()).status == 200
            snapshot = msgspec.json.decode(await up.ask(what="snapshot"), type=Snapshot)
            assert [view.served for view in snapshot.replicas] == [1]
            assert (snapshot.counters["requests_total"], snapshot.totals.calls[0][-1]) == (1, 1)
            assert snapshot.cpu_s > 0
            (call,) = json.loads(await up.ask(what="explain_last", last=5))
            assert "w1-" in call["id"]
            found = msgspec.json.decode(await up.ask(what="explain", id=call["id"]), type=Explained)
            assert found.found is not None
            assert found.found.replica == "r"
            assert msgspec.json.decode(await up.ask(what="explain", id="x"), type=Explained).why == "unknown"
            turns = json.loads(await up.ask(what="journal", last=3))
            assert len(turns) == 3

    run(main)


def test_windows_of_scaled_pools() -> None:
    """Pools that scale themselves are told of with every report, and what flows through them where it is wanted."""

    async def main() -> None:
        settings = settings_of()
        async with working(settings) as (_, up):
            up.channel.tell(Settle(1, settings, ("p",), ("p",)))

            def seen() -> bool:
                last = up.last()
                return last is not None and last.windows.keys() == {"p"} and last.windows["p"].rps is not None

            await until(seen, "a window")

    run(main)


def test_it_is_told_to_end() -> None:
    """The first word to end counts: so long answers may take."""

    async def main() -> None:
        async with working(settings_of()) as (worker, up):
            up.channel.tell(Halt(0.5))
            assert await worker.halted == 0.5
            worker.halt(9.0)
            assert worker.halted.result() == 0.5

    run(main)
