"""The GPUs of an engine as a reader of GPUs would see them: how busy, how full, how hot, how much power.

What is known of them is the engine: whether a step runs, and how much of the KV cache is held. The rest is assumed, to
first order, and no measurement stands behind the constants:

- Utilisation is the share of the time since the last look in which a step ran. One sequence makes a GPU as busy as a
  hundred do, as the makers' own number has it (the share of time in which any kernel ran).
- Memory is the weights and the blocks that sequences hold. An engine that takes its memory when it starts, as vLLM
  does, shows a full GPU instead; routing reads such an engine's KV usage, which it tells itself.
- Temperature goes towards `idle_c` + (`busy_c` - `idle_c`) x utilisation, exponentially, with the time constant
  `settle_s`.
- Power is a tenth of the GPU's watts when idle, all of them when busy, and straight in between.
"""

from math import exp

from msgspec import Struct

from penstock.base.nouns import GpuReading

IDLE_POWER = 0.1
"""Share of its watts that an idle GPU takes."""


class Card(Struct, frozen=True, kw_only=True):
    """One of a replica's GPUs, which are alike."""

    count: int = 1
    memory_bytes: int
    weights_bytes: int
    """The model's, on each."""
    share: float = 0.9
    """Of the memory that the engine takes."""
    watts: float
    """When it is busy all the time."""
    idle_c: float = 35.0
    busy_c: float = 70.0
    settle_s: float = 60.0


class Devices:
    """One replica's, over time. They begin idle and cool."""

    __slots__ = ("_busy", "_busy_s", "_celsius", "_looked_at", "_name", "_since", "card")

    def __init__(self, name: str, card: Card, now: float) -> None:
        self.card = card
        self._name = name
        self._celsius = card.idle_c
        self._busy = False
        self._busy_s = 0.0
        """Since the last look, until `_since`."""
        self._since = self._looked_at = now

    def works(self, busy: bool, now: float) -> None:
        """From now on steps run, or none does."""
        if busy is not self._busy:
            if self._busy:
                self._busy_s += now - self._since
            self._busy, self._since = busy, now

    def look(self, kv_usage: float | None, now: float) -> tuple[GpuReading, ...]:
        """All of them as they are now. `kv_usage`: share of the KV cache that is held, 0..1; None: no engine is there,
        and no model."""
        card, passed_s = self.card, now - self._looked_at
        busy_s = self._busy_s + (now - self._since if self._busy else 0.0)
        used = min(1.0, busy_s / passed_s) if passed_s > 0 else float(self._busy)
        self._busy_s, self._since, self._looked_at = 0.0, now, now
        if passed_s > 0:
            goal = card.idle_c + (card.busy_c - card.idle_c) * used
            left = exp(-passed_s / card.settle_s) if card.settle_s > 0 else 0.0
            self._celsius = goal + (self._celsius - goal) * left
        room = max(0.0, card.memory_bytes * card.share - card.weights_bytes)
        held = 0 if kv_usage is None else card.weights_bytes + int(kv_usage * room)
        return tuple(
            GpuReading(
                index=number, uuid=f"{self._name}/{number}", utilisation=used, memory_used_bytes=held,
                memory_total_bytes=card.memory_bytes, temperature_c=self._celsius,
                power_w=card.watts * (IDLE_POWER + (1 - IDLE_POWER) * used),
            )
            for number in range(card.count)
        )  # fmt: skip
