"""Regions of a simulation that go dark: which of them are, and whom that befalls. What it means for calls is the
engines' business.
"""

from collections.abc import Mapping
from typing import Protocol

from penstock.config.scenarios import Fault, RegionDark
from penstock.drive.kernel import Kernel


class Located(Protocol):
    """An engine, as far as darkness needs it."""

    @property
    def region(self) -> str:
        """Where it is."""
        ...

    def darken(self) -> None:
        """Its region is cut off."""
        ...

    def lighten(self) -> None:
        """Its region can be reached again."""
        ...


class Darkness:
    """One run's."""

    def __init__(self, engines: Mapping[str, Located], kernel: Kernel) -> None:
        self._engines = engines
        self._kernel = kernel
        self._dark: dict[str, int] = {}
        """Region -> faults of it that go on."""

    def plan(self, faults: tuple[Fault, ...]) -> None:
        """These go dark in time."""
        for fault in faults:
            if isinstance(fault, RegionDark):
                self._kernel.at(fault.at_s, self._begin, fault.region)
                if fault.for_s is not None:
                    self._kernel.at(fault.at_s + fault.for_s, self._over, fault.region)

    def joins(self, engine: Located) -> None:
        """One more engine, which may come into the dark."""
        if self._dark.get(engine.region):
            engine.darken()

    def _begin(self, region: str) -> None:
        self._dark[region] = self._dark.get(region, 0) + 1
        if self._dark[region] == 1:
            for engine in self._of(region):
                engine.darken()

    def _over(self, region: str) -> None:
        self._dark[region] -= 1
        if not self._dark[region]:
            for engine in self._of(region):
                engine.lighten()

    def _of(self, region: str) -> list[Located]:
        return [engine for engine in self._engines.values() if engine.region == region]
