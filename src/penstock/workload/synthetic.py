"""Made-up requests that do not know each other: arrivals, sizes, shared prompts, tenants, adapters, priorities."""

from collections.abc import Iterator
from itertools import islice, repeat
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from penstock.base.rand import Rand
from penstock.base.units import Seconds
from penstock.workload.arrivals import Arrivals
from penstock.workload.formats import MAX_TOKENS
from penstock.workload.lengths import Independent, Pair, Read, Sizes
from penstock.workload.names import RANKS, Names, check_priorities
from penstock.workload.prefixes import BlockTokens, Shared, beginnings
from penstock.workload.request import NS, Request

Count = Annotated[int, Meta(ge=1)]
Labels = Iterator[tuple[str, str, str, int]]
"""Tenant, model, adapter and priority of one request after the other."""


class Who(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What generators have in common: who asks for what, and when it ends."""

    tenant: Annotated[Names | None, Meta(description="who asks; none: nobody is named")] = None
    model: Annotated[Names | None, Meta(description="the model asked for; none: the run's")] = None
    adapter: Annotated[Names | None, Meta(description="LoRA adapter; none: the model itself")] = None
    priority: Annotated[Names | None, Meta(description="critical, high, normal, low, batch; none: normal")] = None
    deadline_s: Annotated[
        Seconds | None, Meta(description="how long clients can wait for an answer; none: for ever")
    ] = field(default=None, name="deadline")
    requests: Annotated[Count | None, Meta(description="most requests")] = None
    duration_s: Annotated[Seconds | None, Meta(description="nothing arrives later than this")] = field(
        default=None, name="duration"
    )

    def __post_init__(self) -> None:
        check_priorities(self.priority)
        if self.requests is None and self.duration_s is None:
            raise ValueError("needs `requests` or `duration` to end")

    def labels(self, rand: Rand) -> Labels:
        """The labels of one request (or session) after the other, each kind from its own stream."""
        return zip(
            _drawn(self.tenant, rand, "tenant"),
            _drawn(self.model, rand, "model"),
            _drawn(self.adapter, rand, "adapter"),
            map(RANKS.__getitem__, _drawn(self.priority, rand, "priority")),
        )

    def deadline_ns(self) -> int | None:
        """The deadline in nanoseconds."""
        return None if self.deadline_s is None else int(self.deadline_s * NS)

    def within(self, times: Iterator[int]) -> Iterator[int]:
        """The times before the end."""
        return times if self.duration_s is None else until(times, int(self.duration_s * NS))

    def anonymous(self) -> bool:
        """Whether nothing is said of who asks."""
        said = (self.tenant, self.model, self.adapter, self.priority, self.deadline_s)
        return all(label is None for label in said)


class Synthetic(Who, frozen=True, kw_only=True, tag="synthetic"):
    """Single requests. Without `shared`, every prompt is unique."""

    arrivals: Arrivals
    sizes: Annotated[
        Sizes,
        Meta(description="tokens of prompt and answer; default: medians and p90 of Azure's conversation trace of 2023"),
    ] = field(default_factory=Independent)
    shared: Annotated[Shared | None, Meta(description="system prompts before the prompts; none: none")] = None
    alike: Annotated[
        Names | None,
        Meta(
            description="kinds of requests that differ in nothing but their input and are not streamed: embeddings"
            " where the answer has no tokens, else completions; none: each goes to an engine alone"
        ),
    ] = None
    block_tokens: BlockTokens = 64

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival. Raises TraceError where a file is used."""
        times = islice(self.within(self.arrivals.times(rand.stream("arrivals"), read)), self.requests)
        pair = self.sizes.pairs(rand, read)
        if self.shared is None and self.alike is None and self.anonymous():
            return _plain(times, pair)
        return self._dressed(times, pair, rand)

    def chosen(self, rand: Rand, read: Read) -> dict[str, Any]:
        """What the seed and the files decided beyond the spec."""
        shared = {} if self.shared is None else self.shared.chosen(rand, self.block_tokens)
        return self.sizes.chosen(rand, read) | shared

    def _dressed(self, times: Iterator[int], pair: Pair, rand: Rand) -> Iterator[Request]:
        size, deadline_ns = self.block_tokens, self.deadline_ns()
        begin = beginnings(self.shared, rand, size)
        kinds = _drawn(self.alike, rand, "alike")
        for at_ns, (tenant, model, adapter, rank), alike in zip(times, self.labels(rand), kinds):
            leading, blocks = begin()
            prompt, output = pair()
            tokens = min(max(leading + prompt, 1), MAX_TOKENS)
            width = size if blocks else 0
            yield Request(
                at_ns, tokens, output, blocks, width, "", tenant, model, adapter, rank, 0, 0, deadline_ns, alike
            )  # fmt: skip


def until(times: Iterator[int], end_ns: int) -> Iterator[int]:
    """The times up to the end."""
    for at_ns in times:
        if at_ns > end_ns:
            return
        yield at_ns


def _plain(times: Iterator[int], pair: Pair) -> Iterator[Request]:
    for at_ns in times:
        prompt, output = pair()
        yield Request(at_ns, prompt or 1, output)


def _drawn(names: Names | None, rand: Rand, stream: str) -> Iterator[str]:
    return repeat("") if names is None else iter(names.sampler(rand.stream(stream)), None)
