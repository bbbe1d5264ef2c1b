"""Whether the line to a replica holds: what is set on real connections."""

import asyncio
import shutil
import socket
import subprocess
import sys

import pytest

from penstock.gateway.fleet.lines import options, watch
from tests.helpers.wire import run

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone has it")


def test_four_keep_alives_within_the_time() -> None:
    """Every second at most, and nothing at all where it is switched off."""
    assert options(10.0) == [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000),
    ]  # fmt: skip
    assert options(0.5)[1][2] == 1
    assert options(0.0) == []


def test_a_connection_is_watched() -> None:
    """The system says so of the very socket; one that nobody wants watched is as the system made it."""

    async def main() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        for lost_after_s, alive, timeout_ms in ((10.0, 1, 10_000), (0.0, 0, 0)):
            _, writer = await asyncio.open_connection(host, port)
            watch(writer.transport, options(lost_after_s))
            sock = writer.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == alive
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == timeout_ms
            writer.close()
        server.close()

    run(main)


@pytest.mark.slow
def test_a_line_that_is_cut_is_known_in_time() -> None:
    """In a network namespace whose loopback goes down, a connection that waits and one that sends are given up after
    the time that was set, and not minutes later."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs unshare and ip")
    ours = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*ours, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace may be made here")
    program = [sys.executable, "-m", "tests.helpers.cut_off", "2"]
    done = subprocess.run([*ours, *program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(1.0 <= float(line) <= 6.0 for line in done.stdout.split()), done.stdout
    assert len(done.stdout.split()) == 2
