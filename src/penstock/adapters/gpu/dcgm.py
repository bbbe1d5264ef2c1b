"""GPUs by NVIDIA's DCGM exporter, a Prometheus page of a whole node (port 9400 as a rule).

One GPU may have several lines of one name: one for each MIG instance (GPU_I_ID), or one for each pod that shares it.
Memory of instances is summed; whatever is told several times for the same part is taken once, the largest.
Sources: DCGM documentation, dcgm-exporter and its metrics; pages in the exporter's README and issues.
"""

import asyncio
import re
from urllib.parse import urlsplit

from penstock.adapters.exposition import Page
from penstock.adapters.gpu.bounds import celsius, mebibytes, percent, watts
from penstock.base.nouns import GpuReading

Part = tuple[int, str]
"""A GPU: its index and UUID."""

MAX_PAGE_BYTES = 8 << 20

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})", re.IGNORECASE)


def readings(body: bytes) -> list[GpuReading]:
    """The GPUs on a page, by index. Raises ValueError for a page without any."""
    page = Page(body)
    used, free = _summed(page, "DCGM_FI_DEV_FB_USED"), _summed(page, "DCGM_FI_DEV_FB_FREE")
    reserved = _summed(page, "DCGM_FI_DEV_FB_RESERVED")  # told by newer exporters alone
    utilisation, temperature = _largest(page, "DCGM_FI_DEV_GPU_UTIL"), _largest(page, "DCGM_FI_DEV_GPU_TEMP")
    power = _largest(page, "DCGM_FI_DEV_POWER_USAGE")
    found = []
    for part in sorted({**used, **free, **utilisation, **temperature, **power}):
        in_use, left, kept = mebibytes(used.get(part)), mebibytes(free.get(part)), mebibytes(reserved.get(part))
        total = None if in_use is None or left is None else in_use + left + (kept or 0)
        found.append(
            GpuReading(
                index=part[0],
                uuid=part[1],
                utilisation=percent(utilisation.get(part)),
                memory_used_bytes=in_use,
                memory_total_bytes=total,
                temperature_c=celsius(temperature.get(part)),
                power_w=watts(power.get(part)),
            )
        )
    if not found:
        raise ValueError("not a page of the DCGM exporter, or of a node without GPUs")
    return found


def _instances(page: Page, name: str) -> dict[Part, dict[str, float]]:
    """GPU -> MIG instance ("" where it is not divided) -> value."""
    found: dict[Part, dict[str, float]] = {}
    for labels, value in page.samples(name):
        index = labels.get("gpu", "")
        if index.isascii() and index.isdigit() and len(index) <= 6:
            of_gpu = found.setdefault((int(index), labels.get("UUID", "")), {})
            instance = labels.get("GPU_I_ID", "")
            of_gpu[instance] = max(value, of_gpu.get(instance, value))
    return found


def _summed(page: Page, name: str) -> dict[Part, float]:
    return {part: sum(values.values()) for part, values in _instances(page, name).items()}


def _largest(page: Page, name: str) -> dict[Part, float]:
    return {part: max(values.values()) for part, values in _instances(page, name).items()}


async def read(url: str, timeout_s: float) -> list[GpuReading]:
    """Ask the exporter at http(s)://host:port/path. Raises OSError (time-outs too), or ValueError for another page."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not the URL of an exporter: {url[:200]!r}")
    async with asyncio.timeout(timeout_s):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=parts.scheme == "https" or None)
        try:
            path = (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {parts.hostname}:{port}\r\n\r\n".encode())
            return readings(_body(await _all_of(reader)))
        finally:
            writer.close()


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    answer = bytearray()
    while chunk := await reader.read(64 << 10):
        answer += chunk
        if len(answer) > MAX_PAGE_BYTES:
            raise ValueError(f"a page of more than {MAX_PAGE_BYTES} bytes")
    return bytes(answer)


def _body(answer: bytes) -> bytes:
    """The body of an HTTP/1.0 answer: it ends with the connection, and is never chunked (RFC 9112, 6.1)."""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or words[1] != b"200":
        raise OSError(f"the exporter answers {head[:80].decode(errors='replace')!r}")
    length = _LENGTH.search(head)
    if length is not None and len(body) < int(length[1]):
        raise OSError(f"the exporter broke off after {len(body)} of {int(length[1])} bytes")
    return body
