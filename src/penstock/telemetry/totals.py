"""A meter's numbers as plain data, so that those of several processes can be added up into one page of metrics."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from penstock.telemetry.histogram import QUEUE_S, Histogram
from penstock.telemetry.meter import Meter, ModelMeter, ReplicaMeter, TenantMeter


class Counts(Struct, frozen=True, array_like=True):
    """A histogram; its bounds are known."""

    sum: float
    counts: list[int]


class ModelTotals(Struct, frozen=True, array_like=True):
    """One model's in one pool."""

    pool: str
    model: str
    duration: Counts
    first_token: Counts
    per_token: Counts
    tokens: tuple[int, int, int, int]
    """Prompt, completion, cached, believed to be cached."""


class ReplicaTotals(Struct, frozen=True, array_like=True):
    """One replica's."""

    replica: str
    attempts: int
    retries: int
    failures: dict[str, int]
    probes: tuple[int, int]
    scrapes: tuple[int, int]


class Totals(Struct, frozen=True, kw_only=True):
    """All that a meter has counted."""

    calls: list[tuple[str, str, str, int, int, bool, int]] = []
    models: list[ModelTotals] = []
    queue: list[tuple[str, int, Counts]] = []
    tenants: list[tuple[str, int, float, int, int]] = []
    replicas: list[ReplicaTotals] = []
    refusals: dict[str, int] = {}
    hedges: list[tuple[str, str, int]] = []
    groups: list[tuple[int, int]] = []


def totals_of(meter: Meter) -> Totals:
    """What it has counted so far."""
    return Totals(
        calls=[(*key, count[0]) for key, count in meter.calls.items()],
        models=[
            ModelTotals(
                pool, model, _counts(one.duration), _counts(one.first_token), _counts(one.per_token),
                (one.prompt_tokens, one.completion_tokens, one.cached_tokens, one.cached_estimate),
            )
            for (pool, model), one in meter.models.items()
        ],
        queue=[(pool, priority, _counts(one)) for (pool, priority), one in meter.queue.items()],
        tenants=[
            (name, one.calls, one.cost, one.prompt_tokens, one.completion_tokens)
            for name, one in meter.tenants.items()
        ],
        replicas=[
            ReplicaTotals(
                name, one.attempts, one.retries, dict(one.failures), (one.probes[0], one.probes[1]),
                (one.scrapes[0], one.scrapes[1]),
            )
            for name, one in meter.replicas.items()
        ],
        refusals=dict(meter.refusals),
        hedges=[(*key, count) for key, count in meter.hedges.items()],
        groups=list(meter.groups.items()),
    )  # fmt: skip


def added(parts: Iterable[Totals]) -> Meter:
    """A meter that has counted all of it."""
    meter = Meter()
    for part in parts:
        _add_calls(meter, part)
        _add_replicas(meter, part)
    return meter


def _add_calls(meter: Meter, part: Totals) -> None:
    for *key, count in part.calls:
        meter.calls.setdefault(tuple(key), [0])[0] += count  # type: ignore[arg-type]
    for told in part.models:
        model = meter.models.setdefault((told.pool, told.model), ModelMeter())
        _add(model.duration, told.duration)
        _add(model.first_token, told.first_token)
        _add(model.per_token, told.per_token)
        prompt, completion, cached, believed = told.tokens
        model.prompt_tokens += prompt
        model.completion_tokens += completion
        model.cached_tokens += cached
        model.cached_estimate += believed
    for pool, priority, counts in part.queue:
        _add(meter.queue.setdefault((pool, priority), Histogram(QUEUE_S)), counts)
    for name, calls, cost, prompt, completion in part.tenants:
        tenant = meter.tenants.setdefault(name, TenantMeter())
        tenant.calls += calls
        tenant.cost += cost
        tenant.prompt_tokens += prompt
        tenant.completion_tokens += completion
    for label, count in part.refusals.items():
        meter.refusals[label] = meter.refusals.get(label, 0) + count
    for pool, result, count in part.hedges:
        meter.hedges[pool, result] = meter.hedges.get((pool, result), 0) + count
    for calls, count in part.groups:
        meter.groups[calls] = meter.groups.get(calls, 0) + count


def _add_replicas(meter: Meter, part: Totals) -> None:
    for told in part.replicas:
        replica = meter.replicas.setdefault(told.replica, ReplicaMeter())
        replica.attempts += told.attempts
        replica.retries += told.retries
        for label, count in told.failures.items():
            replica.failures[label] = replica.failures.get(label, 0) + count
        for at in (0, 1):
            replica.probes[at] += told.probes[at]
            replica.scrapes[at] += told.scrapes[at]


def without_looks(part: Totals) -> Totals:
    """The same of who was only told what others saw: looks are counted where they are made."""
    replicas = [
        ReplicaTotals(one.replica, one.attempts, one.retries, one.failures, (0, 0), (0, 0)) for one in part.replicas
    ]
    return replace(part, replicas=replicas)


def _counts(one: Histogram) -> Counts:
    return Counts(one.sum, list(one.counts))


def _add(histogram: Histogram, counts: Counts) -> None:
    histogram.sum += counts.sum
    for at, count in enumerate(counts.counts):
        histogram.counts[at] += count
