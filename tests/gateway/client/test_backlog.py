"""Clients that read slowly: who moves is waited for, and nobody holds a replica for as long as he likes."""

import asyncio

import pytest

from penstock.gateway.client.backlog import Backlog as Waiting
from penstock.gateway.client.inbound import Inbound
from penstock.gateway.client.upload import SLOWEST_BYTES_PER_S
from tests.helpers.plane import serving
from tests.helpers.wire import run

SEND_S = 120.0
"""As it is by default."""


class Backlog(asyncio.Transport):
    """A transport without a socket, and so many bytes in it that wait for its client."""

    def __init__(self, waiting: int) -> None:
        super().__init__({"peername": ("10.0.0.9", 1)})
        self.waiting = waiting
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        """Those."""
        return self.waiting

    def is_closing(self) -> bool:
        """Once it was cut."""
        return self.aborted

    def abort(self) -> None:
        """Cut."""
        self.aborted = True


def looks_until_cut(per_look: int, waiting: int = 256 << 10) -> int | None:
    """After how many looks a client is cut that reads so much before each; None: it has read all before."""

    async def main() -> int | None:
        async with serving() as rig:
            inbound, transport = Inbound(rig.plane), Backlog(waiting)
            inbound.connection_made(transport)
            inbound.pause_writing()
            now, found = rig.plane.pulse.now, None
            for look in range(1, 10_000):
                transport.waiting -= per_look
                now += SEND_S + rig.plane.pulse.sweep_s
                if transport.waiting <= 0:
                    break
                inbound.unread_deadline(now)
                if transport.aborted:
                    found = look
                    break
            inbound.connection_lost(None)
            return found

    return run(main)


@pytest.mark.parametrize(("per_look", "looks"), [(0, 1), (1, 2), (500, 3), (int(SEND_S) * SLOWEST_BYTES_PER_S, None)])
def test_who_reads_slower_than_bodies_may_come_is_cut(per_look: int, looks: int | None) -> None:
    """Nothing read: at the first look. A few bytes each time: soon after. At the rate of the slowest line: never."""
    assert looks_until_cut(per_look) == looks


def test_what_is_written_later_in_a_turn_is_not_held_against_a_client() -> None:
    """The first of several writes says that the client is slow; it reads on, and yet more waits at the first look."""
    backlog = Waiting(0.0, 64 << 10)
    assert not backlog.stuck(SEND_S, 200 << 10, SEND_S)
    assert not backlog.stuck(2 * SEND_S, 60 << 10, SEND_S)


def test_who_reads_nothing_of_what_was_written_later_is_cut_at_the_next_look() -> None:
    """One look more than usual, and no further one."""
    backlog = Waiting(0.0, 64 << 10)
    assert not backlog.stuck(SEND_S, 200 << 10, SEND_S)
    assert backlog.stuck(2 * SEND_S, 200 << 10, SEND_S)
