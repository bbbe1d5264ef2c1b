"""What a journal tells of real traffic: who came when with what, how it went, and over which fleet.

Its calls become the requests of a simulation, so that another policy meets the same users. A journal holds hashes and
sizes and no text; what it does not hold is guessed, and the guesses are counted: how long an answer would have been
that never came to its end is drawn from those that did.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby
from math import fsum
from typing import NamedTuple

import msgspec
from msgspec import Struct

from penstock.base.errors import REFUSALS
from penstock.base.nouns import Call, CallRow, EngineStats, Replica
from penstock.base.prefix import ENDS
from penstock.base.rand import Rand
from penstock.config.costs import Cost
from penstock.config.scenarios import Group, Slo
from penstock.core.effects import Carry, Effect, Record
from penstock.core.events import Arrived, Event, FleetSeen, Observed, Reconfigured
from penstock.core.spec import PoolSpec
from penstock.drive.journal import Gap, Header
from penstock.drive.kernel import Kernel
from penstock.sim.prompts import TOKEN_BYTES
from penstock.sim.replay import Lines, NotReplayable, checked, spec_of
from penstock.sim.tally import Result, Tally
from penstock.workload.request import NS, Request

BLOCK_TOKENS = 64
"""All ends of the blocks that the gateway hashes are multiples of so many tokens."""
_LEFT = 499
"""Status of who left: no answer, and no mistake either."""


class Visit(NamedTuple):
    """One call, and its end where the journal has it."""

    at: float
    call: Call
    row: CallRow | None
    alike: str
    """What it had in common with those that might have gone together with it; empty: nothing."""


class Left(Struct, kw_only=True):
    """What does not come again in a simulation."""

    mistakes: int = 0
    """Calls that were wrong in themselves, or beyond a limit: no policy of a pool could have answered them."""
    elsewhere: int = 0
    """Calls of other pools."""
    missing: int = 0
    """Turns that are not in the journal, because the disk was too slow."""
    fleets: int = 0
    """How often replicas came or went after the fleet was first seen."""


class Recorded:
    """The traffic of the first pool of a journal's configuration."""

    def __init__(self, lines: Lines, version: str) -> None:
        """Read it. Raises NotReplayable, and ValueError for a line that is none of a journal."""
        self.left = Left()
        self.replicas: tuple[Replica, ...] = ()
        """As they were last seen, without those that were on their way out and those that only stood by."""
        self.visits: list[Visit] = []
        """By arrival."""
        self._pool: PoolSpec | None = None
        self._stats: dict[str, EngineStats] = {}
        self._places: dict[str, int] = {}
        """Calls that go on -> where they stand in `visits`."""
        self._groups: dict[str, int] = {}
        """How many calls went together, by their group."""
        for place, row in checked(lines, version):
            if isinstance(row, Header):
                self._header(row, spec_of(row, place).pools)
            elif isinstance(row, Gap):
                self.left.missing += row.turns
            else:
                self._turn(row.now, row.event, row.effects)
        self._sift()

    @property
    def pool(self) -> PoolSpec:
        """Its policy, as it was last."""
        assert self._pool is not None  # there was a header, and it has a pool
        return self._pool

    # ===== reading =====

    def _header(self, head: Header, pools: tuple[PoolSpec, ...]) -> None:
        self._respec(pools)
        if self._pool is None:
            raise NotReplayable("its configuration has no pool")
        replicas = msgspec.json.decode(head.world, type=tuple[Replica, ...] | None)
        if replicas is not None:
            self._fleet(replicas)
        if head.part == 0:
            self._places.clear()  # a new process: what the one before had begun will not end

    def _respec(self, pools: tuple[PoolSpec, ...]) -> None:
        name = pools[0].name if self._pool is None and pools else "" if self._pool is None else self._pool.name
        self._pool = next((pool for pool in pools if pool.name == name), self._pool)

    def _fleet(self, replicas: tuple[Replica, ...]) -> None:
        ours = tuple(
            each for each in replicas if each.pool == self.pool.name and not each.drain and not each.backup
        )  # fmt: skip
        if ours:
            self.left.fleets += bool(self.replicas) and {each.id for each in ours} != {
                each.id for each in self.replicas
            }
            self.replicas = ours

    def _turn(self, now: float, event: Event, orders: list[Effect]) -> None:
        if isinstance(event, Arrived):
            self._places[event.call.id] = len(self.visits)
            self.visits.append(Visit(now, event.call, None, event.alike))
        elif isinstance(event, Observed):
            if event.stats is not None and event.stats.kv_tokens:
                self._stats[event.replica] = event.stats
        elif isinstance(event, FleetSeen):
            self._fleet(event.replicas)
        elif isinstance(event, Reconfigured):
            self._respec(event.spec.pools)
        for order in orders:
            if isinstance(order, Record) and (place := self._places.pop(order.row.id, None)) is not None:
                self.visits[place] = self.visits[place]._replace(row=order.row)
            elif isinstance(order, Carry) and order.aboard:
                self._groups.setdefault(order.id, len(order.aboard))

    def _sift(self) -> None:
        kept = []
        for visit in self.visits:
            row = visit.row
            if row is not None and _mistaken(row):
                self.left.mistakes += 1
            elif row is not None and row.pool != self.pool.name:
                self.left.elsewhere += 1
            else:
                kept.append(visit)
        self.visits = kept

    # ===== for the simulator =====

    def groups(self, cost: str | Cost) -> tuple[Group, ...]:
        """The fleet, in its own order; seats, weights, prices and KV caches are its own, the cost model is this.

        Raises NotReplayable where no replica was seen.
        """
        if not self.replicas:
            raise NotReplayable(f"there is no replica of pool {self.pool.name!r} in it")
        each = [self._group(replica, cost) for replica in self.replicas]
        return tuple(msgspec.structs.replace(group, count=len(list(alike))) for group, alike in groupby(each))

    def _group(self, replica: Replica, cost: str | Cost) -> Group:
        stats = self._stats.get(replica.id)
        block = None if stats is None else stats.kv_block_tokens
        tokens = None if stats is None else stats.kv_tokens
        kv_blocks = None if block is None or tokens is None else max(1, tokens // block)
        return Group(
            cost=cost, seats=replica.max_concurrent_requests, weight=replica.weight,
            hourly_cost=replica.hourly_cost or None, kv_blocks=kv_blocks, block_size=block,
            max_model_len=replica.max_model_len or Group().max_model_len,
        )  # fmt: skip

    def requests(self, seed: int) -> Iterator[Request]:
        """The calls as they came. The seed draws the lengths that nobody knows."""
        known, uniform = self._lengths(), Rand(seed).stream("lengths").random
        start = self.visits[0].at if self.visits else 0.0
        for at, call, row, alike in self.visits:
            tokens = _output_tokens(row)
            if alike and call.path.endswith("/embeddings"):
                tokens = 0
            elif tokens is None:
                longer = bisect_right(known, 0 if row is None else row.relayed_tokens)
                tokens = known[min(longer + int(uniform() * (len(known) - longer)), len(known) - 1)]
                tokens = min(tokens, call.max_tokens or tokens)
            usage = None if row is None else row.usage
            prompt = call.prompt_tokens if usage is None else usage.prompt_tokens
            yield Request(
                round((at - start) * NS), max(1, prompt), tokens if alike else max(1, tokens), seen(call),
                BLOCK_TOKENS, call.session, call.tenant, priority=call.priority,
                deadline_ns=None if call.latency_s is None else round(call.latency_s * NS), alike=alike,
            )  # fmt: skip

    @property
    def unknown(self) -> int:
        """Calls whose answers never came to their end, so that nobody knows how long they are."""
        return sum(_output_tokens(visit.row) is None for visit in self.visits)

    def _lengths(self) -> list[int]:
        """Of the answers that did, rising. Raises NotReplayable where there is none."""
        known = sorted(tokens for visit in self.visits if (tokens := _output_tokens(visit.row)) is not None)
        if not known and self.visits:
            raise NotReplayable("no call in it came to its end, so nothing is known of how long answers are")
        return known

    def measured(self, slo: Slo) -> Result:
        """What really happened, in the numbers of a simulation. Calls that go on at the journal's end are in none but
        `requests` and `failed`."""
        kernel = Kernel()
        tally = Tally(slo, [replica.id for replica in self.replicas], kernel)
        start = self.visits[0].at if self.visits else 0.0
        for visit in self.visits:
            kernel.at(visit.at - start, lambda _: tally.arrived(), None)
            if visit.row is not None:
                kernel.at(visit.row.at + visit.row.latency_s - start, tally.over, visit.row)
        kernel.run()
        hourly_cost = fsum(replica.hourly_cost for replica in self.replicas)
        return tally.result(hourly_cost, 0, len(self._groups), sum(self._groups.values()))


def _mistaken(row: CallRow) -> bool:
    if row.outcome == "ok":
        return row.status >= 400
    return not REFUSALS[row.outcome].counts_for_slo and row.status != _LEFT


def _output_tokens(row: CallRow | None) -> int | None:
    """As the engine counted them, else as many as came; None: it did not come to its end."""
    if row is None or row.outcome != "ok":
        return None
    return row.usage.completion_tokens if row.usage is not None else row.relayed_tokens or None


def seen(call: Call) -> tuple[int, ...]:
    """Blocks that two prompts share as far as the gateway's hashes say that their texts are the same; what lies behind
    the last block that was hashed is nobody else's."""
    found: list[int] = []
    for end, state in zip(ENDS[1:], call.prefix):
        upto = end // (BLOCK_TOKENS * TOKEN_BYTES)
        found.extend((state << 20) + place for place in range(len(found), upto))
    return tuple(found)
