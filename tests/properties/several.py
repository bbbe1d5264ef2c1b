"""A worker of several without sockets: a Gate, a register, and an edge that performs orders as the real one does. What
it knows of the others it knows by words alone."""

from collections.abc import Callable
from typing import Any, Protocol

from penstock.base.errors import Label
from penstock.base.nouns import Call, Usage
from penstock.base.rand import Rand
from penstock.core.cache.register import NOBODY, Leader, Register, keepers_of
from penstock.core.effects import Adopt, Answer, Cancel, Drop, Effect, Hand, Keep, LookUp, Record, Refuse, Release, Send
from penstock.core.events import (
    Began,
    Ended,
    Event,
    Failed,
    FleetSeen,
    Found,
    LookedUp,
    Unwanted,
    Wanted,
)
from penstock.core.gate import Gate
from penstock.core.spec import GateSpec
from penstock.gateway.cache.beside import MOST_TRIES
from tests.core.playbook import replica


class Ground(Protocol):
    """What is around a worker: time, settings, the others, and how words get there."""

    spec: GateSpec
    isolate: bool
    now: float
    numbers: int
    sent: int
    ended: list[tuple[str, str, str]]
    workers: "dict[int, Worker]"

    def post(self, sender: "Worker", to: "Worker", what: Callable[[], None], line: "Line | None" = None) -> None:
        """It arrives some time, behind what was said before on the same line."""
        ...


class Answering:
    """One answer at one worker, and who reads it."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.readers: dict[str, None] = {owner: None}
        self.lines: dict[str, Line] = {}
        self.line: Line | None = None
        """By which it comes."""
        self.began = self.whole = False


class Line:
    """For an answer, between two workers."""

    def __init__(self, asker: "Worker", lender: "Worker", by: str, call: str) -> None:
        self.asker, self.lender, self.by, self.call = asker, lender, by, call
        self.taken = self.over = False


class Look:
    """A question of one call."""

    def __init__(self, order: LookUp) -> None:
        self.order = order
        self.wrong = NOBODY
        self.tries = 0
        self.line: Line | None = None


class Worker:
    """One life."""

    def __init__(self, world: "Ground", number: int) -> None:
        self.world, self.number = world, number
        self.gate = Gate(world.spec, Rand(number))
        self.register = Register()
        self.calls: dict[str, Call] = {}
        self.running: dict[tuple[str, int], bool] = {}
        self.answers: dict[str, Answering] = {}
        self.hits: dict[str, None] = {}
        self.kept: dict[str, Any] = {}
        self.found: dict[str, Any] = {}
        self.looks: dict[str, Look] = {}
        self.asked: dict[str, int] = {}
        self.lent: dict[str, Line] = {}
        self.joined: dict[str, Line] = {}
        self.dead = False
        self.table: dict[type, Callable[[Any], None]] = {
            Send: self.send, Cancel: self.cancel, Answer: self.answer, Adopt: self.adopt, Keep: self.keep,
            Drop: self.drop, LookUp: self.look_up, Release: self.release, Hand: self.hand, Record: self.record,
            Refuse: self.refuse,
        }  # fmt: skip
        self.tell(FleetSeen((replica("a", max_concurrent_requests=3),)))

    def tell(self, event: Event) -> None:
        """And perform what is ordered."""
        orders: list[Effect] = self.gate.on(event, self.world.now)
        for order in orders:
            self.table[type(order)](order)

    def whose(self, id: str) -> tuple[str, str]:
        """Of whom its answer is."""
        call = self.calls[id]
        assert call.content
        return call.tenant if self.world.isolate else "", call.content.digest

    # ===== orders =====

    def send(self, order: Send) -> None:
        self.running[order.id, order.attempt] = False
        if order.cache == "lead":
            self.shared(order.id).owner = order.id
        self.world.sent += 1

    def cancel(self, order: Cancel) -> None:
        self.running.pop((order.id, order.attempt), None)

    def shared(self, id: str) -> Answering:
        return self.answers.setdefault(id, Answering(id))

    def answer(self, order: Answer) -> None:
        if order.how == "hit":
            assert self.kept[order.key] == self.whose(order.id)
            self.leave(order.id)
            self.hits[order.id] = None
            return
        line = self.joined.pop(order.id, None)
        if line is not None:
            assert line.lender.dead or line.lender.wanted[line.by] == self.whose(order.id)
            line.taken, line.call = True, order.id
            mine = self.shared(order.id)
            mine.line = line
            return
        assert self.whose(order.of) == self.whose(order.id)
        mine = self.answers[order.id] = self.shared(order.of)
        mine.readers[order.id] = None

    def adopt(self, order: Adopt) -> None:
        mine = self.answers.get(order.by)
        assert mine is not None
        if mine.line is not None and not mine.line.over:
            mine.line.call = order.by
            return
        mine.owner = order.by
        for id, attempt in [key for key in self.running if key[0] == order.id]:
            self.running[order.by, attempt] = self.running.pop((id, attempt))

    def keep(self, order: Keep) -> None:
        self.kept[order.key] = self.found.pop(order.id) if order.found else self.whose(order.id)
        self.drop(Drop(order.evicted))

    def drop(self, order: Drop) -> None:
        for key in order.keys:
            del self.kept[key]

    def refuse(self, order: Refuse) -> None:
        self.running = {key: begun for key, begun in self.running.items() if key[0] != order.id}

    def record(self, order: Record) -> None:
        id = order.row.id
        assert not [key for key in self.running if key[0] == id]
        del self.calls[id]
        self.leave(id)
        self.hits.pop(id, None)
        self.world.ended.append((id, order.row.outcome, order.row.cache or ""))

    def leave(self, id: str) -> None:
        """Its client reads no answer of others any more."""
        mine = self.answers.pop(id, None)
        if mine is None:
            return
        mine.readers.pop(id, None)
        if not mine.readers and mine.line is not None:
            self.hang_up(mine.line)

    # ===== who leads =====

    def look_up(self, order: LookUp) -> None:
        look = self.looks[order.id] = Look(order)
        self.ask(look)

    def ask(self, look: Look) -> None:
        order = look.order
        keeper = next(keepers_of(order.key, len(self.world.workers)))
        self.asked[order.id] = keeper
        there = self.world.workers[keeper]

        def reply(leader: Leader) -> None:
            if self.looks.get(order.id) is look:
                self.told(look, leader)

        if there is self:
            reply(self.register.ask(order.key, Leader(keeper, order.id), look.wrong))
            return
        wrong = look.wrong

        def question() -> None:
            leader = there.register.ask(order.key, Leader(self.number, order.id), wrong)
            self.world.post(there, self, lambda: reply(leader))

        self.world.post(self, there, question)

    def told(self, look: Look, leader: Leader) -> None:
        if leader.worker in (0, self.number) or look.tries >= MOST_TRIES:
            self.give_up(look)
            return
        look.tries += 1
        look.wrong = leader
        there = self.world.workers[leader.worker]
        self.world.numbers += 1
        line = look.line = Line(self, there, f"{there.number}/{self.world.numbers}", look.order.id)

        def want() -> None:
            if self.dead or line.over:
                return
            there.lent[line.by] = line
            there.wanted[line.by] = self.whose(look.order.id) if look.order.id in self.calls else ("", "")
            there.tell(Wanted(line.by, look.order.key, look.order.priority or 0))

        self.world.post(self, there, want, line)

    def give_up(self, look: Look) -> None:
        """Nobody has it, or nobody answers in time."""
        self.looks.pop(look.order.id, None)
        self.tell(LookedUp(look.order.id))

    def release(self, order: Release) -> None:
        look = self.looks.pop(order.id, None)
        if look is not None and look.line is not None:
            self.hang_up(look.line)
        keeper = self.asked.pop(order.id, 0)
        there, asker = self.world.workers.get(keeper), Leader(self.number, order.id)
        if there is self:
            self.register.release(order.key, asker, order.kept)
        elif there is not None:
            self.world.post(self, there, lambda: there.register.release(order.key, asker, order.kept))

    # ===== answers of others =====

    def hand(self, order: Hand) -> None:
        line = self.lent.get(order.by)
        if line is None:
            return
        if order.how == "coalesced":
            mine = self.shared(order.of)
            mine.lines[order.by] = line
            self.say(line, lambda: line.asker.follow(line, order.of))
            return
        del self.lent[order.by]
        for mine in self.answers.values():
            mine.lines.pop(order.by, None)
        if order.how == "hit":
            kept = self.kept[order.key]
            found = Found(10, order.age_s, order.left_s, order.tags, order.mark)
            self.say(line, lambda: line.asker.take(line, kept, found))
        else:
            label: Label = order.label or "stale_connection"
            self.say(line, lambda: line.asker.lost(line, label))

    def say(self, line: Line, what: Callable[[], None]) -> None:
        self.world.post(self, line.asker, lambda: None if line.over else what(), line)

    def looking(self, line: Line) -> Look | None:
        look = self.looks.get(line.call)
        return look if look is not None and look.line is line else None

    def follow(self, line: Line, leader: str) -> None:
        look = self.looking(line)
        if look is None:
            return
        del self.looks[line.call]
        self.asked.pop(line.call, None)
        self.joined[line.call] = line
        self.tell(LookedUp(line.call, None, leader))
        if self.joined.pop(line.call, None) is not None:
            self.hang_up(line)

    def take(self, line: Line, kept: Any, found: Found) -> None:
        line.over = True
        look = self.looking(line)
        if look is not None:
            del self.looks[line.call]
            self.found[line.call] = kept
            self.tell(LookedUp(line.call, found))
            self.found.pop(line.call, None)

    def lost(self, line: Line, label: Label) -> None:
        line.over = True
        look = self.looking(line)
        if look is not None:
            self.ask(look)
        elif line.taken:
            mine = self.answers[line.call]
            mine.line = None
            if mine.began and label == "stale_connection":
                label = "died_mid_answer"
            self.tell(Failed(line.call, 0, label))

    def hang_up(self, line: Line) -> None:
        """It is not wanted any more."""
        if line.over:
            return
        line.over = True
        self.world.post(self, line.lender, lambda: line.lender.left(line), line)

    def left(self, line: Line) -> None:
        """Another worker has hung up."""
        if self.lent.pop(line.by, None) is None:
            return
        for mine in self.answers.values():
            mine.lines.pop(line.by, None)
        self.tell(Unwanted(line.by))

    wanted: dict[str, tuple[str, str]]

    # ===== from engines, and to clients =====

    def goes_on(self, id: str, attempt: int, what: float, label: Label) -> None:
        """An attempt begins, ends or fails."""
        begun, mine = self.running[id, attempt], self.answers.get(id)
        if not begun and what < 0.4:
            self.running[id, attempt] = True
            self.tell(Began(id, attempt))
            if mine is not None:
                self.begins(mine)
            return
        del self.running[id, attempt]
        if what < 0.8:
            if mine is not None:
                mine.whole = True
                for by, line in mine.lines.items():
                    del self.lent[by]
                    self.say(line, lambda line=line: line.asker.done(line))  # type: ignore[misc]
                mine.lines.clear()
            self.tell(Ended(id, attempt, 200, Usage(5, 7), 7, kept_bytes=10))
        else:
            self.tell(Failed(id, attempt, "died_mid_answer" if begun else label))

    def begins(self, mine: Answering) -> None:
        mine.began = True
        for line in mine.lines.values():
            self.say(line, lambda line=line: line.asker.begun(line))  # type: ignore[misc]
        for reader in list(mine.readers):
            self.tell(Began(reader, 0))

    def begun(self, line: Line) -> None:
        if line.taken:
            self.begins(self.answers[line.call])

    def done(self, line: Line) -> None:
        line.over = True
        if line.taken:
            self.answers[line.call].whole = True

    def reads(self) -> list[str]:
        """Calls whose client could get the end of an answer now."""
        whole = [id for id, mine in self.answers.items() if mine.whole and id in self.calls]
        return [*whole, *self.hits]
