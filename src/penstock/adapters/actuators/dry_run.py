"""The actuator that starts nothing: a pool shows what it would do, before anybody lets it.

Its replicas have no address, so no call goes to them; they count as ready at once.
"""

import logging

from msgspec import Struct

from penstock.base.nouns import Purchase, Unit

log = logging.getLogger("penstock.actuators")


class DryRunSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="dry_run", tag_field="kind"):
    """Starts nothing: the pool decides, and its decisions are shown."""


class DryRun:
    """See `base.ports.Actuator`."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._units: dict[str, Unit] = {}

    async def look(self, timeout_s: float) -> tuple[Unit, ...]:
        """What would run."""
        return tuple(self._units.values())

    async def start(self, unit: str, purchase: Purchase = "on_demand") -> None:
        """Say that it would be started."""
        if unit not in self._units:
            kind = " as spot" if purchase == "spot" else ""
            log.info("pool %s, dry run: %s would be started%s", self._pool, unit, kind)
            self._units[unit] = Unit(id=unit, state="running", purchase=purchase)

    async def stop(self, unit: str) -> None:
        """Say that it would be stopped."""
        if self._units.pop(unit, None) is not None:
            log.info("pool %s, dry run: %s would be stopped", self._pool, unit)

    async def drain(self, unit: str, drain: bool) -> None:
        """Nobody else ends them."""

    def close(self, end: bool = False) -> None:
        """Nothing is held."""
