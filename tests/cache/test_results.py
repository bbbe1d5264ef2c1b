"""The cache as a library: kept results, one run for many, and what happens when somebody leaves or something fails."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from penstock.cache import Cache, cached
from penstock.cache.results import bytes_of, key_of


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Within a few seconds."""

    async def main() -> None:
        async with asyncio.timeout(5):
            await test()

    asyncio.run(main())


class Work:
    """A function that says how often it ran, and waits where it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.go = asyncio.Event()

    async def __call__(self) -> str:
        """The number of the run."""
        self.runs += 1
        number = self.runs
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return f"run {number}"


def test_equal_calls_run_once() -> None:
    """One after the other, and at the same time; other arguments run on their own."""

    async def main() -> None:
        runs: list[tuple[int, str]] = []

        @cached()
        async def ask(number: int, text: str = "") -> str:
            runs.append((number, text))
            await asyncio.sleep(0)
            return f"{number} {text}"

        assert await asyncio.gather(*[ask(1, text="a") for _ in range(100)]) == ["1 a"] * 100
        assert await ask(1, text="a") == "1 a"
        assert await ask(2, text="a") == "2 a"
        assert runs == [(1, "a"), (2, "a")]
        numbers = ask.cache.numbers()  # type: ignore[attr-defined]
        assert (numbers.hits, numbers.coalesced, numbers.misses, numbers.entries) == (1, 99, 2, 2)

    run(main)


def test_who_leaves_leaves_the_others_alone() -> None:
    """The first one as well; with the last one the work is cancelled, and the next call begins anew."""

    async def main() -> None:
        cache, work = Cache(), Work()
        first, second = (asyncio.create_task(cache.get("k", work)) for _ in range(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        work.go.set()
        assert await second == "run 1"
        cache.invalidate()
        work.go.clear()
        alone = asyncio.create_task(cache.get("k", work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        alone.cancel()
        await asyncio.gather(alone, return_exceptions=True)
        work.go.set()
        assert await cache.get("k", work) == "run 3"
        assert (work.runs, work.cancelled) == (3, 1)

    run(main)


def test_what_fails_fails_for_all_and_is_not_kept() -> None:
    """The next call tries again."""

    async def main() -> None:
        cache, runs = Cache(), 0

        async def fails() -> str:
            nonlocal runs
            runs += 1
            await asyncio.sleep(0)
            raise ValueError(f"run {runs}")

        found = await asyncio.gather(*[cache.get("k", fails) for _ in range(3)], return_exceptions=True)
        assert [str(error) for error in found] == ["run 1"] * 3
        with pytest.raises(ValueError, match="run 2"):
            await cache.get("k", fails)
        assert cache.numbers().entries == 0

    run(main)


def test_results_grow_old_and_are_bounded() -> None:
    """By time, number, and bytes; one that is too large is given and not kept."""

    async def main() -> None:
        now = [0.0]
        cache = Cache(ttl_s=10.0, entries=2, memory_bytes=100, largest_bytes=60, clock=lambda: now[0])

        async def made(size: int = 10) -> bytes:
            return bytes(size)

        for key in ("a", "b", "c"):
            await cache.get(key, made)
        assert (cache.numbers().entries, cache.numbers().evicted) == (2, 1)
        await cache.get("large", lambda: made(61))
        await cache.get("d", lambda: made(60))
        await cache.get("e", lambda: made(60))
        assert (cache.numbers().entries, cache.numbers().bytes) == (1, 60)
        now[0] = 10.0
        await cache.get("e", lambda: made(60))
        assert cache.numbers().expired == 1
        await cache.get("f", made, ttl_s=1.0)
        now[0] = 11.0
        await cache.get("f", made, ttl_s=1.0)
        assert cache.numbers().expired == 2

    run(main)


def test_what_is_invalidated_while_it_is_made_is_not_kept() -> None:
    """It goes to those who wait; who asks afterwards has it made anew."""

    async def main() -> None:
        cache, work = Cache(), Work()
        waits = asyncio.create_task(cache.get("k", work, tags=("t",)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert cache.invalidate("other") == 0
        assert cache.invalidate("t") == 0
        later = asyncio.create_task(cache.get("k", work, tags=("t",)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.go.set()
        assert [await waits, await later, await cache.get("k", work)] == ["run 1", "run 2", "run 2"]
        assert cache.invalidate("t") == 1

    run(main)


def test_keys_tell_arguments_apart() -> None:
    """Types too; and the order of names does not matter."""
    asked: list[tuple[Any, ...]] = [(1,), (1.0,), (True,), ("1",), (b"1",), (None,), ([1],), ({"a": 1},)]
    assert len({key_of(args, {}) for args in asked}) == len(asked)
    assert key_of((), {"a": 1, "b": 2}) == key_of((), {"b": 2, "a": 1})
    with pytest.raises(TypeError, match="give `key`"):
        key_of((object(),), {})


def test_functions_may_share_a_cache_and_make_keys_of_their_own() -> None:
    """They do not get each other's results."""

    async def main() -> None:
        cache = Cache()

        @cached(cache=cache, key=lambda thing: str(type(thing)), tags=("t",))
        async def one(thing: object) -> str:
            return "one"

        @cached(cache=cache, key=lambda thing: str(type(thing)))
        async def other(thing: object) -> str:
            return "other"

        assert [await one(object()), await other(object()), await one(object())] == ["one", "other", "one"]
        assert (cache.numbers().entries, cache.numbers().hits) == (2, 1)
        assert cache.invalidate("t") == 1

    run(main)


def test_sizes_are_guessed() -> None:
    """Of texts and bytes their length, of plain data what it takes in writing, of anything else what Python says."""
    assert bytes_of("abc") == bytes_of(b"abc") == 3
    assert bytes_of([1, 2, 3]) == 4
    assert bytes_of(object()) > 0
