"""What every store of shared limits must do: the same answers, whoever keeps the truth, and however it is reached."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from penstock.adapters.stores.lease_memory import LeaseMemory
from penstock.adapters.stores.lease_redis import LeaseRedis, name_of
from penstock.adapters.stores.lease_socket import LeaseClient, LeaseServer
from penstock.base.leases import Ask, Grant, Question, Reply, Want
from penstock.base.ports import LeaseStore
from penstock.core.limits.book import Account, LeaseBook, Meter
from penstock.drive.pump import monotonic_clock
from tests.helpers import redis
from tests.helpers.wire import run

pytestmark = pytest.mark.slow

Maker = Callable[[], LeaseStore]
MINUTE = "requests per minute"
ACCOUNT = ("tenant", "t", "")
_accounts = iter(range(1_000_000))


@pytest.fixture(scope="session")
def server() -> Iterator[redis.RedisServer]:
    """A Redis; where there is none the test is skipped, or fails where one is asked for."""
    with redis.serving() as made:
        yield made


@pytest.fixture(params=["memory", "socket", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which store."""
    if request.param == "redis":
        request.getfixturevalue("server")
    return str(request.param)


@asynccontextmanager
async def stores(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Maker]:
    """Makes ways to one store."""
    made: list[LeaseStore] = []
    book = LeaseBook()
    clock = monotonic_clock(asyncio.get_running_loop())[0]
    with tempfile.TemporaryDirectory(prefix="leases-") as folder:
        socket = LeaseServer(LeaseMemory(book, clock), f"{folder}/leases")
        if kind == "socket":
            await socket.start()

        def make() -> LeaseStore:
            if kind == "memory":
                store: LeaseStore = LeaseMemory(book, clock)
            elif kind == "socket":
                store = LeaseClient(f"{folder}/leases")
            else:
                store = LeaseRedis(request.getfixturevalue("server").url)
            made.append(store)
            return store

        try:
            yield make
        finally:
            for store in made:
                await store.close()
            await socket.close()


def over(kind: str, request: pytest.FixtureRequest, test: Callable[[Maker, str], Awaitable[None]]) -> None:
    """Run a test with a store, and an account that no other test has."""

    async def main() -> None:
        async with stores(kind, request) as make:
            await test(make, f"t{next(_accounts)}")

    run(main, 50.0)


def question(peer: str, number: int, name: str, want: Want, batch: int = 0, lasts_s: float = 5.0) -> Question:
    """About one limit of one account."""
    return Question(peer, number, lasts_s, (Ask(("tenant", name, ""), batch or number, (want,)),))


def wants(limit: int = 10, what: str = MINUTE, **fields: int | tuple[tuple[int, int], ...]) -> Want:
    """What is said of it."""
    return Want(what, limit, **fields)  # type: ignore[arg-type]


def grant(reply: Reply) -> Grant:
    """The one of the answer."""
    ((found,),) = (answer.grants for answer in reply.answers)
    return found


def test_who_asks_for_nothing_hears_the_time(kind: str, request: pytest.FixtureRequest) -> None:
    """A question about no account is answered, so that a process knows whether the store is there, and its clock."""

    async def test(make: Maker, name: str) -> None:
        store = make()
        first = await store.exchange(Question("a", 1, 3.0, ()))
        later = await store.exchange(question("a", 2, name, wants(least=1, due=1)))
        assert first.answers == ()
        assert 0 <= later.now - first.now < 5.0

    over(kind, request, test)


def test_what_is_granted_is_taken_from_all(kind: str, request: pytest.FixtureRequest) -> None:
    """Two processes ask for eight of ten each: one gets eight, the other, who could use any, the two that are left; and
    when the first gives back, the second gets what it needs."""

    async def test(make: Maker, name: str) -> None:
        one, two = make(), make()
        got = grant(await one.exchange(question("a", 1, name, wants(least=1, due=8))))
        assert (got.granted, got.used, got.held, got.fits_s) == (8, 8, 8, 0.0)
        got = grant(await two.exchange(question("b", 1, name, wants(least=1, due=8))))
        assert (got.granted, got.used, got.held) == (2, 10, 10)
        got = grant(await one.exchange(question("a", 2, name, wants(kept=1))))
        assert (got.granted, got.used) == (1, 3)
        got = grant(await two.exchange(question("b", 2, name, wants(kept=2, least=6, due=6))))
        assert (got.granted, got.used) == (8, 9)

    over(kind, request, test)


def test_a_call_gets_all_that_it_needs_or_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    """Less than the least of what waits is of no use to anybody, and is left for others; it says when it fits."""

    async def test(make: Maker, name: str) -> None:
        store = make()
        reply = await store.exchange(question("a", 1, name, wants(least=7, due=7)))
        index = int(reply.now)
        await store.exchange(question("a", 2, name, wants(used=((index, 7),))))
        got = grant(await store.exchange(question("b", 1, name, wants(least=5, due=5))))
        assert (got.granted, got.used, got.held) == (0, 7, 0)
        assert 59.0 < got.fits_s <= 61.0
        assert 59.0 < got.free_s <= 61.0

    over(kind, request, test)


def test_leases_shrink_near_the_limit(kind: str, request: pytest.FixtureRequest) -> None:
    """Beside what is needed a quarter of what is left is granted at most, and nothing of the last few."""

    async def test(make: Maker, name: str) -> None:
        store = make()
        granted = [
            grant(await store.exchange(question(f"p{at}", 1, name, wants(100, least=1, due=1, ahead=50)))).granted
            for at in range(20)
        ]
        assert granted[:3] == [25, 19, 14]
        some = [one for one in granted if one]
        assert some == sorted(some, reverse=True)
        assert some[-2:] == [1, 1]
        assert sum(granted) == 100

    over(kind, request, test)


def test_a_message_that_comes_twice_counts_once(kind: str, request: pytest.FixtureRequest) -> None:
    """The same use under another number is told again because its answer got lost; and an older message that comes late
    is not answered, and changes nothing."""

    async def test(make: Maker, name: str) -> None:
        store = make()
        index = int((await store.exchange(question("a", 1, name, wants(least=6, due=6)))).now)
        late = question("a", 2, name, wants(used=((index, 4),), kept=2))
        await store.exchange(late)
        got = grant(await store.exchange(question("a", 3, name, wants(used=((index, 4),), kept=2), batch=2)))
        assert (got.granted, got.used) == (2, 6)
        assert (await store.exchange(late)).answers == ()
        got = grant(await store.exchange(question("a", 4, name, wants(used=((index, -1),)))))
        assert (got.granted, got.used) == (0, 3)

    over(kind, request, test)


def test_a_silent_process_loses_its_lease(kind: str, request: pytest.FixtureRequest) -> None:
    """When it ends, what it had counts as used and is not held; when the process comes back after all, that is undone
    and its own word counts. Calls at once are free again."""

    async def test(make: Maker, name: str) -> None:
        store, loop = make(), asyncio.get_running_loop()
        begun = loop.time()
        index = int((await store.exchange(question("a", 1, name, wants(least=6, due=6), lasts_s=0.1))).now)
        slots = wants(3, "calls at once", least=3, due=3)
        await store.exchange(question("s", 1, f"{name}s", slots, lasts_s=0.1))
        number, got = 0, None
        while got is None or loop.time() < begun + 0.2:
            number += 1
            got = grant(await store.exchange(question("b", number, name, wants())))
        assert (got.used, got.held) == (6, 0)
        assert grant(await store.exchange(question("r", 1, f"{name}s", slots))).granted == 3
        got = grant(await store.exchange(question("a", 2, name, wants(used=((index, 2),), kept=1))))
        assert (got.granted, got.used, got.held) == (1, 3, 1)

    over(kind, request, test)


def test_budgets_and_days_are_known(kind: str, request: pytest.FixtureRequest) -> None:
    """Every limit that an account can have; one that there is not is a ValueError, or ends the conversation."""

    async def test(make: Maker, name: str) -> None:
        store = make()
        for what in (
            "requests per second", "requests per hour", "requests per day", "tokens per minute", "budget per day",
            "budget per month",
        ):  # fmt: skip
            got = grant(
                await store.exchange(question("a", 1, f"{name}{what}", wants(10**12, what, least=1, due=10**11)))
            )
            assert got.granted == 10**11
        with pytest.raises((ValueError, OSError)):
            await store.exchange(question("a", 2, name, wants(1, "smiles per day")))
        assert grant(await store.exchange(question("a", 3, name, wants(least=1, due=1)))).granted == 1

    over(kind, request, test)


def test_a_crowd_gets_exactly_the_limit(kind: str, request: pytest.FixtureRequest) -> None:
    """Twenty processes ask for ten single ones each at the same time: of a hundred, a hundred are granted."""

    async def test(make: Maker, name: str) -> None:
        async def process(at: int) -> int:
            store, granted = make(), 0
            for number in range(1, 11):
                want = wants(100, kept=granted, least=1, due=1)
                granted = grant(await store.exchange(question(f"p{at}", number, name, want))).granted
            return granted

        assert sum(await asyncio.gather(*[process(at) for at in range(20)])) == 100

    over(kind, request, test)


def test_a_store_that_is_away_is_an_os_error(tmp_path: Path, server: redis.RedisServer) -> None:
    """Nobody listens: the socket's and Redis' own errors are ours."""

    async def main() -> None:
        for store in (LeaseClient(str(tmp_path / "none")), LeaseRedis(f"unix://{tmp_path}/none")):
            with pytest.raises(OSError):
                await store.exchange(question("a", 1, "t", wants()))
            await store.close()

    run(main)


def test_redis_keeps_no_longer_than_it_must(server: redis.RedisServer) -> None:
    """A key has a name that is short and says whose it is, and expires."""

    async def main() -> None:
        store = LeaseRedis(server.url)
        name = "x" * 300
        await store.exchange(question("a", 1, name, wants(least=1, due=1)))
        await store.close()

    run(main)
    (found,) = (key for key in server.known() if "x" * 64 in key)
    assert len(found) < 180
    assert found.startswith("penstock:limits:tenant:")


@pytest.mark.parametrize("nonsense", ["bytes", "means nothing", "a list"])
def test_an_account_that_cannot_be_read_costs_no_other(
    server: redis.RedisServer, caplog: pytest.LogCaptureFixture, nonsense: str
) -> None:
    """It begins anew, which is told once, and the others of the same message are answered as ever."""
    bad, good = (("tenant", f"t{next(_accounts)}", "") for _ in range(2))

    async def spoil() -> None:
        async with Redis.from_url(server.url) as client:
            await client.delete(name_of(bad))
            if nonsense == "a list":
                await client.lpush(name_of(bad), "x")
            else:
                unknown = msgspec.msgpack.encode(Account(1.0, 1.0, {"no such limit": Meter(1, [(1, 1)])}))
                await client.set(name_of(bad), b"\xc1" if nonsense == "bytes" else unknown)

    async def main() -> None:
        store = LeaseRedis(server.url)
        asks = [Ask(account, 1, (wants(least=1, due=8),)) for account in (bad, good)]
        await store.exchange(Question("a", 1, 5.0, (asks[1],)))
        for number in (2, 3):
            await spoil()
            reply = await store.exchange(Question("a", number, 5.0, tuple(asks)))
            assert {one.account: one.grants[0].granted for one in reply.answers} == {bad: 8, good: 8}
        await store.close()

    run(main)
    assert [name_of(bad) in line for line in caplog.messages] == [True] * (nonsense != "a list")
