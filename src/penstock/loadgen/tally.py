"""What a run of load adds up to, in bounded memory however long it runs.

Knows answers and service-level objectives; neither sockets nor how a report looks.
"""

from array import array
from collections import deque

import msgspec

from penstock.base.rand import Rand
from penstock.loadgen.answer import Answer
from penstock.workload.request import Request

MAX_SAMPLES = 1_000_000
MAX_KINDS = 200
"""Most kinds of errors, and most replicas and tenants, that are told apart: their names come from the target or the
trace."""
TENANT_SAMPLES = 20_000
"""Times that are kept of one tenant, beyond them a fair sample."""


class Samples:
    """Numbers of one kind: all of them up to a bound, beyond it a fair sample (reservoir, Vitter's algorithm R).

    Count, mean and maximum stay exact.
    """

    __slots__ = ("_random", "_sum", "_values", "count", "limit", "max")

    def __init__(self, name: str, limit: int = MAX_SAMPLES) -> None:
        self._random = Rand(0).stream(f"samples/{name}")
        self._values = array("f")
        self._sum = 0.0
        self.count = 0
        self.limit = limit
        self.max = 0.0

    def add(self, value: float) -> None:
        """Take one more."""
        self.count += 1
        self._sum += value
        self.max = max(self.max, value)
        if len(self._values) < self.limit:
            self._values.append(value)
        elif (place := self._random.randrange(self.count)) < self.limit:
            self._values[place] = value

    @property
    def mean(self) -> float:
        """Of all that were added; 0 where there are none."""
        return self._sum / self.count if self.count else 0.0

    def percentiles(self, *shares: float) -> list[float]:
        """The values at these shares (0..1), interpolated linearly (Hyndman and Fan's type 7); 0 if there are none."""
        ordered = sorted(self._values)
        return [percentile(ordered, share) for share in shares]


def percentile(ordered: list[float], share: float) -> float:
    """The value at `share` (0..1) of an ascending list, interpolated linearly; 0 of an empty one."""
    if not ordered:
        return 0.0
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """What a request must keep to count as good, in seconds; None: no such bound."""

    ttft_s: float | None = 1.0
    itl_s: float | None = 0.1
    """On the request's mean time per output token after the first."""
    e2e_s: float | None = None

    def met_by(self, answer: Answer, stream: bool) -> bool:
        """Whether this answer was good. Without streaming nobody sees a first token: then only `e2e_s` judges."""
        if answer.error:
            return False
        if self.e2e_s is not None and answer.e2e_s > self.e2e_s:
            return False
        if not stream:
            return True
        if self.ttft_s is not None and (answer.ttft_s is None or answer.ttft_s > self.ttft_s):
            return False
        return self.itl_s is None or (answer.per_token_s or 0.0) <= self.itl_s


class ReplicaTally:
    """What one replica answered."""

    __slots__ = ("errors", "output_tokens", "prompt_tokens", "requests", "ttft_count", "ttft_sum_s")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.prompt_tokens = 0
        self.output_tokens = 0
        self.ttft_sum_s = 0.0
        self.ttft_count = 0


class TenantTally:
    """How one tenant fared."""

    __slots__ = ("errors", "good", "output_tokens", "requests", "ttft")

    def __init__(self, name: str) -> None:
        self.requests = 0
        self.errors = 0
        self.good = 0
        self.output_tokens = 0
        self.ttft = Samples(f"ttft/{name}", TENANT_SAMPLES)


class Tally:
    """Everything that is counted in one run."""

    def __init__(self, slo: Slo, *, stream: bool = True, planned: int | None = None) -> None:
        self.slo, self.stream, self.planned = slo, stream, planned
        self.sent = self.done = self.ok = self.good = 0
        self.not_sent = 0
        """Left out because the bound of requests in flight was reached."""
        self.cut = 0
        """In flight when the run was stopped."""
        self.clipped = 0
        """Sent shorter than the trace says."""
        self.reconnects = 0
        self.interrupted = False
        self.started_at: float | None = None
        self.ended_at = 0.0
        self.ttft, self.itl, self.e2e = Samples("ttft"), Samples("itl"), Samples("e2e")
        self.lateness = Samples("lateness")
        self.recent_ttft_s: deque[float] = deque(maxlen=500)
        self.errors: dict[str, int] = {}
        self.said: dict[str, str] = {}
        """Kind of error -> what the target said the first time."""
        self.replicas: dict[str, ReplicaTally] = {}
        self.tenants: dict[str, TenantTally] = {}
        """Of requests that name theirs."""
        self.prompt_tokens = self.output_tokens = self.cached_tokens = 0
        self.cache_told = False
        """The target said how much of a prompt it had cached."""

    @property
    def in_flight(self) -> int:
        """Sent and not ended."""
        return self.sent - self.done - self.cut

    @property
    def wall_s(self) -> float:
        """From the first sending to the last ending."""
        return max(self.ended_at - self.started_at, 0.0) if self.started_at is not None else 0.0

    def began(self, at: float, late_s: float | None, clipped: bool = False) -> None:
        """A request goes out at `at`, this late (None: it had no time of its own)."""
        self.sent += 1
        self.clipped += clipped
        if self.started_at is None:
            self.started_at = at
        if late_s is not None:
            self.lateness.add(late_s)

    def ended(self, request: Request, answer: Answer) -> None:
        """An answer is over, well or badly."""
        self.done += 1
        self.ended_at = max(self.ended_at, answer.ended_at)
        if answer.error:
            self._count_error(answer.error, answer.said)
        else:
            self.ok += 1
            self.e2e.add(answer.e2e_s)
        if self.stream:
            self._count_times(answer)
        good = self.slo.met_by(answer, self.stream)
        self.good += good
        output = self._count_tokens(request, answer)
        if request.tenant:
            self._count_tenant(request.tenant, answer, good, output)

    def over(self, at: float, reconnects: int) -> None:
        """The run is over: what has not ended was cut."""
        self.reconnects = reconnects
        self.cut = self.sent - self.done
        if self.cut:
            self.ended_at = at

    def _count_error(self, kind: str, said: str) -> None:
        if kind not in self.errors and len(self.errors) >= MAX_KINDS:
            kind = "other"
        self.errors[kind] = self.errors.get(kind, 0) + 1
        self.said.setdefault(kind, said)

    def _count_times(self, answer: Answer) -> None:
        if answer.ttft_s is not None:
            self.ttft.add(answer.ttft_s)
            self.recent_ttft_s.append(answer.ttft_s)
        for gap_s in answer.gaps_s:
            self.itl.add(gap_s)

    def _count_tenant(self, name: str, answer: Answer, good: bool, output_tokens: int) -> None:
        name = name if name in self.tenants or len(self.tenants) < MAX_KINDS else "other"
        if name not in self.tenants:
            self.tenants[name] = TenantTally(name)
        tenant = self.tenants[name]
        tenant.requests += 1
        tenant.errors += bool(answer.error)
        tenant.good += good
        tenant.output_tokens += output_tokens
        if self.stream and answer.ttft_s is not None:
            tenant.ttft.add(answer.ttft_s)

    def _count_tokens(self, request: Request, answer: Answer) -> int:
        """Tokens of answers that succeeded or got part of the way: as the target counts them, else our estimate.
        Returns those of the answer."""
        if answer.error and not answer.pieces:
            prompt, output = 0, 0
        else:
            prompt = request.prompt_tokens if answer.prompt_tokens is None else answer.prompt_tokens
            output = answer.pieces if answer.output_tokens is None else answer.output_tokens
        self.prompt_tokens += prompt
        self.output_tokens += output
        if answer.cached_tokens is not None:
            self.cache_told = True
            self.cached_tokens += answer.cached_tokens
        name = answer.replica if answer.replica in self.replicas or len(self.replicas) < MAX_KINDS else "other"
        replica = self.replicas.setdefault(name, ReplicaTally())
        replica.requests += 1
        replica.errors += bool(answer.error)
        replica.prompt_tokens += prompt
        replica.output_tokens += output
        if answer.ttft_s is not None:
            replica.ttft_sum_s += answer.ttft_s
            replica.ttft_count += 1
        return output


class Kept(Tally):
    """A tally that keeps every answer: for runs whose answers are looked at one by one."""

    def __init__(self, slo: Slo | None = None) -> None:
        super().__init__(slo or Slo())
        self.answers: list[Answer] = []

    def ended(self, request: Request, answer: Answer) -> None:
        """One more."""
        self.answers.append(answer)
        super().ended(request, answer)
