"""Choosing by GPUs [R3]: what is known of a replica's devices now, who is beyond a limit, and how good the rest is.

What nobody read, or too long ago, is unknown: an unknown number passes every limit and scores like the mean of the
known ones. Where an engine tells the usage of its KV cache, that stands for memory: engines such as vLLM take nearly
all device memory when they start, so the device itself would look full for ever.
"""

from collections.abc import Sequence
from math import fsum
from typing import Final, NamedTuple

from penstock.base.nouns import Call
from penstock.core.load import Seat
from penstock.core.route.presets import GpuAware

MB: Final = 1_000_000
BASE_BYTES: Final = 2000 * MB
BYTES_A_TOKEN: Final = MB // 2
"""What a call is taken to need where the model's KV bytes are not configured [R3]."""
DEFAULT_MAX_TOKENS: Final = 1024
"""What a call that sets no bound is taken to generate [L3]."""


class Devices(NamedTuple):
    """A replica's GPUs as one: the worst of each, for the slowest of several that share a model sets the pace."""

    utilisation: float | None = None
    memory: float | None = None
    """Share in use."""
    free_bytes: int | None = None
    temperature_c: float | None = None


def devices(seat: Seat, now: float) -> Devices:
    """What is known now."""
    utilisation = memory = free = hot = None
    if seat.gpus and now < seat.gpus_until:
        used = [gpu.utilisation for gpu in seat.gpus if gpu.utilisation is not None]
        heat = [gpu.temperature_c for gpu in seat.gpus if gpu.temperature_c is not None]
        room = [
            (gpu.memory_used_bytes, gpu.memory_total_bytes)
            for gpu in seat.gpus
            if gpu.memory_used_bytes is not None and gpu.memory_total_bytes
        ]
        utilisation, hot = max(used, default=None), max(heat, default=None)
        memory = max((taken / most for taken, most in room), default=None)
        # a model that is split over GPUs needs the same on each
        free = min(most - taken for taken, most in room) * len(room) if room else None
    stats = seat.stats if now < seat.stats_until else None
    if stats is not None:
        if utilisation is None:
            utilisation = stats.gpu_utilisation
        if stats.kv_usage is not None:
            memory, free = stats.kv_usage, None
    return Devices(utilisation, memory, free, hot)


def need_bytes(call: Call, spec: GpuAware) -> int:
    """The memory that a call will take."""
    tokens = call.prompt_tokens + (DEFAULT_MAX_TOKENS if call.max_tokens is None else call.max_tokens)
    per_token = spec.kv_bytes_per_token.get(call.model)
    return BASE_BYTES + BYTES_A_TOKEN * tokens if per_token is None else per_token * tokens


class WithinLimits:
    """Leaves out who is too busy, too full (or without room for this call), or too hot."""

    def __init__(self, spec: GpuAware) -> None:
        self._spec = spec
        self._max_utilisation = spec.target_utilisation + spec.headroom + 1e-9

    def keep(self, call: Call, seats: Sequence[Seat], now: float) -> list[Seat]:
        """See `Filter`."""
        need = need_bytes(call, self._spec)
        return [seat for seat in seats if self._fits(devices(seat, now), need)]

    def _fits(self, found: Devices, need: int) -> bool:
        spec = self._spec
        if found.utilisation is not None and found.utilisation > self._max_utilisation:
            return False
        if found.memory is not None and found.memory > spec.max_memory:
            return False
        if found.temperature_c is not None and found.temperature_c > spec.max_c:
            return False
        return found.free_bytes is None or found.free_bytes >= need


class BelowHeatLimit:
    """Leaves out who is so hot that the hardware will slow itself down."""

    def __init__(self, limit_c: float) -> None:
        self._limit_c = limit_c

    def keep(self, call: Call, seats: Sequence[Seat], now: float) -> list[Seat]:
        """See `Filter`."""
        found = [(seat, devices(seat, now).temperature_c) for seat in seats]
        return [seat for seat, heat in found if heat is None or heat <= self._limit_c]


def filled(values: Sequence[float | None]) -> list[float]:
    """Unknown ones become the mean of the known; all unknown: all alike."""
    known = [value for value in values if value is not None]
    typical = fsum(known) / len(known) if known else 1.0
    return [typical if value is None else value for value in values]


class Headroom:
    """The weighted sum of unused utilisation, unused memory, coolness and fit, over the sum of the weights."""

    def __init__(self, spec: GpuAware) -> None:
        self._spec = spec
        self._sum = spec.utilisation + spec.memory + spec.temperature + spec.fit

    def coolness(self, heat_c: float) -> float:
        """1 up to `warm_c`, 0 from `limit_c` on."""
        spec = self._spec
        if heat_c <= spec.warm_c:
            return 1.0
        return max(0.0, (spec.limit_c - heat_c) / (spec.limit_c - spec.warm_c)) if heat_c < spec.limit_c else 0.0

    def fit(self, free_bytes: int, need: int) -> float:
        """1 where the call takes just `best_fit` of what is free, less the further away it is from that."""
        taken = need / free_bytes if free_bytes > 0 else 2.0
        return max(0.0, 1.0 - abs(taken - self._spec.best_fit) / max(self._spec.best_fit, 1 - self._spec.best_fit))

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """See `Scorer`."""
        spec = self._spec
        found = [devices(seat, now) for seat in seats]
        need = need_bytes(call, spec) if spec.fit else 0
        unused = filled([None if it.utilisation is None else max(0.0, 1 - it.utilisation) for it in found])
        room = filled([None if it.memory is None else max(0.0, 1 - it.memory) for it in found])
        cool = filled([None if it.temperature_c is None else self.coolness(it.temperature_c) for it in found])
        fits = filled([None if it.free_bytes is None or not need else self.fit(it.free_bytes, need) for it in found])
        return [
            (spec.utilisation * a + spec.memory * b + spec.temperature * c + spec.fit * d) / self._sum
            for a, b, c, d in zip(unused, room, cool, fits, strict=True)
        ]
