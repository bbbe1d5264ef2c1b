"""What came out of a run for each model that was asked for, where the pools of a fleet serve several."""

from msgspec import Struct

from penstock.sim.served import Place
from penstock.sim.sketch import Sketch


class ModelResult(Struct, frozen=True, kw_only=True):
    """Of the requests for one model, as `Result` has it of all."""

    requests: int
    ok: int
    failed: int
    elsewhere: int
    """Answered by another model, by a fallback."""
    goodput: float
    ttft_mean_s: float
    ttft_p50_s: float
    ttft_p95_s: float
    e2e_mean_s: float
    e2e_p50_s: float
    e2e_p95_s: float
    output_tokens_per_s: float


class _Count:
    """Of one model."""

    __slots__ = ("e2e", "elsewhere", "failed", "good", "output", "ttft")

    def __init__(self) -> None:
        self.failed = self.good = self.elsewhere = self.output = 0
        self.ttft = Sketch()
        self.e2e = Sketch()


class ByModel:
    """Counts ended requests."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def failed(self, place: Place) -> None:
        """A request was not answered."""
        self._of(place).failed += 1

    def answered(self, place: Place, ttft_s: float, e2e_s: float, output_tokens: int, good: bool) -> None:
        """A request was."""
        count = self._of(place)
        count.ttft.add(ttft_s)
        count.e2e.add(e2e_s)
        count.output += output_tokens
        count.good += good
        count.elsewhere += place.elsewhere

    def _of(self, place: Place) -> _Count:
        count = self._counts.get(place.model)
        if count is None:
            count = self._counts[place.model] = _Count()
        return count

    def results(self, duration_s: float) -> dict[str, ModelResult]:
        """Of every model that was asked for, by name."""
        return {name: self._result(self._counts[name], duration_s) for name in sorted(self._counts)}

    def _result(self, count: _Count, duration_s: float) -> ModelResult:
        ok, ttft, e2e = count.ttft.count, count.ttft, count.e2e
        requests = ok + count.failed
        return ModelResult(
            requests=requests, ok=ok, failed=count.failed, elsewhere=count.elsewhere, goodput=count.good / requests,
            ttft_mean_s=ttft.mean, ttft_p50_s=ttft.quantile(0.5), ttft_p95_s=ttft.quantile(0.95), e2e_mean_s=e2e.mean,
            e2e_p50_s=e2e.quantile(0.5), e2e_p95_s=e2e.quantile(0.95), output_tokens_per_s=count.output / duration_s,
        )  # fmt: skip
