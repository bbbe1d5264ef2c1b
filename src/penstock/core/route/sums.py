"""The four plain scores of `adaptive`, weighed and added in one go: to the last bit what its scorers make one by one.

Of 64 replicas those make five lists and take twice as long. It is for who keeps no notes of the single scores, as
a simulation, where a choice is made for every request of millions. Between two choices most replicas have as many calls
as before: what goes by those and by the last look at the engine is kept.
"""

from collections.abc import Callable, Sequence
from math import exp

from penstock.base.nouns import Call
from penstock.core.load import FADE_S, Seat
from penstock.core.route.scorers import Errors, Gpu, Latency, Load, Scorer

Sums = Callable[[Call, Sequence[Seat], float], list[float] | None]


def in_one_go(scorers: Sequence[tuple[float, Scorer]]) -> Sums | None:
    """What adds up the first four of these; None where they are not those of `adaptive`."""
    if [type(scorer) for _, scorer in scorers[:4]] != [Load, Latency, Errors, Gpu]:
        return None
    (a, _), (b, latency), (c, _), (d, _) = scorers[:4]
    assert isinstance(latency, Latency)
    ref_s = latency.reference_s

    def sums(call: Call, seats: Sequence[Seat], now: float) -> list[float] | None:
        """None: somebody was not measured or does not say, or the answer comes whole: the scorers know what then."""
        if not call.stream:
            return None
        try:
            return [
                a * (seat.scored_load if seat.scored == seat.in_flight else _load(seat))
                + b * (ref_s / (ref_s + seat.ttft_s * exp((seat.ttft_at - now) / FADE_S)))  # type: ignore[operator]
                + (c * max(0.0, 1.0 - 10.0 * seat.error_rate_at(now)) if seat.errors else c)
                + d * (seat.scored_gpu if now < seat.stats_until else None)  # type: ignore[operator]
                for seat in seats
            ]  # fmt: skip
        except TypeError:
            return None

    return sums


def _load(seat: Seat) -> float:
    """`Load`'s score of it while its engine's numbers are fresh; `Gpu`'s is kept beside it."""
    seat.scored = in_flight = seat.in_flight
    seat.scored_load = 1.0 - 0.7 * in_flight / seat.seats - 0.3 * seat.queued_share
    used = seat.gpu_used
    seat.scored_gpu = None if used is None else max(0.0, 1.0 - used - seat.gpu_more * (in_flight - seat.gpu_then))
    return seat.scored_load
