"""A workload counted: one pass, memory that grows with tenants and not with requests."""

import math
from typing import Any

from penstock.workload.request import NS, Request

GROWTH = 1.02
"""Width of a class of lengths: quantiles are right within 1 %."""
MAX_NAMES = 100_000
"""Different names that are counted; beyond, the counts say `at least`."""


class Census:
    """Counts requests. `add` them all, then ask for the `table`."""

    def __init__(self) -> None:
        self.requests = 0
        self._first_ns = self._last_ns = 0
        self._gaps_s = self._squares_s2 = 0.0
        self._lengths: dict[str, _Lengths] = {"prompt_tokens": _Lengths(), "output_tokens": _Lengths()}
        self._names: dict[str, dict[str, None]] = {name: {} for name in ("tenant", "model", "adapter", "session")}

    def add(self, request: Request) -> None:
        """One more; by arrival."""
        if self.requests:
            gap_s = (request.at_ns - self._last_ns) / NS
            self._gaps_s += gap_s
            self._squares_s2 += gap_s * gap_s
        else:
            self._first_ns = request.at_ns
        self._last_ns = request.at_ns
        self.requests += 1
        self._lengths["prompt_tokens"].add(request.prompt_tokens)
        self._lengths["output_tokens"].add(request.output_tokens)
        for kind, names in self._names.items():
            if (name := getattr(request, kind)) and len(names) < MAX_NAMES:
                names[name] = None

    def table(self) -> dict[str, Any]:
        """Requests, seconds from first to last, mean rate, variation of the gaps, lengths, and how many names."""
        gaps, span_s = self.requests - 1, (self._last_ns - self._first_ns) / NS
        mean_s = self._gaps_s / gaps if gaps > 0 else 0.0
        variance = self._squares_s2 / gaps - mean_s * mean_s if gaps > 0 else 0.0
        return {
            "requests": self.requests,
            "span_s": span_s,
            "mean_rate": gaps / span_s if span_s else 0.0,
            "gaps_cv": math.sqrt(max(variance, 0.0)) / mean_s if mean_s else 0.0,
            **{kind: lengths.table() for kind, lengths in self._lengths.items()},
            **{f"{kind}s": len(names) for kind, names in self._names.items() if names},
        }


class _Lengths:
    """Lengths in classes that grow by a factor."""

    def __init__(self) -> None:
        self._count = self._total = self._most = 0
        self._classes: dict[int, int] = {}

    def add(self, tokens: int) -> None:
        kind = int(math.log(tokens, GROWTH)) if tokens else -1
        self._classes[kind] = self._classes.get(kind, 0) + 1
        self._count += 1
        self._total += tokens
        self._most = max(self._most, tokens)

    def table(self) -> dict[str, float]:
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
        quantiles = {name: self._quantile(share) for name, share in shares.items()}
        return {"mean": self._total / max(self._count, 1), **quantiles, "max": self._most}

    def _quantile(self, share: float) -> int:
        left = share * self._count
        for kind in sorted(self._classes):
            left -= self._classes[kind]
            if left <= 0:
                return min(round(GROWTH ** (kind + 0.5)), self._most) if kind >= 0 else 0
        return self._most
