"""A worker's journal of the ledger: on disk before the outbox writes, in a folder of its own."""

import asyncio
from pathlib import Path

from penstock.adapters.stores.spec import LedgerSpec
from penstock.core.events import Ended
from penstock.drive.following import Following
from penstock.drive.segments import Reader
from penstock.gateway.outbox import Outbox
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
