"""A dry run shows what would run, and that no call can go there."""

import logging

import pytest

from penstock.adapters.actuators.dry_run import DryRun
from penstock.base.nouns import Unit
from tests.helpers.wire import run


def test_it_says_what_it_would_do(caplog: pytest.LogCaptureFixture) -> None:
    """Each order is a line in the log, once; what would run has no address."""
    caplog.set_level(logging.INFO)

    async def main() -> None:
        made = DryRun("p")
        for _ in range(2):
            await made.start("p-1")
        assert await made.look(1.0) == (Unit(id="p-1", state="running"),)
        for _ in range(2):
            await made.stop("p-1")
        assert await made.look(1.0) == ()

    run(main)
    assert [record.getMessage() for record in caplog.records] == [
        "pool p, dry run: p-1 would be started",
        "pool p, dry run: p-1 would be stopped",
    ]
