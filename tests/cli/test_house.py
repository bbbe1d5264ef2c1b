"""A gateway for a while: it comes up with its first fleet, can be looked at, and leaves nothing behind."""

import asyncio
import os
from pathlib import Path

import pytest

from penstock.cli import house as command
from penstock.cli.house import opened


def gone(number: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return " Z " in Path(f"/proc/{number}/stat").read_text()


@pytest.mark.slow
def test_it_comes_up_and_goes(tmp_path: Path) -> None:
    """Two replicas are ready inside the block, and gone after it."""

    async def main() -> list[int]:
        async with opened(tmp_path / "h", 2, 2) as house:
            assert (await house.view())["states"]["ready"] == 2
            numbers = list(house.numbers().values())
            assert len(numbers) == 2
            assert not any(map(gone, numbers))
            return numbers

    assert all(map(gone, asyncio.run(main())))


@pytest.mark.slow
def test_one_that_does_not_come_up_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it said, and the process is ended."""
    monkeypatch.setattr(command, "START_S", 0.5)

    async def main() -> None:
        async with opened(tmp_path / "h", 3, 3):
            raise AssertionError("three replicas in half a second")

    with pytest.raises(OSError, match=r"3 replicas were not there within 0\.5 s"):
        asyncio.run(main())
