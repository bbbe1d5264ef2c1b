"""nvidia-smi's CSV, in the form and with the words that its manual page shows, and a process that stands for it."""

import asyncio
import time
from pathlib import Path

import pytest

from penstock.adapters.gpu.smi import COMMAND, MAX_OUTPUT_BYTES, read, readings
from penstock.base.nouns import GpuReading

DATA = Path(__file__).parent / "data"
CSV = (DATA / "nvidia_smi.csv").read_bytes()
MIB = 1 << 20


def test_a_busy_gpu_and_three_that_do_not_tell_all() -> None:
    """Numbers are read in our units; each of its words for "not known" is None, and leaves the other numbers alone."""
    busy, divided, old, lost = readings(CSV)
    assert busy == GpuReading(
        index=0,
        uuid="GPU-5b4e07f6-3a86-4340-039d-25f2a83cdc43",
        utilisation=0.97,
        memory_used_bytes=40000 * MIB,
        memory_total_bytes=46068 * MIB,
        temperature_c=61.0,
        power_w=289.44,
    )
    assert (divided.index, divided.utilisation, divided.memory_total_bytes) == (1, None, 81920 * MIB)
    assert (old.utilisation, old.power_w) == (0.0, None)
    assert lost == GpuReading(index=3, uuid="GPU-951eeeeb-d284-d263-688e-d98a5306389b")


def test_windows_lines_and_empty_ones() -> None:
    """Line ends of any system are understood, and no line is no GPU."""
    assert len(readings(CSV.replace(b"\n", b"\r\n") + b"\r\n")) == 4
    assert readings(b"") == []


@pytest.mark.parametrize(
    "output",
    [
        b"No devices were found\n",
        b"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        b"index, uuid, utilization.gpu [%], memory.used [MiB], memory.total [MiB], temperature.gpu, power.draw [W]\n",
        b"0, GPU-1, 5\n",
        b"\xff\xfe, , , , , ,\n",
    ],
)
def test_its_other_words_are_an_error(output: bytes) -> None:
    """What it says instead of GPUs is never taken for one."""
    with pytest.raises(ValueError, match="not a GPU"):
        readings(output)


def test_a_look() -> None:
    """A process is asked, and its output is read."""
    found = asyncio.run(read(5.0, ("cat", str(DATA / "nvidia_smi.csv"))))
    assert found == readings(CSV)


def test_it_asks_for_exactly_the_fields_that_are_read() -> None:
    """The command names the seven fields, without a header or units."""
    assert COMMAND[1:] == (
        "--query-gpu=index,uuid,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw",
        "--format=csv,noheader,nounits",
    )


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("no-such-nvidia-smi",), "no-such-nvidia-smi"),
        (("sh", "-c", "echo No devices were found; exit 6"), "ended with 6: No devices were found"),
    ],
)
def test_a_failed_look(command: tuple[str, ...], error: str) -> None:
    """A missing program and a failing one are errors of the operating system, with its words."""
    with pytest.raises(OSError, match=error):
        asyncio.run(read(5.0, command))


def test_a_look_that_hangs_is_ended() -> None:
    """A process that does not answer in time is killed, and waited for."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(read(0.05, ("sleep", "30")))
    assert time.monotonic() - began < 5


def test_a_look_without_end_is_ended() -> None:
    """A process that talks for ever is stopped at the bound."""
    with pytest.raises(ValueError, match=str(MAX_OUTPUT_BYTES)):
        asyncio.run(read(5.0, ("yes", "0, GPU-1, 1, 1, 1, 1, 1")))
