"""Tickets: every request's sequences find their way back, and leaving frees the engine."""

import asyncio

from penstock.emulator.replica import Job, Replica, Ticket
from penstock.engine.batcher import EngineSpec
from penstock.engine.perf import PRESETS, StepCost


async def ended(ticket: Ticket) -> None:
    """Wait for the end of a request."""
    async with asyncio.timeout(5):
        while not ticket.over:
            await ticket.changed()


def test_sequences_come_back_to_their_request() -> None:
    """Two requests at once get their own tokens, counted by sequence."""

    async def main() -> None:
        replica = Replica(EngineSpec(cost=PRESETS["fast"]))
        first = replica.open("a", "/x", [Job(5, 3, ()), Job(5, 4, (), stops=True)])
        second = replica.open("b", "/y", [Job(5, 2, ())])
        await ended(first)
        await ended(second)
        assert (first.emitted, second.emitted) == ([3, 4], [2])
        assert [finish.reason for finish in first.finished if finish] == ["length", "stop"]
        for ticket in (first, second):
            replica.close(ticket)
        assert replica.in_flight == 0
        assert [(seen.id, seen.outcome, seen.completion_tokens) for seen in replica.seen] == [
            ("a", "finished", 7),
            ("b", "finished", 2),
        ]

    asyncio.run(main())


def test_leaving_aborts_all_sequences() -> None:
    """A client that leaves takes all its sequences with it, running and waiting, and what was made is still counted."""

    async def main() -> None:
        replica = Replica(
            EngineSpec(cost=StepCost(base_s=0.001, prefill_token_s=0, decode_sequence_s=0), max_num_seqs=1)
        )
        ticket = replica.open("a", "/x", [Job(5, 1000, ()), Job(5, 1000, ())])
        while not ticket.emitted[0]:
            await ticket.changed()
        replica.leave(ticket)
        assert ticket.over
        assert ticket.gone
        assert (replica.batcher.running, replica.batcher.waiting) == (0, 0)
        replica.close(ticket)
        assert replica.seen[0].outcome == "aborted"
        assert replica.seen[0].completion_tokens >= 1
        replica.stop()

    asyncio.run(main())


def test_what_cannot_run_is_rejected_at_once() -> None:
    """The ticket says so before anybody waits."""

    async def main() -> None:
        replica = Replica(EngineSpec(kv_blocks=1, block_size=4))
        ticket = replica.open("a", "/x", [Job(50, 5, ())])
        assert (ticket.rejected, ticket.over) == ("too_long", True)
        replica.close(ticket)
        assert replica.seen[0].outcome == "rejected"

    asyncio.run(main())
