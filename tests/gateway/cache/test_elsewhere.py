"""Two gateways that share answers: over real sockets and a real Redis, which comes and goes."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from penstock.adapters.stores.shared_cache import Seen, What
from penstock.core.events import Invalidated
from penstock.gateway.cache.elsewhere import Elsewhere, open_elsewhere
from tests.helpers.caching import House, ask_for, caching
from tests.helpers.redis import RedisServer, needed
from tests.helpers.wire import answer, run, stream, until

pytestmark = pytest.mark.slow
USED = b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}'
TAGGED = "x-penstock-cache-tags: prices\r\n"


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of the test's own, that it can kill."""
    needed()
    server = RedisServer(tmp_path_factory.mktemp("r"))
    yield server
    server.stop()


def hears(away: Elsewhere) -> bool:
    """Whether it has heard how new answers are."""
    return away._epoch is not None


async def two(stack: AsyncExitStack, redis: RedisServer, *scripts: list[bytes]) -> tuple[House, House]:
    """Gateways with an engine each."""
    houses = [await stack.enter_async_context(caching(*scripts, cache={"redis": redis.url})) for _ in range(2)]
    for house in houses:
        away = house.gateway.caching.elsewhere
        assert away is not None
        await until(partial(hears, away), "it to listen")
    return houses[0], houses[1]


def asked(*houses: House) -> list[int]:
    """How often their engines were."""
    return [len(house.engine.got) for house in houses]


def test_what_one_has_the_other_gives(redis: RedisServer) -> None:
    """Whole answers and streams; then it has them itself, and asks nobody."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, other = await two(stack, redis, [answer(USED)], stream("a", "b"))
            for number, body in enumerate((ask_for(), ask_for(stream=True)), 1):
                first = await one.ask(body)
                await until(lambda: len(redis.known()) >= number + 0, "it to be shared")  # noqa: B023
                found = [await other.ask(body) for _ in range(2)]
                assert [each.body for each in found] == [first.body] * 2
                assert [each.header("x-penstock-cache") for each in found] == ["hit", "hit"]
            assert asked(one, other) == [2, 0]
            away = other.gateway.caching.elsewhere
            assert away is not None
            assert away.hits == 2
            assert other.gateway.caching.metrics()["cache_store_up"] == 1

    run(main)


def test_what_one_puts_out_of_use_no_other_gives(redis: RedisServer) -> None:
    """Neither from its own memory nor from the store."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, other = await two(stack, redis, [answer(USED)])
            await one.ask(ask_for(), TAGGED)
            await until(lambda: bool(redis.known()), "it to be shared")
            assert (await other.ask(ask_for())).header("x-penstock-cache") == "hit"
            assert await one.gateway.caching.invalidate(Invalidated(tag="prices")) == (1, True)
            await until(lambda: not other.gateway.plane.shelf.kept, "the other to hear of it")
            assert (await other.ask(ask_for())).header("x-penstock-cache") == "miss"
            assert asked(one, other) == [1, 1]

    run(main)


def test_an_answer_that_was_looked_up_before_it_was_put_out_of_use_is_not_kept(redis: RedisServer) -> None:
    """What others put out of use goes over another connection, and may be heard before the store's answer arrives."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, other = await two(stack, redis, [answer(USED)])
            await one.ask(ask_for(), TAGGED)
            await until(lambda: bool(redis.known()), "it to be shared")
            away = other.gateway.caching.elsewhere
            assert away is not None
            look, before = away._store.look, away._cuts

            async def late(key: str) -> Seen:
                seen = await look(key)
                await one.gateway.caching.invalidate(Invalidated(tag="prices"))
                await until(lambda: away._cuts != before, "the other to hear of it")
                return seen

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(away._store, "look", late)
                assert (await other.ask(ask_for())).header("x-penstock-cache") == "miss"
            assert asked(one, other) == [1, 1]

    run(main)


def test_a_store_that_is_killed_costs_nothing_but_its_answers(redis: RedisServer) -> None:
    """Calls are answered by engines meanwhile; what was put out of use is told when it is back, and until then nothing
    is taken from it."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, other = await two(stack, redis, [answer(USED)])
            await one.ask(ask_for(), TAGGED)
            await until(lambda: bool(redis.known()), "it to be shared")
            redis.kill()
            for number in range(4):
                got = await other.ask(ask_for(f"question {number}"))
                assert (got.status, got.header("x-penstock-cache")) == (200, "miss")
            assert await one.gateway.caching.invalidate(Invalidated(tag="prices")) == (1, False)
            assert one.gateway.caching.metrics()["cache_store_errors"] > 0
            redis.start()
            away = one.gateway.caching.elsewhere
            assert away is not None
            await until(lambda: not away._owed, "the store to be told")
            back = other.gateway.caching.elsewhere
            assert back is not None
            back._alone_until = 0.0
            assert (await other.ask(ask_for())).header("x-penstock-cache") == "miss"

    run(main, 30.0)


def test_what_is_put_out_of_use_twice_is_owed_until_both_are_told() -> None:
    """The second time may be for an answer that was made after the first: where the store goes in between, it is told
    once the store is back."""

    async def main() -> None:
        away = open_elsewhere("redis://127.0.0.1:1/0", lambda event: None, {}, lambda: 0)
        asked: list[asyncio.Future[int]] = []

        async def told(what: What, origin: str) -> int:
            asked.append(asyncio.get_running_loop().create_future())
            return await asked[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(away._store, "invalidate", told)
            both = [asyncio.create_task(away.invalidate(What(tag="prices"))) for _ in range(2)]
            await until(lambda: len(asked) == 2, "both to be told")
            asked[0].set_result(5)
            asked[1].set_exception(OSError("it has gone"))
            assert not await both[1]
            assert away._owed == [What(tag="prices")]
            for each in asked[2:]:
                each.set_exception(OSError("it has gone"))
            await both[0]
        await away.close()

    run(main)


def test_a_url_that_is_none_is_told_when_it_starts() -> None:
    """In words."""

    async def main() -> None:
        with pytest.raises(OSError, match=r"cache\.redis"):
            async with caching([answer(USED)], cache={"redis": "redis://host:port"}):
                pass

    run(main)


def test_a_store_that_was_never_there_is_no_error(tmp_path: Path) -> None:
    """It may come later."""

    async def main() -> None:
        async with caching([answer(USED)], cache={"redis": f"unix://{tmp_path}/nobody.sock"}) as house:
            assert [(await house.ask(ask_for())).header("x-penstock-cache") for _ in range(2)] == ["miss", "hit"]

    run(main)
