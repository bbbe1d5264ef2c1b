"""The virtual loop: asyncio without waiting."""

import asyncio
import time

import pytest

from penstock.drive.virtual_loop import VirtualLoop, run_virtual

DAY_S = 86_400.0


def test_a_year_passes_at_once() -> None:
    """Waiting costs no real time and ends at exactly the time asked for."""

    async def main() -> float:
        await asyncio.sleep(365 * DAY_S)
        return asyncio.get_running_loop().time()

    begun = time.perf_counter()
    assert run_virtual(main(), start=1000.0) == 1000.0 + 365 * DAY_S
    assert time.perf_counter() - begun < 1.0


def test_timers_of_one_time_keep_their_order() -> None:
    """Timers due together run in the order in which they were set, whatever was set in between."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        for index in range(200):
            loop.call_at(5.0 + index % 2, seen.append, index)
        await asyncio.sleep(10)
        return seen

    seen = run_virtual(main())
    assert seen == [*range(0, 200, 2), *range(1, 200, 2)]


def test_timeouts_fire_in_virtual_time() -> None:
    """asyncio.timeout and tasks work as on a real loop."""

    async def main() -> tuple[float, bool]:
        loop = asyncio.get_running_loop()
        never = loop.create_future()
        try:
            async with asyncio.timeout(30):
                await never
        except TimeoutError:
            return loop.time(), never.cancelled()
        return -1.0, False

    assert run_virtual(main()) == (30.0, True)


def test_a_cancelled_timer_does_not_move_time() -> None:
    """Time jumps to the next timer that is wanted."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(100, lambda: None).cancel()
        await asyncio.sleep(1)
        return loop.time()

    assert run_virtual(main()) == 1.0


def test_the_past_means_now() -> None:
    """A timer for the past fires at once, at the present time."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        seen: list[float] = []
        loop.call_at(1.0, lambda: seen.append(loop.time()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return seen

    assert run_virtual(main(), start=50.0) == [50.0]


def test_waiting_for_nothing_is_an_error() -> None:
    """A deadlock is told instead of hanging."""
    loop = VirtualLoop()
    try:
        waiting = loop.create_future()
        with pytest.raises(RuntimeError, match="nothing can ever happen"):
            loop.run_until_complete(waiting)
    finally:
        loop.close()


def test_a_closed_loop_and_threads_are_refused() -> None:
    """No timer can be set on a closed loop, and there are no threads."""
    loop = VirtualLoop()
    with pytest.raises(RuntimeError, match="no threads"):
        loop.run_in_executor(None, print)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_at(1.0, print)
