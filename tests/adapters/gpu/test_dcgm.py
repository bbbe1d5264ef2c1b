"""The DCGM exporter's page, in the form that releases 3 and 4 write, and a server that stands for it on this host."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.gpu.dcgm import read, readings
from penstock.base.nouns import GpuReading

DATA = Path(__file__).parent / "data"
PAGE = (DATA / "dcgm_l40s.txt").read_bytes()
MIB = 1 << 20


def test_a_page() -> None:
    """One GPU's numbers are brought together from their lines; what is reserved counts as memory it has."""
    assert readings(PAGE) == [
        GpuReading(
            index=0,
            uuid="GPU-5b4e07f6-3a86-4340-039d-25f2a83cdc43",
            utilisation=0.97,
            memory_used_bytes=40000 * MIB,
            memory_total_bytes=(40000 + 5459 + 608) * MIB,
            temperature_c=61.0,
            power_w=289.438,
        )
    ]


def test_a_divided_gpu() -> None:
    """Memory of MIG instances is summed, what is told once for each is taken once; a GPU divided has no utilisation."""
    divided, whole = readings((DATA / "dcgm_mig.txt").read_bytes())
    assert divided == GpuReading(
        index=0,
        uuid="GPU-1f027ee8-6e1e-2b8c-0108-3d370e5f0418",
        memory_used_bytes=21 * MIB,
        memory_total_bytes=(21 + 2 * 19957) * MIB,
        temperature_c=34.0,
    )
    assert (whole.index, whole.memory_used_bytes) == (6, 0)


def test_a_shared_gpu_counts_once() -> None:
    """Two pods that share a GPU have a line each for the same memory: it is not used twice."""
    body = b"""DCGM_FI_DEV_FB_USED{gpu="1", UUID="GPU-1", pod="a"} 100
DCGM_FI_DEV_FB_USED{gpu="1", UUID="GPU-1", pod="b"} 100
"""
    assert readings(body) == [GpuReading(index=1, uuid="GPU-1", memory_used_bytes=100 * MIB)]


def test_blanks_are_not_known() -> None:
    """DCGM's number for "blank" is not a temperature, and does not become memory."""
    body = b"""DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1"} 9223372036854775794
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-1"} 2147483632
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-1"} 5
"""
    assert readings(body) == [GpuReading(index=0, uuid="GPU-1")]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'DCGM_FI_DEV_GPU_TEMP{gpu="x"} 5\n', b'DCGM_FI_DEV_GPU_TEMP{gpu="0"} x']
)
def test_another_page_is_an_error(body: bytes) -> None:
    """A page without GPUs is a failed look."""
    with pytest.raises(ValueError):
        readings(body)


@settings(max_examples=50)
@given(st.binary(max_size=200), st.integers(0, 4000))
def test_nothing_but_value_error(noise: bytes, at: int) -> None:
    """Whatever the page is, reading ends in GPUs or in ValueError."""
    for body in (noise, PAGE[:at] + noise + PAGE[at:]):
        try:
            readings(body)
        except ValueError:
            pass


async def _asked(answer: bytes, timeout_s: float = 5.0, path: str = "/metrics") -> tuple[list[GpuReading], bytes]:
    """What a look at a server with this answer finds, and what the server was asked."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            if not answer:
                await reader.read()  # until the other side gives up
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await read(f"http://127.0.0.1:{port}{path}", timeout_s), heads[0]


def test_a_look() -> None:
    """An exporter is asked by HTTP/1.0, at the URL's path and query, and its page is read."""
    answer = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE
    found, head = asyncio.run(_asked(answer, path="/gpu?a=b"))
    assert found == readings(PAGE)
    assert head.startswith(b"GET /gpu?a=b HTTP/1.0\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 503 Service Unavailable\r\n\r\n" + PAGE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + PAGE,
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
)
def test_a_failed_look(answer: bytes) -> None:
    """Another status, a page that broke off, and another protocol are errors, whatever numbers came."""
    with pytest.raises(OSError, match="the exporter"):
        asyncio.run(_asked(answer))


def test_a_look_that_hangs_is_ended() -> None:
    """An exporter that accepts and says nothing costs the time limit, no more."""
    with pytest.raises(TimeoutError):
        asyncio.run(_asked(b"", timeout_s=0.05))


@pytest.mark.parametrize("url", ["ftp://host/metrics", "localhost:9400", "http:///metrics"])
def test_another_url_is_an_error(url: str) -> None:
    """Only http and https URLs with a host can be asked."""
    with pytest.raises(ValueError, match="not the URL"):
        asyncio.run(read(url, 1.0))
