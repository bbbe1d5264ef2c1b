"""A small world in virtual time around a Gate: calls come by chance, replicas answer after fixed times. For claims
about how strategies share traffic; nothing here decides anything."""

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush

from penstock.base.rand import Rand
from penstock.core.effects import Send
from penstock.core.events import Began, Ended, Event
from penstock.core.gate import Gate
from tests.core.playbook import arrived


def serve(
    gate: Gate,
    rate: float,
    first_byte_s: Callable[[str], float],
    whole_s: Callable[[str], float],
    *,
    start: float = 0.0,
    until: float = 60.0,
    seed: int = 7,
    stream: bool = True,
) -> Counter[str]:
    """Let `rate` calls a second come from `start` to `until` (seconds), and all of them end; calls sent, by replica.

    `first_byte_s` and `whole_s` say for each replica how long after it was sent a call's answer begins and ends.
    """
    luck = Rand(seed).stream("arrivals")
    heap: list[tuple[float, int, Event]] = []
    sent: Counter[str] = Counter()
    count = 0
    at = start + luck.expovariate(rate)
    while at < until:
        count += 1
        heappush(heap, (at, count, arrived(f"{start}-{count}", stream=stream)))
        at += luck.expovariate(rate)
    while heap:
        now, _, fact = heappop(heap)
        for order in gate.on(fact, now):
            if isinstance(order, Send):
                sent[order.replica] += 1
                count += 2
                heappush(heap, (now + first_byte_s(order.replica), count - 1, Began(order.id, order.attempt)))
                heappush(heap, (now + whole_s(order.replica), count, Ended(order.id, order.attempt, 200)))
    return sent
