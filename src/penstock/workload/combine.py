"""Workloads made of workloads: merged, in sequence, repeated, scaled in rate and time, cut, thinned, labelled.

All of them are streams: what they hold back is one request of each part. Sessions and block ids of different parts are
kept apart: part k of n turns id i into i × n + k, and session s into k/s.
"""

import hashlib
import heapq
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct, field, to_builtins
from msgspec.structs import replace

from penstock.base.rand import Rand
from penstock.base.registry import Registry
from penstock.base.units import Fraction, Seconds
from penstock.workload.formats import stream_trace
from penstock.workload.lengths import Read
from penstock.workload.names import RANKS, Names, check_priorities
from penstock.workload.request import NS, Request
from penstock.workload.servegen import ServeGen
from penstock.workload.sessions import Sessions
from penstock.workload.synthetic import Synthetic

Factor = Annotated[float, Meta(gt=0, le=1000)]
Count = Annotated[int, Meta(ge=1)]
Chosen = dict[str, Any]


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Trace(_Spec, frozen=True, kw_only=True, tag="trace"):
    """The requests of a file: its times, sizes, and whatever else it says."""

    file: Annotated[str, Meta(min_length=1, description="azure or mooncake (shipped samples), or a file")]

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival. Raises TraceError."""
        return stream_trace(read(self.file), self.file)

    def chosen(self, rand: Rand, read: Read) -> Chosen:
        """What the seed decided: nothing."""
        return {}


class _Many(_Spec, frozen=True, kw_only=True):
    of: "Annotated[tuple[Spec, ...], Meta(min_length=1, description='the parts')]"

    def _parts(self, rand: Rand, read: Read) -> list[Iterator[Request]]:
        count = len(self.of)
        streams = (part.stream(rand.child(str(at)), read) for at, part in enumerate(self.of))
        return [apart(stream, at, count) for at, stream in enumerate(streams)]

    def chosen(self, rand: Rand, read: Read) -> Chosen:
        """What the seed and the files decided in each part."""
        return {"of": [part.chosen(rand.child(str(at)), read) for at, part in enumerate(self.of)]}


class Merge(_Many, frozen=True, kw_only=True, tag="merge"):
    """Several workloads at once."""

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival; of equal times the earlier part's first."""
        return heapq.merge(*self._parts(rand, read), key=lambda request: request.at_ns)


class Concat(_Many, frozen=True, kw_only=True, tag="concat"):
    """One workload after the other: each begins `pause` after the last request of the one before."""

    pause_s: Annotated[Seconds, Meta(description="time between them")] = field(default=0.0, name="pause")

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival."""
        return _in_sequence(iter(self._parts(rand, read)), int(self.pause_s * NS))


class _OneOf(_Spec, frozen=True, kw_only=True):
    of: "Annotated[Spec, Meta(description='the workload')]"

    def chosen(self, rand: Rand, read: Read) -> Chosen:
        """What the seed and the files decided."""
        return {"of": self.of.chosen(rand, read)}


class Loop(_OneOf, frozen=True, kw_only=True, tag="loop"):
    """A workload several times, each time with other prompts and, where it is made up, with other luck."""

    times: Annotated[int, Meta(ge=1, le=1_000_000, description="how often")]
    pause_s: Annotated[Seconds, Meta(description="time between two rounds")] = field(default=0.0, name="pause")

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival."""
        rounds = (
            apart(self.of.stream(rand.child(f"round/{at}") if at else rand, read), at, self.times)
            for at in range(self.times)
        )
        return _in_sequence(rounds, int(self.pause_s * NS))


class Speed(_OneOf, frozen=True, kw_only=True, tag="speed"):
    """Time scaled: the same requests, faster or slower."""

    factor: Annotated[Factor, Meta(description="2: twice as fast, in half the time")]

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival."""
        factor = self.factor
        for request in self.of.stream(rand, read):
            yield replace(request, at_ns=int(request.at_ns / factor), think_ns=int(request.think_ns / factor))


class Rate(_OneOf, frozen=True, kw_only=True, tag="rate"):
    """Rate scaled over the same time: whole copies, and of the last one only some. A copy is a workload of other users
    with the same habits: its times are shifted, its sessions and prefixes are its own."""

    factor: Annotated[Factor, Meta(description="2: twice as many requests; 0.5: half of them, whole sessions")]
    spread_s: Annotated[Seconds, Meta(description="copies are shifted by up to this, by lot")] = field(
        default=60.0, name="spread"
    )

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival."""
        whole, some = int(self.factor), self.factor % 1.0
        shifts = self._shifts_ns(rand)
        copies = [_later(self.of.stream(rand, read), shift) for shift in shifts[:whole]]
        if some:
            copies.append(_thinned(_later(self.of.stream(rand, read), shifts[whole]), some, rand))
        parts = [apart(copy, at, len(copies)) for at, copy in enumerate(copies)]
        return heapq.merge(*parts, key=lambda request: request.at_ns)

    def chosen(self, rand: Rand, read: Read) -> Chosen:
        """What the seed and the files decided, and by how much each copy is shifted."""
        return {"shifts_s": [shift / NS for shift in self._shifts_ns(rand)], "of": self.of.chosen(rand, read)}

    def _shifts_ns(self, rand: Rand) -> list[int]:
        draw = rand.stream("shifts").random
        copies = int(self.factor) + (self.factor % 1.0 > 0)
        return [int(draw() * self.spread_s * NS) if copy else 0 for copy in range(copies)]


class Thin(_OneOf, frozen=True, kw_only=True, tag="thin"):
    """Only some requests, by lot; sessions are kept or left out as a whole."""

    keep: Annotated[Fraction, Meta(description="share that is kept")]

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival."""
        return _thinned(self.of.stream(rand, read), self.keep, rand)


class Cut(_OneOf, frozen=True, kw_only=True, tag="cut"):
    """A piece of a workload; it begins at 0 again."""

    from_s: Annotated[Seconds, Meta(description="leave out what arrives before")] = field(default=0.0, name="from")
    to_s: Annotated[Seconds | None, Meta(description="and from here on; none: nothing")] = field(
        default=None, name="to"
    )
    requests: Annotated[Count | None, Meta(description="most requests; none: all")] = None

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival."""
        return islice(self._within(self.of.stream(rand, read)), self.requests)

    def _within(self, requests: Iterator[Request]) -> Iterator[Request]:
        from_ns, to_ns = int(self.from_s * NS), float("inf") if self.to_s is None else int(self.to_s * NS)
        for request in requests:
            if request.at_ns >= to_ns:
                return
            if request.at_ns >= from_ns:
                yield replace(request, at_ns=request.at_ns - from_ns) if from_ns else request


class CloseGaps(_OneOf, frozen=True, kw_only=True, tag="close_gaps"):
    """Times in which nothing was recorded, taken out: no gap between two requests is longer than this."""

    longest_s: Annotated[Seconds, Meta(description="longer gaps are cut down to this")] = field(name="longest")

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival."""
        longest_ns, last_ns, cut_ns = int(self.longest_s * NS), 0, 0
        for request in self.of.stream(rand, read):
            cut_ns += max(request.at_ns - last_ns - longest_ns, 0)
            last_ns = request.at_ns
            yield replace(request, at_ns=last_ns - cut_ns) if cut_ns else request


class Label(_OneOf, frozen=True, kw_only=True, tag="label"):
    """Other tenants, models, adapters, priorities, deadlines or kinds than the workload has, drawn for each request."""

    tenant: Annotated[Names | None, Meta(description="who asks; none: as it is")] = None
    model: Annotated[Names | None, Meta(description="the model asked for; none: as it is")] = None
    adapter: Annotated[Names | None, Meta(description="LoRA adapter; none: as it is")] = None
    priority: Annotated[Names | None, Meta(description="critical, high, normal, low, batch; none: as it is")] = None
    deadline_s: Annotated[Seconds | None, Meta(description="how long clients can wait; none: as it is")] = field(
        default=None, name="deadline"
    )
    alike: Annotated[
        Names | None, Meta(description="kinds of requests that differ in nothing but their input; none: as it is")
    ] = None

    def __post_init__(self) -> None:
        check_priorities(self.priority)

    def stream(self, rand: Rand, read: Read) -> Iterator[Request]:
        """The requests, by arrival."""
        named = (("tenant", self.tenant), ("model", self.model), ("adapter", self.adapter), ("alike", self.alike))
        draw = {kind: names.sampler(rand.stream(f"label/{kind}")) for kind, names in named if names is not None}
        rank = self.priority.sampler(rand.stream("label/priority")) if self.priority is not None else None
        for request in self.of.stream(rand, read):
            changes: dict[str, Any] = {kind: drawn() for kind, drawn in draw.items()}
            if rank is not None:
                changes["priority"] = RANKS[rank()]
            if self.deadline_s is not None:
                changes["deadline_ns"] = int(self.deadline_s * NS)
            yield replace(request, **changes)


WORKLOADS = Registry(
    "workload",
    (Synthetic, Sessions, Trace, ServeGen, Merge, Concat, Loop, Speed, Rate, Thin, Cut, CloseGaps, Label),
)
if TYPE_CHECKING:
    Spec = (
        Synthetic | Sessions | Trace | ServeGen | Merge | Concat | Loop | Speed | Rate | Thin | Cut | CloseGaps | Label
    )
else:
    Spec = WORKLOADS.union()


class Workload:
    """A spec and a seed: the same requests in the same order, every time that it is iterated.

    `read` hands over the files that the spec names; iterating raises TraceError where one cannot be read.
    """

    __slots__ = ("_read", "seed", "spec")

    def __init__(self, spec: "Spec", seed: int, read: Read) -> None:
        self.spec, self.seed, self._read = spec, seed, read

    def __iter__(self) -> Iterator[Request]:
        return self.spec.stream(Rand(self.seed), self._read)

    def describe(self) -> dict[str, Any]:
        """Everything that decides the stream: the seed, the spec with its defaults, and what the seed chose."""
        chosen = self.spec.chosen(Rand(self.seed), self._read)
        return {"seed": self.seed, "workload": to_builtins(self.spec), "chosen": chosen}


# ===== parts =====


def apart(requests: Iterator[Request], part: int, parts: int) -> Iterator[Request]:
    """The requests with sessions and block ids that no other part has."""
    if parts == 1:
        yield from requests
        return
    for request in requests:
        if request.blocks or request.session:
            blocks = tuple([block * parts + part for block in request.blocks])
            session = f"{part}/{request.session}" if request.session else ""
            request = replace(request, blocks=blocks, session=session)
        yield request


def _in_sequence(parts: Iterator[Iterator[Request]], pause_ns: int) -> Iterator[Request]:
    start_ns = 0
    for part in parts:
        at_ns = start_ns
        for request in _later(part, start_ns):
            at_ns = request.at_ns
            yield request
        start_ns = at_ns + pause_ns


def _later(requests: Iterator[Request], by_ns: int) -> Iterator[Request]:
    return (replace(request, at_ns=request.at_ns + by_ns) for request in requests) if by_ns else requests


def _thinned(requests: Iterator[Request], keep: float, rand: Rand) -> Iterator[Request]:
    uniform, salt = rand.stream("thin").random, str(rand.seed).encode()
    for request in requests:
        if not request.session:
            if uniform() < keep:
                yield request
        elif _lot(salt, request.session) < keep:
            yield request


def _lot(salt: bytes, session: str) -> float:
    """A session's number from 0 to 1: the same for each of its turns, so that nothing has to be remembered."""
    digest = hashlib.blake2b(session.encode(), digest_size=8, key=salt[:64]).digest()
    return int.from_bytes(digest, "big") / 2.0**64
