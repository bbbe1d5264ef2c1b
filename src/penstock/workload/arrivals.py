"""When requests come: a rate over time, and how bursty they are around it. A spec is the object.

Bursts and shape are two things. Gaps of mean 1 with the wanted coefficient of variation are drawn, and run through the
integral of the rate: an inhomogeneous renewal process (for cv 1, a Poisson process) of exactly that rate. The integral
of a rate that is straight between its corners is inverted in closed form, so nothing is approximated by small steps.
"""

import math
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Annotated

from msgspec import Meta, Struct, field

from penstock.base.units import Seconds
from penstock.workload import draws
from penstock.workload.formats import stream_trace
from penstock.workload.lengths import Read
from penstock.workload.request import NS

Rate = Annotated[float, Meta(ge=0, le=1e6)]
SomeRate = Annotated[float, Meta(gt=0, le=1e6, description="requests a second, on average")]
Cv = Annotated[
    float,
    Meta(ge=0, le=20, description="coefficient of variation of the gaps: 0 even, 1 Poisson, above 1 bursts"),
]
Segment = tuple[float, float, float]
"""Seconds, rate at its start, rate at its end; straight between."""
DAY_S = 86_400.0


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Poisson(_Spec, frozen=True, kw_only=True, tag="poisson"):
    """Independent clients at a constant rate."""

    rate: SomeRate

    def times(self, stream: Random, read: Read) -> Iterator[int]:
        """Arrivals in nanoseconds, rising, without end."""
        uniform, log, scale_ns, at_ns = stream.random, math.log, NS / self.rate, 0.0
        while True:
            at_ns -= log(1.0 - uniform()) * scale_ns
            yield int(at_ns)


class Bursty(_Spec, frozen=True, kw_only=True, tag="gamma"):
    """Gamma gaps at a constant rate: cv above 1 gives bursts and pauses, below 1 something more even than Poisson."""

    rate: SomeRate
    cv: Cv = 2.0

    def times(self, stream: Random, read: Read) -> Iterator[int]:
        """Arrivals in nanoseconds, rising, without end."""
        gap, scale_ns, at_ns = draws.gaps(stream, self.cv), NS / self.rate, 0.0
        while True:
            at_ns += gap() * scale_ns
            yield int(at_ns)


class Constant(_Spec, frozen=True, kw_only=True, tag="constant"):
    """One request every 1/rate seconds."""

    rate: SomeRate

    def times(self, stream: Random, read: Read) -> Iterator[int]:
        """Arrivals in nanoseconds, rising, without end; no luck in it."""
        for number in count(1):
            yield int(number * NS / self.rate)


class Ramp(_Spec, frozen=True, kw_only=True, tag="ramp"):
    """From one rate to another in a straight line; the last rate holds on."""

    start: Annotated[Rate, Meta(description="requests a second at the beginning")]
    end: Annotated[Rate, Meta(description="requests a second at the end and after it")]
    over_s: Annotated[Seconds, Meta(description="how long the change takes")] = field(name="over")
    cv: Cv = 1.0

    def times(self, stream: Random, read: Read) -> Iterator[int]:
        """Arrivals in nanoseconds, rising; without end unless the last rate is 0."""
        return _warped(self._segments(), draws.gaps(stream, self.cv))

    def _segments(self) -> Iterator[Segment]:
        yield self.over_s, self.start, self.end
        while self.end > 0:
            yield DAY_S, self.end, self.end


class Steps(_Spec, frozen=True, kw_only=True, tag="steps"):
    """Constant rates one after the other."""

    steps: Annotated[tuple[tuple[float, float], ...], Meta(min_length=1, description="pairs of seconds and rate")]
    repeat: Annotated[bool, Meta(description="begin again after the last step; else nothing comes after it")] = False
    cv: Cv = 1.0

    def __post_init__(self) -> None:
        if not all(seconds > 0 and 0 <= rate <= 1e6 for seconds, rate in self.steps):
            raise ValueError("each step is a time above 0 s and a rate from 0 to 1,000,000")
        if not any(rate for _, rate in self.steps):
            raise ValueError("at least one step needs a rate above 0")

    def times(self, stream: Random, read: Read) -> Iterator[int]:
        """Arrivals in nanoseconds, rising."""
        segments = [(seconds, rate, rate) for seconds, rate in self.steps]
        return _warped(_again(segments) if self.repeat else iter(segments), draws.gaps(stream, self.cv))


class Profile(_Spec, frozen=True, kw_only=True, tag="profile"):
    """Any rate over time: straight lines between points. Two points at one time make a step."""

    points: Annotated[
        tuple[tuple[float, float], ...],
        Meta(min_length=2, description="pairs of second (from 0, rising) and rate there"),
    ]
    repeat: Annotated[bool, Meta(description="begin again after the last point; else nothing comes after it")] = False
    cv: Cv = 1.0

    def __post_init__(self) -> None:
        times = [second for second, _ in self.points]
        if times != sorted(times) or times[0] != 0 or times[-1] <= 0:
            raise ValueError("the seconds must rise from 0")
        if not all(0 <= rate <= 1e6 for _, rate in self.points):
            raise ValueError("a rate is from 0 to 1,000,000")
        if not any(seconds * (start + end) > 0 for seconds, start, end in self._segments()):
            raise ValueError("the rate is 0 everywhere")

    def times(self, stream: Random, read: Read) -> Iterator[int]:
        """Arrivals in nanoseconds, rising."""
        segments = self._segments()
        return _warped(_again(segments) if self.repeat else iter(segments), draws.gaps(stream, self.cv))

    def _segments(self) -> list[Segment]:
        pairs = zip(self.points, self.points[1:])
        return [(till - since, start, end) for (since, start), (till, end) in pairs if till > since]


class Daily(_Spec, frozen=True, kw_only=True, tag="daily"):
    """A day's shape: a cosine between the night's rate and the peak's, in 96 straight lines; weekends are lower."""

    rate: Annotated[SomeRate, Meta(description="mean of a weekday")]
    peak: Annotated[float, Meta(ge=1, le=2, description="rate at the peak / mean; the night has mean × (2 − peak)")] = (
        1.6
    )
    peak_hour: Annotated[float, Meta(ge=0, lt=24, description="when the day is busiest")] = 15.0
    weekend: Annotated[float, Meta(gt=0, le=1e3, description="weekend's rate / weekday's")] = 0.5
    start_hour: Annotated[float, Meta(ge=0, lt=24, description="hour of the day at which the workload begins")] = 0.0
    start_day: Annotated[int, Meta(ge=0, le=6, description="day of the week at which it begins; 0: Monday")] = 0
    cv: Cv = 1.0

    def times(self, stream: Random, read: Read) -> Iterator[int]:
        """Arrivals in nanoseconds, rising, without end."""
        return _warped(self._segments(), draws.gaps(stream, self.cv))

    def rate_at(self, quarter: int) -> float:
        """The rate at a quarter of an hour, counted from Monday's midnight."""
        day, hour = quarter // 96 % 7, quarter % 96 / 4
        height = 1.0 + (self.peak - 1.0) * math.cos((hour - self.peak_hour) / 24.0 * 2.0 * math.pi)
        return self.rate * height * (self.weekend if day >= 5 else 1.0)

    def _segments(self) -> Iterator[Segment]:
        first = self.start_day * 96 + self.start_hour * 4
        quarter = int(first)
        share = 1.0 - (first - quarter)
        since = self.rate_at(quarter) * share + self._end(quarter) * (1.0 - share)
        yield 900.0 * share, since, self._end(quarter)
        for later in count(quarter + 1):
            yield 900.0, self.rate_at(later), self._end(later)

    def _end(self, quarter: int) -> float:
        """The rate at a quarter's end, as seen from within its day."""
        day_changes = quarter % 96 == 95
        return self.rate_at(quarter - 95) if day_changes else self.rate_at(quarter + 1)


class Replayed(_Spec, frozen=True, kw_only=True, tag="replayed"):
    """The times of a trace, whatever else its requests were."""

    file: Annotated[str, Meta(min_length=1, description="a trace")]
    speed: Annotated[float, Meta(gt=0, description="2: twice as fast as the trace")] = 1.0

    def times(self, stream: Random, read: Read) -> Iterator[int]:
        """Arrivals in nanoseconds, rising, as many as the trace has. Raises TraceError."""
        return (int(request.at_ns / self.speed) for request in stream_trace(read(self.file), self.file))


Arrivals = Poisson | Bursty | Constant | Ramp | Steps | Profile | Daily | Replayed


def _again(segments: list[Segment]) -> Iterator[Segment]:
    while True:
        yield from segments


def _warped(segments: Iterator[Segment], gap: draws.Sampler) -> Iterator[int]:
    """Gaps of mean 1 through the inverse of the rate's integral. In a segment with rate r at its start and slope a, n
    arrivals are due after t with r t + a t²/2 = n; the stable form of the root is t = 2n / (r + √(r² + 2 a n))."""
    due, start_s, sqrt = gap(), 0.0, math.sqrt
    for length_s, first, last in segments:
        arrivals = length_s * (first + last) / 2.0
        slope = (last - first) / length_s if length_s > 0.0 else 0.0
        while due <= arrivals:
            root = first + sqrt(max(first * first + 2.0 * slope * due, 0.0))
            yield int((start_s + min(2.0 * due / root if root > 0.0 else 0.0, length_s)) * NS)
            due += gap()
        due -= arrivals
        start_s += length_s
