"""A worker's journal of the ledger: on disk before the outbox writes, in a folder of its own."""

import asyncio
from pathlib import Path

import pytest

from penstock.adapters.stores.spec import LedgerSpec
from penstock.core.events import Ended
from penstock.drive.following import Following
from penstock.drive.segments import Reader, Segments
from penstock.gateway.outbox import Outbox
from penstock.gateway.processes import booking as module
from penstock.gateway.processes.booking import Booking, folder_of
from tests.helpers.wire import run
from tests.telemetry.rows import record


def before(outbox: Outbox) -> object:
    """Who is asked before it writes."""
    return outbox.before


def test_a_call_is_on_disk_before_its_last_byte(tmp_path: Path) -> None:
    """The outbox commits it before it writes; whoever follows the folder reads it; and it ends whole."""

    async def main() -> None:
        spec = LedgerSpec(folder=str(tmp_path))
        outbox = Outbox(asyncio.get_running_loop().call_soon)
        booking = Booking(spec, 2, 3, outbox)
        assert folder_of(spec, 2) == booking.segments.folder
        reader = Reader(Following(folder_of(spec, 2)))
        booking.observe(1.0, Ended("c1", 1, 200), [record()])
        assert reader.read(5) == []
        commit = outbox.before
        assert commit is not None
        commit()
        assert len(reader.read(5)) == 1
        booking.observe(2.0, Ended("c2", 1, 200), [record()])
        assert booking.numbers() == {"lost": 0, "waiting": 1, "failing": 0}
        booking.close()
        assert before(outbox) is None
        assert len(reader.read(5)) == 1
        reader.close()

    run(main)


def test_a_journal_that_a_former_worker_still_has_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that was killed is started again at once: its worker begins when the former one has ended; one that
    does not end is told of."""

    async def main() -> None:
        spec = LedgerSpec(folder=str(tmp_path))
        outbox = Outbox(asyncio.get_running_loop().call_soon)
        former = Segments(folder_of(spec, 1))
        opening = asyncio.create_task(Booking.opened(spec, 1, 2, outbox))
        await asyncio.wait([opening], timeout=0.1)
        assert not opening.done()
        former.close()
        booking = await opening
        monkeypatch.setattr(module, "FORMER_S", 0.0)
        with pytest.raises(OSError, match="another process writes its ledger there"):
            await Booking.opened(spec, 1, 2, outbox)
        booking.close()

    run(main)
