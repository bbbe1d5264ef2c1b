"""GPUs by nvidia-smi, which comes with the driver: a process a look, some tenths of a second, nothing to install.

The output is CSV without quotes, one line a GPU. Words stand for what a device does not tell: [N/A], [Not Supported],
[Unknown Error], [GPU is lost], ERR!. Source: nvidia-smi's manual page, --query-gpu and "N/A" in return values.
"""

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE

from penstock.adapters.gpu.bounds import celsius, mebibytes, percent, watts
from penstock.base.nouns import GpuReading

FIELDS = ("index", "uuid", "utilization.gpu", "memory.used", "memory.total", "temperature.gpu", "power.draw")
COMMAND = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")

MAX_OUTPUT_BYTES = 256 << 10
"""Some hundred bytes a GPU: room for a thousand."""
LAST_WORDS_S = 2.0
"""How long a killed nvidia-smi is waited for; one that hangs in the driver does not even die at once."""


def readings(output: bytes) -> list[GpuReading]:
    """The GPUs in its output. Raises ValueError for a line that is none, such as its words when the driver is away."""
    return [_reading(line) for line in output.decode(errors="replace").splitlines() if line.strip()]


def _reading(line: str) -> GpuReading:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(FIELDS) or not (cells[0].isascii() and cells[0].isdigit()):
        raise ValueError(f"not a GPU of nvidia-smi: {line[:200]!r}")
    utilisation, used, most, temperature, power = (_number(cell) for cell in cells[2:])
    return GpuReading(
        index=int(cells[0]),
        uuid=cells[1],
        utilisation=percent(utilisation),
        memory_used_bytes=mebibytes(used),
        memory_total_bytes=mebibytes(most),
        temperature_c=celsius(temperature),
        power_w=watts(power),
    )


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:  # one of its words
        return None


class _Look(asyncio.SubprocessProtocol):
    """Collects what the process says, up to the bound."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """It has exited, and everything it said has been read; or it says too much."""
        self.gone = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.output += data
        if len(self.output) > MAX_OUTPUT_BYTES and not self.ended.done():
            self.ended.set_exception(ValueError(f"nvidia-smi said more than {MAX_OUTPUT_BYTES} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        if not self.ended.done():
            self.ended.set_result(None)


async def read(timeout_s: float, command: tuple[str, ...] = COMMAND) -> list[GpuReading]:
    """Ask nvidia-smi. Raises OSError where there is none, it fails or takes too long; ValueError for its words."""
    loop = asyncio.get_running_loop()
    process, look = await loop.subprocess_exec(_Look, *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
    try:
        async with asyncio.timeout(timeout_s):
            await look.ended
    finally:
        process.close()  # kills it where it still runs
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await look.gone.wait()
    output = bytes(look.output)
    if status := process.get_returncode():
        raise OSError(f"{command[0]} ended with {status}: {output[:200].decode(errors='replace').strip()}")
    return readings(output)
