"""Reads the GPUs of replicas, where the configuration says from, and tells the Gate [F6].

A source is asked once a round however many replicas share it. One that fails is logged once, until it works again; the
old numbers age in the Gate meanwhile. Rounds do not wait for a source that hangs: each has its time limit.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from penstock.adapters.gpu import dcgm, smi
from penstock.adapters.gpu.nvml import Nvml
from penstock.base.errors import ConfigError
from penstock.base.nouns import GpuReading
from penstock.config.schema import Access, GpuMetricsConf
from penstock.core.events import Metered

log = logging.getLogger("penstock.gateway")

EVERY_S = 5.0
ASK_S = 4.0
"""For one source: less than a round, so that answers come in their order."""
MOST_GPUS = 64
"""Of one replica."""

Source = tuple[str, str]
"""nvml, smi or dcgm, and the URL of the last."""


def source_of(conf: GpuMetricsConf) -> Source:
    """What is to be asked."""
    if conf.dcgm is not None:
        return ("dcgm", conf.dcgm)
    return ("nvml" if conf.nvml else "smi", "")


def chosen(readings: Iterable[GpuReading], devices: tuple[str, ...]) -> tuple[GpuReading, ...]:
    """The replica's own among those of its host."""
    own = [it for it in readings if not devices or str(it.index) in devices or it.uuid in devices]
    return tuple(own[:MOST_GPUS])


class GpuWatch:
    """Asks all sources in rounds, for as long as some replica names one."""

    def __init__(
        self, access: Callable[[], Mapping[str, Access]], tell: Callable[[Metered], object], every_s: float = EVERY_S
    ) -> None:
        self._access = access
        self._tell = tell
        self._every_s = every_s
        self._nvml: Nvml | None = None
        self._failing: set[Source] = set()

    async def watch(self) -> None:
        """Look for ever; ends by being cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except Exception as bug:  # the next round may do better
                    log.error("reading GPUs failed: a bug", exc_info=bug)
                await asyncio.sleep(self._every_s)  # noqa: TID251 - a sensor says nothing by itself: a real poll
        finally:
            if self._nvml is not None:
                self._nvml.close()

    async def look(self) -> None:
        """One round."""
        wanted: dict[Source, list[tuple[str, tuple[str, ...]]]] = {}
        for replica, access in self._access().items():
            conf = access.gpu_metrics
            if conf is not None:
                wanted.setdefault(source_of(conf), []).append((replica, conf.devices))
        self._failing &= wanted.keys()
        if wanted:
            await asyncio.gather(*(self._ask(source, replicas) for source, replicas in wanted.items()))

    async def _ask(self, source: Source, replicas: list[tuple[str, tuple[str, ...]]]) -> None:
        try:
            found = await self._read(source)
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError
            if source not in self._failing:
                self._failing.add(source)
                log.warning(
                    "GPUs cannot be read by %s: %s", " ".join(source).strip(), str(error) or type(error).__name__
                )
            return
        self._failing.discard(source)
        for replica, devices in replicas:
            self._tell(Metered(replica, chosen(found, devices)))

    async def _read(self, source: Source) -> list[GpuReading]:
        kind, url = source
        if kind == "dcgm":
            return await dcgm.read(url, ASK_S)
        if kind == "smi":
            return await smi.read(ASK_S)
        if self._nvml is None:
            self._nvml = Nvml()
        return await self._nvml.read(ASK_S)


class _Pushed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reading as an agent sends it: `GpuReading`, with bounds."""

    index: Annotated[int, Meta(ge=0, le=1_000_000)]
    uuid: Annotated[str, Meta(max_length=128)] = ""
    utilisation: Annotated[float, Meta(ge=0, le=1)] | None = None
    memory_used_bytes: Annotated[int, Meta(ge=0, le=1 << 44)] | None = None
    memory_total_bytes: Annotated[int, Meta(gt=0, le=1 << 44)] | None = None
    temperature_c: Annotated[float, Meta(ge=-60, le=200)] | None = None
    power_w: Annotated[float, Meta(ge=0, le=20_000)] | None = None


def parse_pushed(raw: Any) -> tuple[GpuReading, ...]:
    """Readings from decoded JSON. Raises ConfigError that says what is wrong."""
    try:
        pushed = msgspec.convert(raw, Annotated[list[_Pushed], Meta(max_length=MOST_GPUS)])
    except msgspec.ValidationError as error:
        raise ConfigError([f"the readings: {error}; expected a list of GPUs, at most {MOST_GPUS}"]) from None
    return tuple(GpuReading(**msgspec.structs.asdict(it)) for it in pushed)
