"""Several Gates that share limits by one book, in virtual time: messages take their time, get lost, processes die."""

import heapq
import itertools
from collections.abc import Callable
from typing import Any

from penstock.base.leases import AccountKey, Question, Reply
from penstock.base.nouns import Call, Replica, Usage
from penstock.base.rand import Rand
from penstock.core.effects import Effect, Lease, Record, Refuse, Return, Send
from penstock.core.events import Arrived, ClientGone, Ended, Event, Failed, FleetSeen, Leased, LeaseLost, Woke
from penstock.core.gate import Gate
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.wills import Will
from penstock.core.spec import GateSpec

TIMEOUT_S = 1.0
GRACE_S, AGAIN_S = 0.25, 0.5


class Paper:
    """A sheet in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[AccountKey, str], int] = {}
        self.cells: list[int] = []

    def open(self, account: AccountKey, what: str) -> int:
        """See `Sheet`."""
        row = self.rows.setdefault((account, what), len(self.cells))
        self.cells += [0] * (row == len(self.cells))
        return row

    def add(self, row: int, amount: int) -> None:
        """See `Sheet`."""
        self.cells[row] += amount

    def spent(self, account: AccountKey, what: str) -> int | None:
        """What stands there."""
        row = self.rows.get((account, what))
        return None if row is None else self.cells[row]


class Process:
    """One gateway: a Gate, the calls in flight, and its way to the store."""

    def __init__(self, world: "World", name: str, spec: GateSpec, seats: int) -> None:
        self.world, self.name = world, name
        self.gate = Gate(spec, Rand(1))
        self.running: dict[str, int] = {}
        self.dead = self.silent = False
        self.messages = 0
        self.will, self.sheet = Will(), Paper()
        if world.wills:
            self.gate.note_on(self.sheet)
        self.replicas = (Replica(id="a", url="http://a", pool="main", max_concurrent_requests=seats),)
        self.tell(FleetSeen(self.replicas))

    def tell(self, event: Event) -> None:
        """A fact."""
        if self.dead:
            return
        for order in self.gate.on(event, self.world.now):
            self.perform(order)

    def perform(self, order: Effect) -> None:
        """An order."""
        world = self.world
        if isinstance(order, Send):
            if order.id not in world.admitted:
                world.admitted[order.id] = world.now
            self.running[order.id] = order.attempt
        elif isinstance(order, Refuse):
            world.refused.append((world.now, order))
        elif isinstance(order, Record):
            assert order.row.id not in world.over
            world.over[order.row.id] = order.row
            self.running.pop(order.row.id, None)
        elif isinstance(order, Lease | Return):
            self.messages += 1
            world.send(self, order)


class World:
    """All of them, the store, and the clock."""

    def __init__(
        self, spec: GateSpec, processes: int = 2, seats: int = 1000, start: float = 86_000.0, wills: bool = False
    ) -> None:  # fmt: skip
        self.now = start
        self.wills = wills
        """A parent passes messages on, and says the last word for who dies."""
        self.spec, self.seats = spec, seats
        self.book = LeaseBook()
        self.skew_s = 0.0
        """The store's clock is ahead by so much."""
        self.away = False
        """Nothing reaches the store."""
        self.delay_s: Callable[[], float] = lambda: 0.001
        self.lose: Callable[[], str] = lambda: ""
        """asked or answer: what of the next message gets lost."""
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.admitted: dict[str, float] = {}
        self.over: dict[str, Any] = {}
        self.refused: list[tuple[float, Refuse]] = []
        self.calls: dict[str, tuple[Process, Call]] = {}
        self.unserved: set[str] = set()
        """Calls that got nothing."""
        self.lost: set[str] = set()
        """Calls of processes that died."""
        self._names = itertools.count(1)
        self.processes = [self.start() for _ in range(processes)]

    def start(self) -> Process:
        """One more process."""
        return Process(self, f"p{next(self._names)}", self.spec, self.seats)

    def kill(self, at: int) -> None:
        """A process dies, with all its calls; another takes its place."""
        process = self.processes[at]
        process.dead = True
        self.lost |= set(process.running)
        if self.wills:
            self.at(self.now + GRACE_S, lambda: self.last_word(process))
        self.processes[at] = self.start()

    def last_word(self, process: Process) -> None:
        """Somebody says it, until it is heard; what of it is not, comes again."""
        process.silent = True
        for question in process.will.last_words(process.name, process.sheet.spent):
            lost = "asked" if self.away else self.lose()
            if lost != "asked":
                self.book.exchange(question, self.now + self.skew_s)
            if lost:
                self.at(self.now + AGAIN_S, lambda: self.last_word(process))
                return

    # ===== calls =====

    def arrive(self, at: int, id: str, tenant: str = "t", prompt: int = 5, most: int = 10, **fields: Any) -> None:
        """A call comes to one of the processes."""
        call = Call(id, model="m", tenant=tenant, prompt_tokens=prompt, max_tokens=most, **fields)
        self.calls[id] = (self.processes[at], call)
        self.processes[at].tell(Arrived(call))

    def end(self, id: str, prompt: int, completion: int) -> None:
        """It is over."""
        process, _ = self.calls[id]
        process.tell(Ended(id, process.running[id], 200, Usage(prompt, completion), completion))

    def leave(self, id: str) -> None:
        """Its client leaves."""
        self.calls[id][0].tell(ClientGone(id))

    def fail(self, id: str) -> None:
        """Its replica fails it."""
        process, _ = self.calls[id]
        process.tell(Failed(id, process.running[id], "upstream_5xx", 500))
        self.unserved.add(id)

    def running(self) -> list[str]:
        """Calls in flight at an engine, of processes that live."""
        return sorted(id for process in self.processes for id in process.running)

    # ===== the store =====

    def send(self, process: Process, order: Lease | Return) -> None:
        """A message is on its way."""
        question = Question(process.name, order.number, order.lasts_s, order.asks)
        lost = self.lose()
        sent = self.now

        def arrives() -> None:
            if process.silent:
                return
            process.will.hear(question)
            if self.away or lost == "asked":
                return
            reply = self.book.exchange(question, self.now + self.skew_s)
            if isinstance(order, Lease) and lost != "answer":
                self.at(self.now + self.delay_s(), lambda: answered(reply))

        def answered(reply: Reply) -> None:
            if self.now < sent + TIMEOUT_S:
                process.tell(Leased(order.number, reply.now, reply.answers))

        self.at(self.now + self.delay_s(), arrives)
        if isinstance(order, Lease):
            self.at(sent + TIMEOUT_S, lambda: process.tell(LeaseLost(order.number, "timeout")))

    # ===== time =====

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do it then."""
        heapq.heappush(self._later, (when, next(self._numbers), what))

    def run(self, until: float) -> None:
        """Time passes; alarms ring when they are due."""
        while True:
            wakes = [(at, process) for process in self.processes if (at := process.gate.next_wake()) is not None]
            wake = min(wakes, key=lambda one: one[0], default=None)
            due = self._later[0][0] if self._later else None
            if wake is not None and wake[0] <= until and (due is None or wake[0] <= due):
                self.now = max(self.now, wake[0])
                wake[1].tell(Woke())
            elif due is not None and due <= until:
                self.now = max(self.now, due)
                heapq.heappop(self._later)[2]()
            else:
                break
        self.now = max(self.now, until)

    def pass_s(self, seconds: float) -> None:
        """So much time passes."""
        self.run(self.now + seconds)

    # ===== what it came to =====

    def most_in(self, tenant: str, length_s: float, amount: Callable[[str], float]) -> float:
        """The most of something that calls have which were admitted within any span of that length."""
        mine = sorted((at, id) for id, at in self.admitted.items() if self.calls[id][1].tenant == tenant)
        most = total = 0.0
        first = 0
        for at, id in mine:
            total += amount(id)
            while mine[first][0] <= at - length_s:
                total -= amount(mine[first][1])
                first += 1
            most = max(most, total)
        return most

    def messages(self) -> int:
        """Of all that live."""
        return sum(process.messages for process in self.processes)
