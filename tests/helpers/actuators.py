"""An actuator in memory, for tests. It keeps to `tests/contracts/test_actuators.py` as real ones do."""

from penstock.base.nouns import Purchase, Unit


class Obedient:
    """Does what it is told, unless it is told to fail."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.draining: set[str] = set()
        self.fails: Exception | None = None
        """What every look and order raises."""
        self.closed: bool | None = None
        """Whether it was told to end what runs; None: it is open."""

    def _check(self) -> None:
        if self.fails is not None:
            raise self.fails

    async def look(self, timeout_s: float) -> tuple[Unit, ...]:
        """All of them."""
        self._check()
        return tuple(self.units.values())

    async def start(self, unit: str, purchase: Purchase = "on_demand") -> None:
        """One more."""
        self._check()
        self.units.setdefault(unit, Unit(id=unit, state="running", url=f"http://{unit}", purchase=purchase))

    async def stop(self, unit: str) -> None:
        """One fewer."""
        self._check()
        self.units.pop(unit, None)

    async def drain(self, unit: str, drain: bool) -> None:
        """Who finishes what it has."""
        self._check()
        (self.draining.add if drain else self.draining.discard)(unit)

    def close(self, end: bool = False) -> None:
        """No more orders."""
        self.closed = end
