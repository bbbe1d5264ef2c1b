"""What a worker does for the others, word by word over its real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.config.schema import GatewayTimeouts
from penstock.core.cache.register import NOBODY, Leader
from penstock.core.effects import Hand
from penstock.core.events import Event, Unwanted, Wanted
from penstock.gateway.cache import lending as module
from penstock.gateway.cache.lending import Lending
from penstock.gateway.cache.shelf import Shelf
from penstock.gateway.cache.talk import Answering, Asking, Have, Hello, Line, Lost, Nothing, Over, Question, Told, Want
from tests.gateway.cache.test_talk import KEPT
from tests.helpers.wire import run, until


class Ground:
    """Enough of a data plane."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.timeouts = GatewayTimeouts()
        self.facts: list[Event] = []
        self.tell = self.facts.append


class Caller:
    """Another worker's end of a line."""

    def __init__(self, line: Line[Answering], heard: list[Answering], closed: asyncio.Event) -> None:
        self.line = line
        self.heard = heard
        self.closed = closed

    async def says(self, *words: Asking, more: int = 1) -> list[Answering]:
        """Say this; what is answered."""
        before = len(self.heard)
        for word in words:
            self.line.tell(word)
        await until(lambda: len(self.heard) == before + more, "an answer")
        return self.heard[before:]


@asynccontextmanager
async def lending(folder: Path) -> AsyncIterator[tuple[Lending, Ground]]:
    """Worker 1's."""
    ground = Ground()
    made = Lending(1, ground, lambda: None)
    await made.start(str(folder / "w1"))
    try:
        yield made, ground
    finally:
        made.close()


async def caller(folder: Path) -> Caller:
    """A line to it."""
    heard: list[Answering] = []
    closed = asyncio.Event()
    line: Line[Answering] = Line(Answering, heard.append, closed.set)
    await asyncio.get_running_loop().create_unix_connection(lambda: line, str(folder / "w1"))
    return Caller(line, heard, closed)


def test_its_register_answers_and_forgets_who_is_gone(tmp_path: Path) -> None:
    """Who asks first leads; when its line closes, the next one does."""

    async def main() -> None:
        async with lending(tmp_path) as (made, _):
            two, three = await caller(tmp_path), await caller(tmp_path)
            assert await two.says(Hello(2), Question(1, "k", "c2")) == [Told(1, 0)]
            assert await three.says(Hello(3), Question(5, "k", "c3")) == [Told(5, 2, "c2")]
            two.line.abort()
            await until(lambda: len(made.register) == 0, "it to be forgotten")
            assert await three.says(Question(6, "k", "c3")) == [Told(6, 0)]
            three.line.tell(Over("k", "c3", True))
            await until(lambda: len(made.register) == 0, "the end of its call")
            assert made.register.ask("k", Leader(1, "c1")) == Leader(3)

    run(main)


def test_a_worker_that_is_back_before_its_old_line_has_closed_keeps_what_it_leads(tmp_path: Path) -> None:
    """Only the last of its lines counts."""

    async def main() -> None:
        async with lending(tmp_path) as (made, _):
            old, new = await caller(tmp_path), await caller(tmp_path)
            await old.says(Hello(2), Question(1, "k", "c1"))
            await new.says(Hello(2), Question(1, "l", "c2"))
            old.line.abort()
            await until(lambda: len(made._lines) == 1, "the old line to be gone")
            assert made.register.ask("l", Leader(1, "c")) == Leader(2, "c2")

    run(main)


@pytest.mark.parametrize(
    ("order", "word"),
    [
        (Hand("1/1", "hit", "k", "", 1.0, 9.0, ("t",), 3), Have(KEPT, 1.0, 9.0, ("t",), 3)),
        (Hand("1/1", "hit", "other"), Nothing()),
        (Hand("1/1", "none"), Nothing()),
        (Hand("1/1", "coalesced", "k", "c9"), Nothing()),
        (Hand("1/1", "failed", label="upstream_5xx", status=500), Lost("upstream_5xx", 500)),
    ],
    ids=["kept", "not kept any more", "none", "over by now", "failed"],
)
def test_what_the_gate_says_is_handed(tmp_path: Path, order: Hand, word: Answering) -> None:
    """And the line closes behind it."""

    async def main() -> None:
        async with lending(tmp_path) as (made, ground):
            ground.shelf.keep("k", KEPT)
            one = await caller(tmp_path)
            one.line.tell(Want("k", 2))
            await until(lambda: bool(ground.facts), "the wish")
            assert ground.facts == [Wanted("1/1", "k", 2)]
            made.hand(order, lambda: None)
            await one.closed.wait()
            assert one.heard == [word]
            await until(lambda: not made._outlets, "nothing that is left")
            made.hand(order, lambda: None)

    run(main)
    assert NOBODY.worker == 0


def test_who_does_not_want_it_any_more_is_told_of(tmp_path: Path) -> None:
    """Only where something was on its way."""

    async def main() -> None:
        async with lending(tmp_path) as (made, ground):
            one = await caller(tmp_path)
            one.line.tell(Want("k", 2))
            await until(lambda: bool(ground.facts), "the wish")
            assert made.beat(0.0)
            one.line.abort()
            await until(lambda: not made._outlets, "it to be gone")
            assert [fact for fact in ground.facts if isinstance(fact, Unwanted)] == []
            assert not made.beat(0.0)

    run(main)


WRONG: list[list[Any]] = [[Question(1, "k", "c")], [Over("k", "c", True)], [Want("k", 2), Want("k", 2)]]


@pytest.mark.parametrize("words", WRONG, ids=["who asks?", "who ends?", "two wishes"])
def test_who_says_what_makes_no_sense_is_cut_off(tmp_path: Path, words: list[Asking]) -> None:
    """Without a word."""

    async def main() -> None:
        async with lending(tmp_path):
            one = await caller(tmp_path)
            for word in words:
                one.line.tell(word)
            await one.closed.wait()
            assert one.heard == []

    run(main)


def test_answers_at_a_time_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that, others run alone."""
    monkeypatch.setattr(module, "MOST_LINES", 1)

    async def main() -> None:
        async with lending(tmp_path) as (made, ground):
            one, two = await caller(tmp_path), await caller(tmp_path)
            one.line.tell(Want("k", 2))
            await until(lambda: len(made._outlets) == 1, "the first")
            two.line.tell(Want("k", 2))
            await two.closed.wait()
            assert len(ground.facts) == 1

    run(main)
