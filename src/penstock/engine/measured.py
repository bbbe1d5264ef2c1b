"""From a benchmark of a real engine to a model of it, and how wrong that is about settings it has not seen.

A measurement is what `vllm bench serve` or `penstock load --closed` tell: so many clients, each of which sends a
prompt of so many tokens, waits for so many, and sends again; mean TTFT and mean time per further token. The same is
played on a Batcher (`engine.trial`), and the prices of its steps are those with which it comes nearest.
"""

import csv
from collections.abc import Iterable, Sequence
from math import isfinite, log
from statistics import mean
from typing import NamedTuple

from msgspec.structs import replace

from penstock.engine.batcher import EngineSpec
from penstock.engine.fit import errors, hold_back, minimise, prices
from penstock.engine.modelled import Misses, Modelled
from penstock.engine.roofline import Roofline
from penstock.engine.trial import Trial, trial

COLUMNS = ("concurrency", "prompt_tokens", "output_tokens", "ttft_s", "tpot_s")
MOST_POINTS, MOST_REQUESTS = 500, 10_000
MOST_ROUNDS = 20
"""More requests of a client tell little that these do not."""
LEAST_S = 1e-10
"""A price of nothing has no logarithm."""
TURNS = 250


class Point(NamedTuple):
    """One measurement; times are means over its requests."""

    concurrency: int
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    tpot_s: float
    requests: int = 0
    """0: ten of each client."""
    spread: float = 0.0
    """Lengths were drawn evenly between (1 - spread) and 1 times the longest; what is told above are means."""

    @property
    def group(self) -> tuple[int, int]:
        """What is held back as a whole."""
        return self.prompt_tokens, self.output_tokens


def read_points(lines: Iterable[str]) -> list[Point]:
    """The lines of a CSV with the columns `COLUMNS` and, where they are told, `requests` and `spread`. Raises
    ValueError, which tells the line."""
    rows = csv.DictReader(lines)
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise ValueError(f"line 1: it has no {', '.join(missing)}: its columns are {', '.join(COLUMNS)}")
    points = []
    for row in rows:
        try:
            concurrency, prompt, answer = (int(row[column]) for column in COLUMNS[:3])
            ttft_s, tpot_s = (float(row[column]) for column in COLUMNS[3:])
            point = Point(
                concurrency,
                prompt,
                answer,
                ttft_s,
                tpot_s,
                int(row.get("requests") or 0),
                float(row.get("spread") or 0),
            )
        except (TypeError, ValueError):
            raise ValueError(f"line {rows.line_num}: expected three whole numbers and two times in seconds") from None
        if why := _why_not(point):
            raise ValueError(f"line {rows.line_num}: {why}")
        points.append(point)
        if len(points) > MOST_POINTS:
            raise ValueError(f"more than {MOST_POINTS} measurements")
    return points


def _why_not(point: Point) -> str:
    if point.concurrency < 1 or point.prompt_tokens < 1 or point.requests < 0:
        return "expected at least one client and one token of prompt"
    if point.output_tokens < 2:
        return "an answer of one token has no time per further token"
    if not 0 <= point.spread < 1:
        return "expected a spread from 0 to below 1"
    if not all(isfinite(seconds) and seconds > 0 for seconds in (point.ttft_s, point.tpot_s)):
        return "expected times above 0"
    most = point.requests or 10 * point.concurrency
    return f"more than {MOST_REQUESTS:,} requests to play" if most > MOST_REQUESTS else ""


def told(point: Point, spec: EngineSpec, outside_s: float) -> tuple[float, float]:
    """Mean TTFT and mean time per further token of the same benchmark on a Batcher, in seconds."""
    rounds = max(1, min(round(point.requests / point.concurrency), MOST_ROUNDS)) if point.requests else 10
    prompt, answer = (round(mid / (1 - point.spread / 2)) for mid in (point.prompt_tokens, point.output_tokens))
    plan = Trial(point.concurrency, prompt, answer, rounds, point.spread, outside_s=outside_s)
    seen = trial(spec, plan)
    return mean(one.ttft_s for one in seen), mean(one.tpot_s for one in seen if one.tpot_s)


def calibrated(points: Sequence[Point], limits: EngineSpec, about: str, offset: int = 0) -> Modelled:
    """Prices of a step from two thirds of the settings (lengths of prompt and answer), their errors from the others.

    Everything is linear but the attention of a prompt, which is over pairs of its tokens.

    `limits` is the engine apart from its cost: seats, tokens of a step, memory. `offset` from 0 to 2 says which third
    is held back. Raises ValueError where there are fewer than three settings, or one that can never run.
    """
    fit, held = hold_back(points, lambda point: point.group, 3, offset)

    def spec(values: Sequence[float]) -> EngineSpec:
        return _with_cost(limits, values)

    def loss(values: list[float]) -> float:
        total = 0.0
        for point in fit:
            ttft_s, tpot_s = told(point, spec(values), values[-1])
            total += min(abs(log(tpot_s / point.tpot_s)), 0.5) + min(abs(log(ttft_s / point.ttft_s)), 0.7)
        return total

    found = minimise(loss, _start(fit), TURNS)
    pairs = [(told(point, spec(found), found[-1]), point) for point in held]
    ttft = errors((pair[0], point.ttft_s) for pair, point in pairs)
    tpot = errors((pair[1], point.tpot_s) for pair, point in pairs)
    return Modelled(
        about=about, cost=spec(found).cost, outside_s=found[-1], max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens, kv_blocks=limits.kv_blocks,
        block_size=limits.block_size, measured=f"the benchmark of {len(points)} points that it was made from",
        held_back=Misses(
            points=len(held), tpot_median=tpot.median, tpot_p95=tpot.p95, ttft_median=ttft.median, ttft_p95=ttft.p95
        ),
    )  # fmt: skip


def _with_cost(limits: EngineSpec, values: Sequence[float]) -> EngineSpec:
    cost = Roofline(
        base_s=values[0], weights_s=0.0, knee=1.0, token_s=values[1], sequence_s=values[2], context_token_s=values[3],
        pair_s=values[4],
    )  # fmt: skip
    return replace(limits, cost=cost)


def _start(points: Sequence[Point]) -> list[float]:
    """Base, token, sequence, token of context, pair, and outside: as if every step were the average one.

    A client's prompt is read once in so many steps as its answer has tokens; alone, nobody else's is in the way.
    """
    rows: list[tuple[float, ...]] = []
    seconds = []
    for point in points:
        clients, prompt, answer = point.concurrency, point.prompt_tokens, point.output_tokens
        share, pairs = clients / answer, prompt * prompt / 2
        rows.append((1.0, share * prompt, clients, clients * (prompt + answer / 2), share * pairs, 0.0))
        seconds.append(point.tpot_s)
        if clients == min(other.concurrency for other in points):
            rows.append((1.0, float(prompt), 0.0, 0.0, pairs, 1.0))
            seconds.append(point.ttft_s)
    return [max(price, LEAST_S) for price in prices(rows, seconds)]
