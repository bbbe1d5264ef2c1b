"""What all pools share: bounds that may change, and what is said when no more connections can be had."""

import errno
import logging

import msgspec
import pytest

from penstock.config.schema import UpstreamSpec
from penstock.core.events import Failed
from tests.helpers.plane import serving
from tests.helpers.wire import Client, Engine, answer, request, run


def test_running_out_of_descriptors_is_ours_to_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The replica is not blamed, the client is told to come again, and people are warned once."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:

            async def full(port: int) -> None:
                raise OSError(errno.EMFILE, "too many open files")

            monkeypatch.setattr("penstock.gateway.fleet.pool.Pool.open", lambda self, port: full(port))
            for _ in range(3):
                client.send(request())
                assert (await client.answer()).status == 503
            assert {failed.label for failed in rig.gate.told(Failed)} == {"overloaded"}

    with caplog.at_level(logging.WARNING):
        run(main)
    assert len([record for record in caplog.records if "file descriptors" in record.message]) == 1


def test_a_new_bound_holds_for_open_connections() -> None:
    """From the reload on a connection brings two answers at most, those that it has brought unbounded not counted."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            for most in (None, 2):
                upstream = UpstreamSpec(requests_per_connection=most)
                server = msgspec.structs.replace(rig.settings.server, upstream=upstream)
                rig.plane.apply(msgspec.structs.replace(rig.settings, server=server))
                for _ in range(3):
                    client.send(request())
                    assert (await client.answer()).status == 200
            assert engine.connections == 2

    run(main)
