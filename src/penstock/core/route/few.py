"""The four plain scores of `adaptive`, and their weighted sum, for a few replicas in one pass: to the last bit what its
scorers make one by one.

Most pools are small, and there a scorer costs what it takes to call it rather than what it works out: one pass over two
replicas costs half of four. Over many replicas the scorers are quicker, each with one list at a time.
"""

from collections.abc import Callable, Sequence
from math import exp
from typing import Final

from penstock.base.nouns import Call
from penstock.core.load import FADE_S, Seat
from penstock.core.route.scorers import Errors, Gpu, Latency, Load, Scorer

FEW: Final = 16
"""Up to so many replicas: two take 0.9 µs where the scorers take 2.3, sixteen 5.6 and 6.9, and 32 as long."""
Parts = tuple[list[list[float]], list[float]]
"""Scores by scorer, and their weighted sums."""
OnePass = Callable[[Call, Sequence[Seat], float], Parts | None]


def one_pass(scorers: Sequence[tuple[float, Scorer]]) -> OnePass | None:
    """What works out the first four of these; None where they are not those of `adaptive`."""
    if [type(scorer) for _, scorer in scorers[:4]] != [Load, Latency, Errors, Gpu]:
        return None
    (a, _), (b, latency), (c, _), (d, gpu) = scorers[:4]
    assert isinstance(latency, Latency)
    ref_s, tell_gpu = latency.reference_s, gpu.score

    def parts(call: Call, seats: Sequence[Seat], now: float) -> Parts | None:
        """None: somebody was not measured; the scorers know what then."""
        loads, latencies, errors, gpus, sums = [], [], [], [], []
        stream, silent = call.stream, 0
        for seat in seats:
            mean_s, at = (seat.ttft_s, seat.ttft_at) if stream else (seat.latency_s, seat.latency_at)
            if mean_s is None:
                return None
            in_flight, used = seat.in_flight, seat.gpu_used
            if now < seat.stats_until:
                loads.append(v := 1.0 - 0.7 * in_flight / seat.seats - 0.3 * seat.queued_share)
            else:
                loads.append(v := 1.0 - 0.7 * in_flight / seat.seats - seat.pinned_load)
                used = None
            latencies.append(w := ref_s / (ref_s + mean_s * exp((at - now) / FADE_S)))
            errors.append(x := max(0.0, 1.0 - 10.0 * seat.error_rate_at(now)) if seat.errors else 1.0)
            y = 1.0
            if used is None:
                silent += 1
            else:
                y = 1.0 - used - seat.gpu_more * (in_flight - seat.gpu_then)
                if y < 0.0:
                    y = 0.0
            gpus.append(y)
            sums.append(a * v + b * w + c * x + d * y)
        if 0 < silent < len(gpus):  # who does not say counts as the mean of the others
            gpus = tell_gpu(call, seats, now)
            sums = [a * v + b * w + c * x + d * y for v, w, x, y in zip(loads, latencies, errors, gpus)]
        return [loads, latencies, errors, gpus], sums

    return parts
