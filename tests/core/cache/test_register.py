"""The register of leaders: one leads, others are told who, and what it holds is bounded."""

import pytest

from penstock.core.cache import register
from penstock.core.cache.register import NOBODY, Leader, Register, keepers_of

ONE, TWO, THREE = Leader(1, "c1"), Leader(2, "c2"), Leader(3, "c3")


def test_who_asks_first_leads_until_it_is_over() -> None:
    """Others are told who; once it is over and keeps nothing, the next one leads."""
    book = Register()
    assert book.ask("k", ONE) == NOBODY
    assert [book.ask("k", TWO), book.ask("k", THREE)] == [ONE, ONE]
    book.release("k", ONE, kept=False)
    assert [book.ask("k", TWO), book.ask("k", THREE)] == [NOBODY, TWO]
    assert len(book) == 1


def test_who_keeps_the_answer_is_remembered() -> None:
    """Others are told who keeps it; that one itself leads, for it has asked because it does not keep it any more."""
    book = Register()
    book.ask("k", ONE)
    book.release("k", ONE, kept=True)
    assert book.ask("k", TWO) == Leader(1)
    assert book.ask("k", ONE) == NOBODY
    assert book.ask("k", TWO) == ONE


def test_who_was_told_wrong_leads() -> None:
    """A leader, or a keeper, that does not have it is forgotten; unless another leads by then."""
    book = Register()
    book.ask("k", ONE)
    assert book.ask("k", TWO, wrong=ONE) == NOBODY
    assert book.ask("k", THREE, wrong=ONE) == TWO
    book.release("k", TWO, kept=True)
    assert book.ask("k", THREE, wrong=Leader(2)) == NOBODY


def test_a_release_that_comes_late_concerns_nobody_else() -> None:
    """Of an earlier call of the same worker, and of another worker's."""
    book = Register()
    book.ask("k", ONE)
    book.ask("k", Leader(1, "c9"))
    book.release("k", ONE, kept=False)
    book.release("k", TWO, kept=False)
    assert book.ask("k", TWO) == Leader(1, "c9")


def test_a_worker_that_ended_has_nothing() -> None:
    """Neither what it led nor what it kept."""
    book = Register()
    book.ask("k", ONE)
    book.ask("l", ONE)
    book.release("l", ONE, kept=True)
    book.ask("m", TWO)
    book.gone(1)
    assert [book.ask(key, THREE) for key in "klm"] == [NOBODY, NOBODY, TWO]


def test_what_it_holds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many leaders nobody hears of one, and of those who keep something the oldest is forgotten."""
    monkeypatch.setattr(register, "MOST_LEADS", 2)
    monkeypatch.setattr(register, "MOST_KEPT", 2)
    book = Register()
    assert [book.ask(key, ONE) for key in "klm"] == [NOBODY] * 3
    assert [book.ask(key, TWO) for key in "klm"] == [ONE, ONE, NOBODY]
    for key in "kln":
        book.release(key, ONE, kept=True)
    assert [book.ask(key, THREE) for key in "kln"] == [NOBODY, Leader(1), Leader(1)]


def test_every_worker_keeps_its_part_of_the_keys() -> None:
    """Each comes first for some, and for each key all come in turn."""
    keys = [f"{number * 2654435761 % (1 << 32):08x}ffff" for number in range(400)]
    firsts = [next(keepers_of(key, 4)) for key in keys]
    assert all(firsts.count(worker) > 60 for worker in (1, 2, 3, 4))
    assert sorted(keepers_of(keys[0], 4)) == [1, 2, 3, 4]
