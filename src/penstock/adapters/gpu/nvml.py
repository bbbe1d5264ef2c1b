"""GPUs by NVML, the driver's library, on the same host: the cheapest look, without a process.

It needs the package nvidia-ml-py (extra `gpu`), which is imported only when somebody asks. Its calls block, for
milliseconds as a rule and for seconds where a device is ill: `read` makes them in a thread.
"""

import asyncio
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from penstock.adapters.gpu.bounds import celsius, nbytes, percent, watts
from penstock.base.nouns import GpuReading

MAX_GPUS = 1024

_T = TypeVar("_T")


class Nvml:
    """The library, loaded and initialised."""

    def __init__(self, library: ModuleType | None = None) -> None:
        """Raises OSError where the package or the driver is missing."""
        self._nvml: Any = library or _package()
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise OSError(f"NVML: {error}") from None

    def readings(self) -> list[GpuReading]:
        """Every GPU that can be reached at all; a lost one is left out. Blocks. Raises OSError."""
        nvml = self._nvml
        try:
            count = min(int(nvml.nvmlDeviceGetCount()), MAX_GPUS)
        except nvml.NVMLError as error:
            raise OSError(f"NVML: {error}") from None
        found = (self._reading(index) for index in range(count))
        return [reading for reading in found if reading is not None]

    async def read(self, timeout_s: float) -> list[GpuReading]:
        """`readings` in a thread. Raises OSError, TimeoutError among them: the thread is left to end by itself."""
        async with asyncio.timeout(timeout_s):
            return await asyncio.to_thread(self.readings)

    def close(self) -> None:
        """Let the library go. It may be gone already."""
        self._ask(self._nvml.nvmlShutdown)

    def _reading(self, index: int) -> GpuReading | None:
        nvml = self._nvml
        device = self._ask(lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        uuid = None if device is None else self._ask(lambda: nvml.nvmlDeviceGetUUID(device))
        if uuid is None:
            return None
        # What the driver keeps for itself counts as used here, unlike with nvidia-smi: what is left is the same.
        memory = self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(device))
        power_mw = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(device))
        return GpuReading(
            index=index,
            uuid=uuid.decode() if isinstance(uuid, bytes) else str(uuid),  # bytes before release 11.5
            utilisation=percent(self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(device).gpu)),
            memory_used_bytes=nbytes(memory and memory.used),
            memory_total_bytes=nbytes(memory and memory.total),
            temperature_c=celsius(self._ask(lambda: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU))),
            power_w=watts(None if power_mw is None else power_mw / 1000),
        )

    def _ask(self, question: Callable[[], _T]) -> _T | None:
        try:
            return question()
        except self._nvml.NVMLError:  # not supported by this device, not permitted, or the device fell off the bus
            return None


def _package() -> ModuleType:
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise OSError(f"NVML needs the package nvidia-ml-py, penstock's extra `gpu`: {error}") from None
