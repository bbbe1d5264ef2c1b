"""Answers in a real Redis: kept for their time, found while no mark is newer, heard of by all."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.stores.shared_cache import EPOCH, PREFIX, Event, Seen, Shared, SharedCache, What, marks
from tests.helpers.redis import RedisServer, needed
from tests.helpers.wire import run, until

pytestmark = pytest.mark.slow
WORTH = Shared(0, ("t",), "m", "tenant", 60.0, b"answer")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for all of these tests; each has keys of its own."""
    needed()
    server = RedisServer(tmp_path_factory.mktemp("r"))
    yield server
    server.stop()


def over(redis: RedisServer, test: Callable[[SharedCache], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a store."""

    async def main() -> None:
        store = SharedCache(redis.url, 5.0)
        try:
            await test(store)
        finally:
            await store.close()

    run(main)


async def kept(store: SharedCache, key: str, tags: tuple[str, ...] = ("t",)) -> Seen:
    """Keep an answer as a gateway does: how new it is was asked before. What is found then."""
    epoch = (await store.look(key)).epoch
    await store.keep(key, Shared(epoch, tags, "m", "tenant", 60.0, b"answer"))
    return await store.look(key)


def test_an_answer_is_kept_for_its_time(redis: RedisServer) -> None:
    """With its tags, its age, and what is left; no longer."""

    async def test(store: SharedCache) -> None:
        assert (await store.look("a")).payload == b""
        seen = await kept(store, "a")
        assert (seen.payload, seen.tags) == (b"answer", ("t",))
        assert seen.age_s + seen.left_s == pytest.approx(60.0)
        assert seen.left_s > 50
        await store.keep("b", Shared(0, (), "m", "tenant", 0.001, b"x"))
        await asyncio.sleep(0.01)
        assert (await store.look("b")).payload == b""
        await store.drop("a")
        assert (await store.look("a")).payload == b""

    over(redis, test)


NAMED = [What(), What(tag="t"), What(model="m"), What(tag="t", model="m")]
OTHER = [What(tag="u"), What(model="n"), What(tenant="x"), What(tag="t", model="n")]


@pytest.mark.parametrize("what", NAMED + OTHER, ids=str)
def test_what_is_put_out_of_use_is_not_found(redis: RedisServer, what: What) -> None:
    """Where all that is named applies; and what is made from then on is."""

    async def test(store: SharedCache) -> None:
        await kept(store, f"k{what}")
        await store.invalidate(what, "me")
        assert (await store.look(f"k{what}")).payload == (b"" if what in NAMED else b"answer")
        assert (await kept(store, f"k{what}")).payload == b"answer"

    over(redis, test)


def test_an_answer_that_was_under_way_is_no_good_either(redis: RedisServer) -> None:
    """It was asked for before, and is kept after its tag was put out of use."""

    async def test(store: SharedCache) -> None:
        epoch = (await store.look("way")).epoch
        await store.invalidate(What(tag="way"), "me")
        await store.keep("way", Shared(epoch, ("way",), "m", "tenant", 60.0, b"old"))
        assert (await store.look("way")).payload == b""

    over(redis, test)


def test_what_is_put_out_of_use_twice_at_once_stays_so(redis: RedisServer) -> None:
    """The later of two gateways may be the first to set the mark: an answer from between the two is no good."""

    async def test(store: SharedCache) -> None:
        what = What(tag="twice")
        for _ in range(20):
            epochs = await asyncio.gather(*(store.invalidate(what, "me") for _ in range(10)))
            await store.keep("twice", Shared(max(epochs) - 1, ("twice",), "m", "tenant", 60.0, b"between"))
            assert (await store.look("twice")).payload == b""

    over(redis, test)


def test_a_counter_that_was_lost_begins_later(redis: RedisServer) -> None:
    """So that nothing from before counts as newer than what is put out of use from now on."""

    async def test(store: SharedCache) -> None:
        epoch = await store.invalidate(What(tag="lost"), "me")
        await kept(store, "lost", ("lost",))
        await store._redis.delete(EPOCH)
        await until(lambda: time.time() * 1000 > epoch, "the clock to be past what other tests have counted")
        await store.invalidate(What(tag="lost"), "me")
        assert (await store.look("lost")).payload == b""

    over(redis, test)


def test_nobody_reads_what_another_version_wrote(redis: RedisServer) -> None:
    """It is as if there were nothing."""

    async def test(store: SharedCache) -> None:
        await store._redis.set(PREFIX + "strange", b"?", px=60_000)
        assert (await store.look("strange")).payload == b""

    over(redis, test)


def test_all_hear_what_is_put_out_of_use(redis: RedisServer) -> None:
    """First how new answers are, then each event, with who it was."""

    async def test(store: SharedCache) -> None:
        heard: list[Event | int] = []
        begun = asyncio.Event()

        async def listen() -> None:
            async for one in store.listen():
                heard.append(one)
                begun.set()
                if len(heard) == 2:
                    return

        async with asyncio.TaskGroup() as group:
            group.create_task(listen())
            await begun.wait()
            epoch = await store.invalidate(What(tag="x"), "me")
        assert isinstance(heard[0], int)
        assert heard[1] == Event(What(tag="x"), epoch, "me")

    over(redis, test)


def test_a_store_that_is_away_is_an_oserror(tmp_path: Path) -> None:
    """Whatever is asked."""

    async def main() -> None:
        store = SharedCache(f"unix://{tmp_path}/nobody.sock", 1.0)
        for asked in (store.look("a"), store.keep("a", WORTH), store.drop("a"), store.invalidate(What(), "me")):
            with pytest.raises(OSError, match="Redis"):
                await asked
        with pytest.raises(OSError, match="Redis"):
            await anext(aiter(store.listen()))
        await store.close()

    run(main)


def test_a_value_has_a_mark_for_every_way_to_name_it() -> None:
    """Without tags four, and twice as many and more with each."""
    assert len(set(marks(Shared(0, (), "m", "t", 1.0, b"")))) == 4
    assert len(set(marks(Shared(0, ("a", "b"), "m", "t", 1.0, b"")))) == 12
