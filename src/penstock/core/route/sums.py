"""The four plain scores of `adaptive`, weighed and added in one go: to the last bit what its scorers make one by one.

Of 64 replicas those make five lists and take half as long again. It is for who keeps no notes of the single scores, as
a simulation, where a choice is made for every request of millions.
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
                a * (
                    1.0 - 0.7 * seat.in_flight / seat.seats
                    - (0.3 * seat.queued_share if now < seat.stats_until else seat.pinned_load)
                )
                + b * (ref_s / (ref_s + seat.ttft_s * exp((seat.ttft_at - now) / FADE_S)))  # type: ignore[operator]
                + (c * max(0.0, 1.0 - 10.0 * seat.error_rate_at(now)) if seat.errors else c)
                + d * (
                    free if (
                        free := 1.0 - (seat.gpu_used if now < seat.stats_until else None)  # type: ignore[operator]
                        - seat.gpu_more * (seat.in_flight - seat.gpu_then)
                    ) > 0.0 else 0.0
                )
                for seat in seats
            ]  # fmt: skip
        except TypeError:
            return None

    return sums
