"""Shares of seats among workers: playbooks, and what must hold whatever workers do and however messages cross."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.nouns import Replica
from penstock.core.shares import Shares, divided

A, B = "1.1", "2.2"


def fleet(*seats: int) -> list[Replica]:
    """Replicas r0, r1, … with so many seats each."""
    return [
        Replica(id=f"r{at}", url=f"http://r{at}", pool="p", max_concurrent_requests=count)
        for at, count in enumerate(seats)
    ]


def start(*seats: int, workers: tuple[str, ...] = (A, B)) -> Shares:
    """Shares of such a fleet, which the workers were sent and have applied."""
    shares = Shares()
    for worker in workers:
        shares.join(worker)
    shares.fleet(fleet(*seats))
    for worker, (number, _) in shares.moves(0.0).items():
        shares.told(worker, number, {}, {})
    return shares


def test_even_at_first() -> None:
    """Seats that nobody asks for are divided evenly; the odd ones of different replicas go to different workers."""
    shares = Shares()
    shares.join(A)
    shares.join(B)
    shares.fleet(fleet(8, 1, 1, 3))
    assert shares.moves(0.0) == {A: (1, {"r0": 4, "r2": 1, "r3": 1}), B: (1, {"r0": 4, "r1": 1, "r3": 2})}
    assert shares.moves(0.0) == {}


def test_one_worker_has_all() -> None:
    """A worker that is alone has every seat."""
    shares = Shares()
    shares.join(A)
    shares.fleet(fleet(8, 1))
    assert shares.moves(0.0) == {A: (1, {"r0": 8, "r1": 1})}


def test_reductions_come_first() -> None:
    """Seats move in two steps: one share falls, and only when its worker has told that it has so few, another rises."""
    shares = start(8)
    shares.told(A, 1, {"r0": 4}, {"p": 9})
    shares.told(B, 1, {"r0": 1}, {})
    assert shares.moves(0.0) == {B: (2, {"r0": 1})}
    assert shares.moves(0.0) == {}
    shares.told(B, 1, {"r0": 1}, {})  # told before it had the new share
    assert shares.moves(0.0) == {}
    shares.told(B, 2, {"r0": 1}, {})
    assert shares.moves(0.0) == {A: (2, {"r0": 7})}


def test_who_has_more_than_its_share_keeps_the_seats() -> None:
    """Calls in flight beyond a share that has fallen hold their seats until they end, one by one."""
    shares = start(8)
    shares.told(A, 1, {"r0": 4}, {"p": 9})
    shares.told(B, 1, {"r0": 4}, {})
    assert shares.moves(0.0) == {}
    shares.told(B, 1, {"r0": 3}, {})
    assert shares.moves(0.0) == {B: (2, {"r0": 3})}
    shares.told(B, 2, {"r0": 4}, {})  # one more had come in between
    assert shares.most("r0") == 8
    shares.told(B, 2, {"r0": 3}, {})
    assert shares.moves(0.0) == {A: (2, {"r0": 5})}
    assert shares.most("r0") == 8


def test_the_only_seat_goes_round() -> None:
    """One seat that two workers ask for without end belongs to the one, then to the other, by turns."""
    shares = start(1)
    owner = []
    for turn in range(6):
        for worker in (A, B):
            held = shares.share(worker, "r0")
            shares.told(worker, shares._workers[worker].sent, {"r0": held} if held else {}, {"p": 5})
        for worker, (number, seats) in shares.moves(turn * 0.5).items():
            shares.told(worker, number, {"r0": seats["r0"]} if seats["r0"] else {}, {"p": 5})
        for worker, (number, seats) in shares.moves(turn * 0.5).items():
            shares.told(worker, number, {"r0": seats["r0"]} if seats["r0"] else {}, {"p": 5})
        owner.append(A if shares.share(A, "r0") else B)
        assert shares.most("r0") == 1
    assert A in owner
    assert B in owner


def test_who_waits_gets_the_only_seat() -> None:
    """A seat that its worker does not use goes to the one whose call waits."""
    shares = start(1)
    assert shares.share(A, "r0") == 1
    shares.told(B, 0, {}, {"p": 1})
    assert shares.moves(0.0) == {A: (2, {"r0": 0})}
    shares.told(A, 2, {}, {})
    assert shares.moves(0.0) == {B: (1, {"r0": 1})}


def test_a_worker_that_dies() -> None:
    """What a dead worker had is the others', and one that comes in its place begins with nothing."""
    shares = start(8)
    shares.told(A, 1, {"r0": 4}, {"p": 3})
    shares.leave(B)
    assert shares.moves(0.0) == {A: (2, {"r0": 8})}
    shares.told(A, 2, {"r0": 7}, {})
    shares.join("2.3")
    assert shares.moves(0.0) == {A: (3, {"r0": 7})}
    shares.told(A, 3, {"r0": 7}, {})
    assert shares.moves(0.0) == {"2.3": (1, {"r0": 1})}


def test_a_replica_that_leaves_and_returns_has_its_calls_still() -> None:
    """What a worker may have in flight there holds its seats, until it has told how many there are, knowing that the
    replica is back; then the rest goes to who needs it."""
    shares = start(8, workers=(A,))
    shares.told(A, 1, {"r0": 8}, {})
    shares.fleet([])
    shares.told(A, 1, {}, {})  # calls at a replica that is gone are not told
    shares.join(B)
    shares.fleet(fleet(8))
    assert shares.moves(0.0) == {A: (2, {"r0": 4})}
    shares.told(A, 1, {}, {})  # told before it knew that it is back
    assert (shares.most("r0"), shares.moves(0.0)) == (8, {})
    shares.told(A, 2, {"r0": 3}, {})
    assert shares.moves(0.0) == {A: (3, {"r0": 5}), B: (1, {"r0": 3})}
    assert shares.most("r0") == 8


def test_an_answer_to_a_share_from_before_it_left_frees_nothing() -> None:
    """A replica leaves and returns while a lesser share of its seats is on its way: who answers that one has it still,
    and does not know yet that the replica was away."""
    shares = start(1, workers=(A,))
    shares.fleet([])
    shares.fleet(fleet(1))
    assert shares.moves(0.0) == {A: (2, {"r0": 1})}
    shares.fleet([])
    shares.fleet(fleet(1))
    shares.told(A, 2, {}, {})
    shares.join(B)
    shares.told(B, 0, {}, {"p": 1})
    assert (shares.most("r0"), B in shares.moves(0.0)) == (1, False)


def test_fewer_seats_than_before() -> None:
    """A replica that loses seats gives none out until so few calls are left there."""
    shares = start(8)
    shares.told(A, 1, {"r0": 4}, {})
    shares.told(B, 1, {"r0": 4}, {"p": 1})
    shares.fleet(fleet(4))
    assert shares.moves(0.0) == {A: (2, {"r0": 2}), B: (2, {"r0": 2})}
    shares.told(A, 2, {"r0": 3}, {})
    shares.told(B, 2, {"r0": 2}, {"p": 1})
    assert shares.moves(0.0) == {}
    assert shares.most("r0") == 5


@pytest.mark.parametrize(
    ("total", "demands", "given_", "first", "shares"),
    [
        (8, [0, 0], [0, 0], 0, [4, 4]),
        (9, [0, 0], [4, 5], 0, [4, 5]),
        (8, [20, 2], [4, 4], 0, [6, 2]),
        (8, [20, 0], [4, 4], 0, [7, 1]),
        (8, [20, 20], [4, 4], 1, [4, 4]),
        (3, [5, 5], [0, 0], 1, [1, 2]),
        (3, [5, 5], [0, 0], 2, [2, 1]),
        (1, [1, 0], [0, 1], 1, [1, 0]),
        (2, [1, 0], [1, 1], 0, [1, 1]),
        (10, [7, 1, 9], [0, 0, 0], 0, [5, 1, 4]),
    ],
)  # fmt: skip
def test_divided(total: int, demands: list[int], given_: list[int], first: int, shares: list[int]) -> None:
    """Demand first, the lesser before the greater; the rest evenly; odd ones stay, or go round where seats lack."""
    assert divided(total, demands, given_, first) == shares


LEAVES, RETURNS = -1, -2


class World:
    """Workers that get shares late, tell late, and never send more than they may; and a replica that goes and comes,
    which they hear late as well, and forget their share of."""

    def __init__(self, total: int, names: list[str]) -> None:
        self.total = total
        self.shares = Shares()
        self.shares.fleet(fleet(total))
        self.there = True
        self.knows: dict[str, bool] = {}
        self.share: dict[str, int] = {}
        self.busy: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self.number: dict[str, int] = {}
        self.down: dict[str, deque[tuple[int, int | None]]] = {}
        self.up: dict[str, deque[tuple[int, int, int]]] = {}
        self.now = 0.0
        for name in names:
            self.join(name)

    def join(self, name: str) -> None:
        self.shares.join(name)
        self.share[name] = self.busy[name] = self.waiting[name] = self.number[name] = 0
        self.down[name], self.up[name], self.knows[name] = deque(), deque(), self.there

    def step(self, what: str, name: str, count: int) -> None:
        """One thing happens somewhere."""
        self.now += 0.1
        if what == "arrive":
            self.waiting[name] += count
        elif what == "end":
            self.busy[name] -= min(count, self.busy[name])
        elif what == "get" and self.down[name]:
            self.get(name, *self.down[name].popleft())
        elif what == "tell":
            self.tell(name)
        elif what == "hear":
            for number, busy, waiting in self.up[name]:
                pools = {"p": waiting} if waiting else {}
                self.shares.told(name, number, {"r0": busy} if busy else {}, pools)
            self.up[name].clear()
        elif what == "move":
            for worker, (number, seats) in self.shares.moves(self.now).items():
                self.down[worker].append((number, seats.get("r0")))
        elif what == "flip":
            self.there = not self.there
            self.shares.fleet(fleet(self.total) if self.there else [])
            for waits in self.down.values():
                waits.append((RETURNS if self.there else LEAVES, None))
        started = max(0, min(self.waiting[name], self.share[name] - self.busy[name]))
        self.busy[name] += started
        self.waiting[name] -= started

    def get(self, name: str, number: int, share: int | None) -> None:
        """A message of the parent."""
        if number in (LEAVES, RETURNS):
            self.knows[name] = number == RETURNS
            self.share[name] = self.share[name] if self.knows[name] else 0
            return
        self.number[name] = number
        if share is not None and self.knows[name]:
            self.share[name] = share
        self.tell(name)

    def tell(self, name: str) -> None:
        self.up[name].append((self.number[name], self.busy[name] if self.knows[name] else 0, self.waiting[name]))


STEPS = st.tuples(
    st.sampled_from(
        ["arrive", "arrive", "end", "get", "get", "tell", "tell", "hear", "hear", "hear", "move", "move", "flip"]
    ),
    st.integers(0, 2),
    st.integers(1, 9),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 3), st.lists(STEPS, min_size=20, max_size=200))
def test_never_more_than_seats(total: int, count: int, steps: list[tuple[str, int, int]]) -> None:
    """However late shares come and reports go, workers together never have more calls than the replica has seats."""
    names = [f"{at}.1" for at in range(count)]
    world = World(total, names)
    for what, at, size in steps:
        world.step(what, names[at % count], size)
        assert sum(world.busy.values()) <= total
        assert all(busy >= 0 for busy in world.busy.values())


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.lists(STEPS, max_size=60))
def test_seats_are_used(total: int, count: int, steps: list[tuple[str, int, int]]) -> None:
    """Once messages flow, all seats are given out, and who alone has calls gets them all but one for each other."""
    names = [f"{at}.1" for at in range(count)]
    world = World(total, names)
    for what, at, size in steps:
        world.step(what, names[at % count], size)
    if not world.there:
        world.step("flip", names[0], 1)
    for name in names:
        world.busy[name], world.waiting[name] = 0, 0
    world.waiting[names[0]] = 3 * total
    for _ in range(8):
        for name in names:
            world.step("tell", name, 1)
            world.step("hear", name, 1)
        world.step("move", names[0], 1)
        for name in names:
            while world.down[name]:
                world.step("get", name, 1)
    assert sum(world.share.values()) == total
    assert world.busy[names[0]] >= total - (count - 1)
