"""What a benchmark at a fixed concurrency would measure of an engine: so many clients, each sends, waits, sends again.

The way in which most published figures are measured. It needs no gateway, only a Batcher and its own wake-ups.
"""

from heapq import heappop, heappush
from typing import NamedTuple

from penstock.base.rand import Rand
from penstock.engine.batcher import Batcher, EngineSpec
from penstock.engine.words import Emit, Finish, Order, Submit, Woke


class Trial(NamedTuple):
    """How the benchmark is run."""

    concurrency: int
    prompt_tokens: int
    output_tokens: int
    rounds: int = 10
    """Requests of each client."""
    spread: float = 0.0
    """Lengths are drawn evenly between (1 - spread) and 1 times the tokens above."""
    pause_s: float = 0.0
    """Between the end of an answer and the client's next request."""
    outside_s: float = 0.0
    """Between a request's sending and the engine's queue: HTTP, tokenising."""


class Seen(NamedTuple):
    """What the clients saw of one request, in seconds."""

    ttft_s: float
    tpot_s: float
    """Mean time of a token after the first; 0 with a single one."""
    e2e_s: float


def trial(spec: EngineSpec, plan: Trial, seed: int = 0) -> list[Seen]:
    """Every request, in the order of their ends. Raises ValueError where one can never run on this engine."""
    batcher, luck = Batcher(spec, each_token=False), Rand(seed).stream("lengths")
    left = plan.concurrency * plan.rounds
    coming: list[tuple[float, int]] = [(plan.outside_s, client) for client in range(plan.concurrency)]
    sent: dict[str, tuple[float, int]] = {}
    first: dict[str, float] = {}
    seen: list[Seen] = []

    def length(tokens: int) -> int:
        return max(1, round(tokens * (1.0 - plan.spread * luck.random())))

    def take(orders: list[Order], at: float) -> None:
        for order in orders:
            if isinstance(order, Finish):
                began, client = sent.pop(order.id)
                ttft_s, e2e_s, more = first.pop(order.id) - began, at - began, order.completion_tokens - 1
                seen.append(Seen(ttft_s, (e2e_s - ttft_s) / more if more else 0.0, e2e_s))
                heappush(coming, (at + plan.pause_s + plan.outside_s, client))
            elif isinstance(order, Emit):
                first.setdefault(order.id, at)
            else:
                raise ValueError(f"the engine refuses {plan}: {order.why}")

    while coming or batcher.next_wake() is not None:
        wake = batcher.next_wake()
        if coming and left and (wake is None or coming[0][0] < wake):
            at, client = heappop(coming)
            name = str(left)
            left -= 1
            sent[name] = (at - plan.outside_s, client)
            take(batcher.on(Submit(name, length(plan.prompt_tokens), length(plan.output_tokens)), at), at)
        elif wake is not None:
            take(batcher.on(Woke(), wake), wake)
        else:
            break
    return seen
