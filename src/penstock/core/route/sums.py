"""The four plain scores of `adaptive`, weighed and added in one go: of the replicas that may be the best to the last
bit what its scorers make one by one, of the others something less than the best.

It is for who keeps no notes of the single scores, as a simulation, where a choice is made for every request of
millions. Between two choices most replicas have as many calls as before, and what changes by itself only rises: slow
starts and errors fade. So a sum is kept for a moment, and is worked out anew where it and what it may have risen by
come near the best.
"""

from collections.abc import Callable, Sequence
from math import exp
from operator import add
from typing import Any, Final

from penstock.base.nouns import Call
from penstock.core.load import FADE_S, Seat
from penstock.core.route.scorers import Errors, Gpu, Latency, Load, Scorer

Weighted = tuple[float, Scorer]
Sums = Callable[[Call, Sequence[Seat], Weighted | None, float], list[float] | None]

KEPT_S: Final = 0.25
"""How long a sum is kept at most. A mean x or an error rate fades by KEPT_S / FADE_S of it in that time. Of r / (r + x)
that is at most x r / (r + x)², so a quarter, of 1 - 10 x at most all, and a tenth more covers what is left out here."""
_ROUNDING: Final = 1e-9


def in_one_go(scorers: Sequence[Weighted]) -> Sums | None:
    """What adds up the first four of these; None where they are not those of `adaptive`."""
    if [type(scorer) for _, scorer in scorers[:4]] != [Load, Latency, Errors, Gpu]:
        return None
    (a, _), (b, latency), (c, _), (d, _) = scorers[:4]
    assert isinstance(latency, Latency)
    ref_s = latency.reference_s
    risen = 1.1 * KEPT_S / FADE_S * (0.25 * b + c) + _ROUNDING

    def kept(seat: Seat, now: float) -> float | None:
        """A seat's sum, and kept from now on; None: it was not measured or does not say."""
        used = seat.gpu_used
        if seat.ttft_s is None or used is None or now >= seat.stats_until:
            return None
        in_flight = seat.in_flight
        seat.scored = (
            a * (1.0 - 0.7 * in_flight / seat.seats - 0.3 * seat.queued_share)
            + b * (ref_s / (ref_s + seat.ttft_s * exp((seat.ttft_at - now) / FADE_S)))
            + (c * max(0.0, 1.0 - 10.0 * seat.error_rate_at(now)) if seat.errors else c)
            + d * max(0.0, 1.0 - used - seat.gpu_more * (in_flight - seat.gpu_then))
        )
        seat.scored_for = in_flight
        seat.scored_until = min(now + KEPT_S, seat.stats_until)
        return seat.scored

    def sums(call: Call, seats: Sequence[Seat], other: Weighted | None, now: float) -> list[float] | None:
        """With what `other` adds. None: somebody was not measured or does not say, or the answer comes whole: the
        scorers know what then."""
        if not call.stream:
            return None
        found: list[Any] = [
            seat.scored if seat.scored_for == seat.in_flight and now < seat.scored_until else kept(seat, now)
            for seat in seats
        ]
        more = None if other is None else [other[0] * score for score in other[1].score(call, seats, now)]
        try:
            if more is None:
                least = max(found) - risen
                return [score if score < least else kept(seat, now) for score, seat in zip(found, seats)]  # type: ignore[misc]
            least = max(map(add, found, more)) - risen
            return [
                (score if score + extra < least else kept(seat, now)) + extra  # type: ignore[operator]
                for score, extra, seat in zip(found, more, seats)
            ]
        except TypeError:  # a None among them
            return None

    return sums
