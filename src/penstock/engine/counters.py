"""What a Batcher counts: the numbers that a vLLM tells at /metrics, without their names."""

from bisect import bisect_left

TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
TOKEN_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
REQUEST_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
TOKENS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0, 50_000.0)
STEP_TOKENS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
"""Upper bounds of the buckets, as vLLM 0.32 has them (seconds, tokens)."""


class Histogram:
    """Counts of values by bucket, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Not cumulative; the last one is for values above all bounds."""
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count one value, so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += times * value

    def observe_line(self, first: float, growth: float, values: int, times: int) -> None:
        """Count `values` values, each `times` times: `first`, and each larger than the one before by `growth` ≥ 0."""
        counts, bounds = self.counts, self.bounds
        self.sum += times * values * (first + 0.5 * growth * (values - 1))
        bucket = bisect_left(bounds, first)
        last = bisect_left(bounds, first + growth * (values - 1))
        below = 0
        while bucket < last:
            bound = bounds[bucket]
            upto = max(below, min(values, int((bound - first) / growth) + 1))
            while upto > below and first + growth * (upto - 1) > bound:
                upto -= 1
            while upto < values and first + growth * upto <= bound:
                upto += 1
            counts[bucket] += times * (upto - below)
            below = upto
            bucket += 1
        counts[bucket] += times * (values - below)

    @property
    def count(self) -> int:
        """Values seen."""
        return sum(self.counts)


class Counters:
    """Totals since the engine started. Only grow. Histograms stay empty where nobody wants them."""

    __slots__ = (
        "_histograms",
        "decode_s", "e2e_s", "finished", "generation_tokens", "inference_s", "inter_token_s", "preemptions",
        "prefill_s", "prefix_hits", "prefix_queries", "prompt_tokens", "queue_s", "rejected",
        "request_generation_tokens",
        "request_prompt_tokens", "step_tokens", "steps", "time_per_output_token_s", "ttft_s",
    )  # fmt: skip

    def __init__(self, histograms: bool = True) -> None:
        self._histograms = histograms
        self.prompt_tokens = 0
        """Of prompts that were read to their end, cached tokens included."""
        self.generation_tokens = 0
        self.prefix_queries = 0
        """Tokens looked up in the prefix cache."""
        self.prefix_hits = 0
        self.preemptions = 0
        self.steps = 0
        self.finished = {"stop": 0, "length": 0, "abort": 0}
        self.rejected = {"empty": 0, "too_long": 0, "queue_full": 0}
        self.ttft_s = Histogram(TTFT_S)
        self.inter_token_s = Histogram(TOKEN_S)
        self.time_per_output_token_s = Histogram(TOKEN_S)
        self.e2e_s = Histogram(REQUEST_S)
        self.queue_s = Histogram(REQUEST_S)
        self.inference_s = Histogram(REQUEST_S)
        self.prefill_s = Histogram(REQUEST_S)
        self.decode_s = Histogram(REQUEST_S)
        self.request_prompt_tokens = Histogram(TOKENS)
        self.request_generation_tokens = Histogram(TOKENS)
        self.step_tokens = Histogram(STEP_TOKENS)

    def count_steps(self, tokens: int, steps: int) -> None:
        """So many steps were begun that take so many tokens each."""
        self.steps += steps
        if self._histograms:
            self.step_tokens.observe(tokens, steps)
