"""What a pool looks like for the Governor: its queue, and what is known of each replica's load and health.

Made by the Gate's side when somebody looks, so that a pool that is not scaled pays nothing.
"""

from math import fsum

from msgspec import Struct

from penstock.core.load import Seat
from penstock.core.pool import Pool


class ReplicaSeen(Struct, frozen=True, kw_only=True, gc=False):
    """One replica in a window; None: not known, or too old to be used."""

    id: str
    well: bool
    """It can take calls, as far as probes, breaker and comparisons say."""
    loading: bool
    """It has not answered its first health probe yet."""
    in_flight: int
    seats: int
    waiting: int | None = None
    """In its engine's own queue."""
    gpu: float | None = None
    kv_usage: float | None = None
    ttft_s: float | None = None
    served: int = 0
    """Calls that it has answered so far."""


class Window(Struct, frozen=True, kw_only=True):
    """One look at a pool."""

    queued: int
    """Calls that wait in the gateway."""
    replicas: tuple[ReplicaSeen, ...]
    rps: float | None = None
    """Calls that came in a second, over the last minute; None: not known, or not counted (`flow`)."""
    rps_now: float | None = None
    """The same since the last look."""
    p95_s: float | None = None
    """From arrival to the end of the answer, of the last minute's calls; None: as above, or there were none."""
    answers: int | None = None
    """How many calls that says; None: they are not counted."""


def window_of(pool: Pool, now: float) -> Window:
    """A pool as it stands."""
    return Window(queued=pool.counts.calls, replicas=tuple(_seen(seat, now) for seat in pool.seats))


def _seen(seat: Seat, now: float) -> ReplicaSeen:
    stats = seat.stats if now < seat.stats_until else None
    return ReplicaSeen(
        id=seat.id, well=seat.health.well, loading=seat.health.life in ("provisioning", "warming"),
        in_flight=seat.in_flight, seats=seat.seats, waiting=None if stats is None else stats.waiting,
        gpu=_gpu(seat, now), kv_usage=None if stats is None else stats.kv_usage, ttft_s=seat.ttft_s,
        served=seat.served,
    )  # fmt: skip


def _gpu(seat: Seat, now: float) -> float | None:
    """The mean over its GPUs as they were read, else what its engine says."""
    if now < seat.gpus_until:
        read = [gpu.utilisation for gpu in seat.gpus if gpu.utilisation is not None]
        if read:
            return fsum(read) / len(read)
    return seat.stats.gpu_utilisation if seat.stats is not None and now < seat.stats_until else None
