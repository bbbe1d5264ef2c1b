"""NVML, by a library that stands for nvidia-ml-py: the real one needs a driver, and says only then what it says.

Where the real package is installed, its names are held against those that we call, and its error against ours.
"""

import asyncio
import importlib
import threading
from types import ModuleType, SimpleNamespace

import pytest

from penstock.adapters.gpu.nvml import Nvml
from penstock.base.nouns import GpuReading


class Driver(ModuleType):
    """The part of nvidia-ml-py that we call, over devices given as tables: a missing number is not supported."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        """The package's own error."""

    def __init__(self, *devices: dict[str, object], missing: bool = False) -> None:
        super().__init__("pynvml")
        self.devices = devices
        self.missing = missing
        self.open = 0
        self.wait = threading.Event()
        self.wait.set()

    def nvmlInit(self) -> None:  # noqa: N802
        if self.missing:
            raise self.NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        if not self.open:
            raise self.NVMLError("Uninitialized")
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self.wait.wait(5)
        if not self.open:
            raise self.NVMLError("Uninitialized")
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, object]:  # noqa: N802
        if not self.devices[index]:
            raise self.NVMLError("GPU is lost")
        return self.devices[index]

    def _of(self, device: dict[str, object], what: str) -> object:
        if what not in device:
            raise self.NVMLError("Not Supported")
        return device[what]

    def nvmlDeviceGetUUID(self, device: dict[str, object]) -> object:  # noqa: N802
        return self._of(device, "uuid")

    def nvmlDeviceGetUtilizationRates(self, device: dict[str, object]) -> object:  # noqa: N802
        return SimpleNamespace(gpu=self._of(device, "gpu"), memory=0)

    def nvmlDeviceGetMemoryInfo(self, device: dict[str, object]) -> object:  # noqa: N802
        return self._of(device, "memory")

    def nvmlDeviceGetTemperature(self, device: dict[str, object], sensor: int) -> object:  # noqa: N802
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._of(device, "temperature")

    def nvmlDeviceGetPowerUsage(self, device: dict[str, object]) -> object:  # noqa: N802
        return self._of(device, "power")


H200 = {
    "uuid": "GPU-5b4e07f6-3a86-4340-039d-25f2a83cdc43",
    "gpu": 97,
    "memory": SimpleNamespace(total=150754820096, used=75377410048, free=75377410048),
    "temperature": 61,
    "power": 689438,
}
READING = GpuReading(
    index=0,
    uuid="GPU-5b4e07f6-3a86-4340-039d-25f2a83cdc43",
    utilisation=0.97,
    memory_used_bytes=75377410048,
    memory_total_bytes=150754820096,
    temperature_c=61.0,
    power_w=689.438,
)


def test_a_gpu() -> None:
    """Percent, bytes, degrees and milliwatts come out in our units."""
    assert Nvml(Driver(H200)).readings() == [READING]


def test_a_gpu_that_does_not_tell_all() -> None:
    """What a device does not support is not known; a name in bytes is read as well; a lost device is left out."""
    old = {"uuid": b"GPU-1", "temperature": 34}
    assert Nvml(Driver({}, old)).readings() == [GpuReading(index=1, uuid="GPU-1", temperature_c=34.0)]


def test_no_driver_is_an_error() -> None:
    """Without a driver there is nothing to ask, and the reason is told."""
    with pytest.raises(OSError, match="NVML: Driver Not Loaded"):
        Nvml(Driver(missing=True))


def test_after_the_end_it_is_an_error() -> None:
    """A closed library cannot be asked; closing it twice does no harm."""
    nvml = Nvml(Driver(H200))
    nvml.close()
    nvml.close()
    with pytest.raises(OSError, match="Uninitialized"):
        nvml.readings()


def test_a_look() -> None:
    """Asked from a loop, it answers the same from a thread."""
    assert asyncio.run(Nvml(Driver(H200)).read(5.0)) == [READING]


def test_a_look_that_hangs_is_not_waited_for() -> None:
    """An ill device costs the time limit; the loop goes on."""

    async def main() -> None:
        driver = Driver(H200)
        driver.wait.clear()
        with pytest.raises(TimeoutError):
            await Nvml(driver).read(0.02)
        driver.wait.set()  # or the loop would wait for the thread at its end

    asyncio.run(main())


def test_without_the_package_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nvidia-ml-py is not installed, the error names it and the extra."""

    def nowhere(name: str) -> ModuleType:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", nowhere)
    with pytest.raises(OSError, match="nvidia-ml-py, penstock's extra `gpu`"):
        Nvml()


def test_the_real_package_has_the_names_that_we_call() -> None:
    """Our stand-in is no invention: whatever it has, nvidia-ml-py has, and its error is an exception."""
    real = pytest.importorskip("pynvml")
    ours = [name for name in dir(Driver) if name.lower().startswith("nvml")]
    assert len(ours) == 11
    assert [name for name in ours if not hasattr(real, name)] == []
    assert issubclass(real.NVMLError, Exception)
