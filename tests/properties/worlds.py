"""Workers that say words to each other which are under way for as long as somebody likes, and who may die."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from penstock.base.contents import Content
from penstock.base.nouns import Call
from penstock.core.events import Arrived, ClientGone, Woke
from penstock.core.spec import GateSpec
from tests.properties.several import Line, Worker


class World:
    """All of them."""

    def __init__(self, spec: GateSpec, count: int, seed: int, isolate: bool) -> None:
        self.spec, self.isolate = spec, isolate
        self.rng = Random(seed)
        self.now = 0.0
        self.numbers = self.sent = 0
        self.ended: list[tuple[str, str, str]] = []
        self.mail: dict[object, deque[tuple[Worker, Worker, Callable[[], None]]]] = {}
        self.workers: dict[int, Worker] = {}
        for number in range(1, count + 1):
            self.begin(number)

    def begin(self, number: int) -> None:
        """A worker begins a life."""
        self.workers[number] = Worker(self, number)
        self.workers[number].wanted = {}

    def post(self, sender: Worker, to: Worker, what: Callable[[], None], line: Line | None = None) -> None:
        """It arrives some time, behind what was said before on the same line."""
        way = line if line is not None else (sender, to)
        self.mail.setdefault((way, to), deque()).append((sender, to, what))

    def deliver(self) -> bool:
        """One word arrives."""
        if not self.mail:
            return False
        way = self.rng.choice(list(self.mail))
        _, to, what = self.mail[way].popleft()
        if not self.mail[way]:
            del self.mail[way]
        if not to.dead:
            what()
        return True

    def die(self, number: int) -> None:
        """A worker dies, and another begins; what was asked of it, or was to come from it, will not."""
        gone = self.workers[number]
        gone.dead = True
        self.begin(number)
        for ways in self.mail.values():
            for entry in [entry for entry in ways if gone in entry[:2]]:
                ways.remove(entry)
        self.mail = {way: ways for way, ways in self.mail.items() if ways}
        for other in self.workers.values():
            other.register.gone(number)
            for line in [line for line in other.lent.values() if line.asker is gone]:
                other.left(line)
            for look in list(other.looks.values()):
                if look.line is not None and look.line.lender is gone and not look.line.over:
                    other.lost(look.line, "stale_connection")
                elif other.asked.get(look.order.id) == number and (look.line is None or look.line.over):
                    other.ask(look)
            for mine in {id(each): each for each in other.answers.values()}.values():
                if mine.line is not None and mine.line.lender is gone and not mine.line.over:
                    other.lost(mine.line, "stale_connection")

    def arrives(self, worker: Worker, number: int, content: Content, **fields: Any) -> None:
        """A call."""
        call = Call(f"c{number}", "m", prompt_tokens=5, max_tokens=10, content=content, **fields)
        worker.calls[call.id] = call
        worker.tell(Arrived(call))

    def wakes(self) -> None:
        """Alarms ring."""
        for worker in self.workers.values():
            wake = worker.gate.next_wake()
            if wake is not None and wake <= self.now:
                worker.tell(Woke())

    def leaves(self, worker: Worker, id: str) -> None:
        """A client does."""
        mine = worker.answers.get(id)
        if mine is not None:
            mine.readers.pop(id, None)
            if not mine.readers and mine.line is not None:
                worker.hang_up(mine.line)
        worker.tell(ClientGone(id, 1))
