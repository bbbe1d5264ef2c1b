"""ServeGen's clients, expanded into requests (Xiang et al., ServeGen, arXiv 2505.09999).

ServeGen publishes no requests but, of each client of a service, its rate and the fitted gaps in windows of ten
minutes, and its lengths in windows of six hours. A window's requests are drawn here: their number from the rate (what
is broken of it by lot), then as many gaps of the fitted kind, stretched so that they fill the window; lengths from the
client's quantiles.

The two tables are those of docs/reference/workloads.md. Memory grows with the tables and with the requests of one
window, not with the workload.
"""

import csv
import heapq
from array import array
from collections.abc import Iterator
from itertools import accumulate
from math import fsum
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from penstock.base.rand import Rand
from penstock.base.units import Seconds
from penstock.workload import draws
from penstock.workload.formats import MAX_TOKENS
from penstock.workload.lengths import Read
from penstock.workload.lines import TraceError, lines
from penstock.workload.request import NS, Request

PROMPT_FIELDS = ("input_tokens", "text_tokens", "image_tokens", "audio_tokens", "video_tokens")
"""What a prompt is made of: services of text have the first alone, others all but the first."""
OUTPUT_FIELD = "output_tokens"
MAX_ROWS = 5_000_000
MAX_WINDOW = 10_000_000
"""Most requests of one client in one window."""


class Window(Struct, frozen=True, gc=False):
    """What a client did in one window."""

    rate: float
    kind: str
    shape: float


Table = tuple[list[float], list[float]]
"""Shares and tokens."""
Lengths = dict[int, dict[int, dict[str, Table]]]
"""Client -> window's start in seconds -> field -> its quantiles."""


class ServeGen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="servegen"):
    """Requests of many clients, each with its own rate, bursts and lengths."""

    rates: Annotated[str, Meta(min_length=1, description="table of the clients' rates and gaps")]
    lengths: Annotated[str, Meta(min_length=1, description="table of the quantiles of the clients' lengths")]
    rate: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="mean requests a second to scale to; none: as published")
    ] = None
    skip_gaps: Annotated[bool, Meta(description="leave out windows in which no client asked anything")] = True
    from_s: Annotated[Seconds, Meta(description="begin here in the tables")] = field(default=0.0, name="from")
    duration_s: Annotated[Seconds | None, Meta(description="tables' time to take; none: all")] = field(
        default=None, name="duration"
    )
    window_s: Annotated[Seconds, Meta(description="width of a window of the rates")] = field(
        default=600.0, name="window"
    )

    def __post_init__(self) -> None:
        if self.window_s <= 0:
            raise ValueError("the window must be longer than 0 s")

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival. Raises TraceError."""
        plan = _Plan(self, rand, read)
        clients = [plan.client(client) for client in plan.rates]
        return heapq.merge(*clients, key=lambda request: request.at_ns)

    def chosen(self, rand: Rand, read: Read) -> dict[str, Any]:
        """What the seed and the tables decided beyond the spec."""
        plan = _Plan(self, rand, read)
        return {
            "clients": len(plan.rates),
            "windows": plan.windows,
            "mean_rate_published": plan.mean_rate,
            "rate_factor": plan.factor,
            "expected_requests": round(plan.mean_rate * plan.factor * plan.windows * self.window_s),
            "lengths_borrowed": plan.borrowed,
        }


class _Plan:
    """The tables, cut and scaled as the spec says."""

    def __init__(self, spec: ServeGen, rand: Rand, read: Read) -> None:
        self._window_s, self._rand = spec.window_s, rand
        till_s = float("inf") if spec.duration_s is None else spec.from_s + spec.duration_s
        self.rates = read_rates(read, spec.rates, spec.from_s, till_s)
        self._lengths = read_lengths(read, spec.lengths)
        self.starts = self._places(spec)
        total = fsum(window.rate for windows in self.rates.values() for window in windows.values())
        self.windows = max(self.starts.values()) + 1
        self.mean_rate = total / self.windows
        self.factor = 1.0 if spec.rate is None else spec.rate / self.mean_rate
        self.borrowed = self._borrow()

    def _places(self, spec: ServeGen) -> dict[int, int]:
        """Window's start in the tables -> its place in the workload."""
        used = sorted({start for windows in self.rates.values() for start in windows})
        if spec.skip_gaps:
            return {start: place for place, start in enumerate(used)}
        return {start: int((start - spec.from_s) // spec.window_s) for start in used}

    def _borrow(self) -> dict[str, str]:
        """Clients without lengths -> whose lengths they get."""
        owners, pick = list(self._lengths), self._rand.stream("borrow").random
        return {
            str(client): str(owners[int(pick() * len(owners))]) for client in self.rates if client not in self._lengths
        }

    def client(self, client: int) -> Iterator[Request]:
        """The requests of one client, by arrival."""
        rand, tenant = self._rand.child(f"client/{client}"), f"client-{client}"
        arrivals, counts, sizes = rand.stream("arrivals"), rand.stream("counts").random, rand.stream("sizes")
        lengths = self._lengths[int(self.borrowed.get(str(client), client))]
        window_ns = int(self._window_s * NS)
        drawn_for, draw = -1, None
        for start, window in self.rates[client].items():
            expected = window.rate * self.factor * self._window_s
            number = int(expected) + (counts() < expected % 1.0)
            since = _lengths_at(lengths, start)
            if draw is None or since != drawn_for:
                drawn_for, draw = since, _Sizes(lengths[since], sizes)
            first_ns = self.starts[start] * window_ns
            for share in _shares(window, min(number, MAX_WINDOW), arrivals):
                yield Request(first_ns + int(share * window_ns), draw.prompt(), draw.output(), tenant=tenant)


def _shares(window: Window, number: int, stream: Any) -> Iterator[float]:
    """Where in a window its requests are, from 0 to 1: one gap more than there are requests fills it."""
    gap = (draws.weibull if window.kind == "Weibull" else draws.gamma)(stream, window.shape)
    passed = array("d", accumulate(gap() for _ in range(number + 1)))
    whole = passed[-1]
    if whole <= 0.0:  # gaps of an extreme shape may all be 0
        return ((place + 1) / (number + 1) for place in range(number))
    return (passed[place] / whole for place in range(number))


def _lengths_at(windows: dict[int, dict[str, Table]], start: int) -> int:
    """The window of lengths that holds at this time: the last that began, else the first there is."""
    return max((since for since in windows if since <= start), default=min(windows))


class _Sizes:
    """Draws the lengths of one client in one window."""

    def __init__(self, fields: dict[str, Table], stream: Any) -> None:
        self._prompts = [draws.quantiles(stream, *fields[name]) for name in PROMPT_FIELDS if name in fields]
        self._output = draws.quantiles(stream, *fields[OUTPUT_FIELD])

    def prompt(self) -> int:
        """Tokens of a prompt, 1 at least."""
        return min(max(int(fsum(draw() for draw in self._prompts) + 0.5), 1), MAX_TOKENS)

    def output(self) -> int:
        """Tokens of an answer."""
        return int(self._output() + 0.5)


# ===== the tables =====


def read_rates(read: Read, file: str, from_s: float, till_s: float) -> dict[int, dict[int, Window]]:
    """Client -> window's start -> what it did, for windows from `from_s` to before `till_s`. Raises TraceError."""
    needed = ("client_id", "t_s", "rate_rps", "arrival_pattern", "param_shape")
    rates: dict[int, dict[int, Window]] = {}
    for line, row in _table(read, file, needed):
        start = int(_number(row, "t_s", file, line))
        rate, kind = _number(row, "rate_rps", file, line), row["arrival_pattern"]
        if kind not in ("Gamma", "Weibull"):
            raise TraceError(file, line, "arrival_pattern", f"expected Gamma or Weibull, found {kind!r}")
        shape = _number(row, "param_shape", file, line)
        if rate > 0 and from_s <= start < till_s:
            client = int(_number(row, "client_id", file, line))
            rates.setdefault(client, {})[start] = Window(rate, kind, max(shape, 1e-3))
    if not rates:
        raise TraceError(file, 0, "", "no client asked anything in this time")
    return {client: dict(sorted(windows.items())) for client, windows in sorted(rates.items())}


def read_lengths(read: Read, file: str) -> Lengths:
    """The quantiles of clients' lengths. Raises TraceError."""
    lengths: Lengths = {}
    for line, row in _table(read, file, ("client_id", "t_s", "field", "q0", "q100")):
        shares = [float(name[1:]) for name in row if name[0] == "q"]
        if shares != sorted(shares) or shares[0] != 0 or shares[-1] != 100:
            raise TraceError(file, 1, "", "expected the columns of the quantiles in order, from q0 to q100")
        tokens = [_number(row, name, file, line) for name in row if name[0] == "q"]
        if row["field"] in (*PROMPT_FIELDS, OUTPUT_FIELD):
            windows = lengths.setdefault(int(_number(row, "client_id", file, line)), {})
            fields = windows.setdefault(int(_number(row, "t_s", file, line)), {})
            fields[row["field"]] = [share / 100.0 for share in shares], tokens
    for client, windows in lengths.items():
        for start, fields in windows.items():
            if OUTPUT_FIELD not in fields or len(fields) < 2:
                raise TraceError(file, 0, "", f"client {client}, {start} s: expected lengths of prompts and of answers")
    if not lengths:
        raise TraceError(file, 0, "", f"no row has one of the fields {', '.join((*PROMPT_FIELDS, OUTPUT_FIELD))}")
    return lengths


def _table(read: Read, file: str, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    numbered = lines(read(file), file)
    number, head = next(numbered, (0, ""))
    names = head.split(",")
    if missing := [name for name in needed if name not in names]:
        raise TraceError(file, number, "", f"expected the columns {', '.join(needed)}; missing: {', '.join(missing)}")
    for count, (line, text) in enumerate(numbered):
        cells = next(csv.reader([text]))
        if len(cells) != len(names):
            raise TraceError(file, line, "", f"expected {len(names)} columns as in the header, found {len(cells)}")
        if count >= MAX_ROWS:
            raise TraceError(file, line, "", f"expected at most {MAX_ROWS:,} rows")
        yield line, dict(zip(names, cells, strict=True))


def _number(row: dict[str, str], name: str, file: str, line: int) -> float:
    try:
        number = float(row[name])
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e12:
        raise TraceError(file, line, name, f"expected a number ≥ 0, found {row[name]!r}")
    return number
