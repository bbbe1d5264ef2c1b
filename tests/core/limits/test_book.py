"""The book of shared limits: what it counts, charges to the dead and forgets. (What it grants: tests/contracts.)"""

from typing import Any

import msgspec

from penstock.base.leases import Ask, Grant, Question, Reply, Want
from penstock.core.limits.book import KEEP_S, Account, LeaseBook, Meter

T = ("tenant", "t", "")


def ask(book: LeaseBook, peer: str, number: int, now: float, batch: int = 0, **fields: Any) -> Grant | None:
    """One process about one limit of ten a minute; None: the message was overtaken."""
    want = Want("requests per minute", fields.pop("limit", 10), **fields)
    reply = book.exchange(Question(peer, number, 3.0, (Ask(T, batch or number, (want,)),)), now)
    return granted(reply)


def granted(reply: Reply) -> Grant | None:
    """The one of the answer."""
    found = [grant for answer in reply.answers for grant in answer.grants]
    return found[0] if found else None


def test_use_counts_in_its_own_time() -> None:
    """Told a quarter of a minute late, it is free a minute after it was used; told of a time to come, it counts as of
    now; told of one long past, not at all."""
    book = LeaseBook()
    ask(book, "a", 1, 100.0, least=8, due=8)
    ask(book, "a", 2, 115.0, used=((100, 3), (999, 2), (7, 3)))
    assert ask(book, "b", 1, 160.5) == Grant("requests per minute", 0, 5, 0, 0.0, 15.5)
    assert ask(book, "b", 2, 161.0) == Grant("requests per minute", 0, 2, 0, 0.0, 15.0)
    assert ask(book, "b", 3, 176.0) == Grant("requests per minute", 0, 0, 0, 0.0, 0.0)


def test_when_it_fits_is_when_enough_has_slid_out() -> None:
    """Of six used at three times, two more than are left fit when the second of them is out."""
    book = LeaseBook()
    ask(book, "a", 1, 10.0, used=((8, 3), (9, 3), (10, 3)))
    found = ask(book, "b", 1, 10.0, least=5, due=5)
    assert found == Grant("requests per minute", 0, 9, 0, 60.0, 61.0)


def test_the_dead_are_charged_when_their_lease_ends() -> None:
    """Not before, and as of then: a minute later it is free; a process that is back in time has its lease again."""
    book = LeaseBook()
    ask(book, "a", 1, 100.0, least=6, due=6)
    alive = ask(book, "b", 1, 102.9)
    assert alive is not None
    assert (alive.used, alive.held) == (6, 6)
    late = ask(book, "b", 3, 110.0)
    assert late is not None
    assert (late.used, late.held) == (6, 0)
    back = ask(book, "a", 2, 120.0, kept=4)
    assert back is not None
    assert (back.granted, back.used, back.held) == (4, 4, 4)
    gone = ask(book, "b", 4, 124.0 + 61.0)
    assert gone is not None
    assert gone.used == 0
    again = ask(book, "a", 3, 190.0, used=((121, 4),))
    assert again is not None
    assert again.used == 0


def test_a_clock_that_goes_back_changes_nothing() -> None:
    """The latest time that was seen holds."""
    book = LeaseBook()
    ask(book, "a", 1, 100.0, used=((100, 4),))
    found = ask(book, "a", 2, 50.0)
    assert found is not None
    assert found.used == 4


def test_a_lower_limit_holds_at_once() -> None:
    """More was used than it allows now: nothing is granted."""
    book = LeaseBook()
    ask(book, "a", 1, 100.0, used=((100, 8),))
    found = ask(book, "b", 1, 100.0, limit=5, least=1, due=1)
    assert found is not None
    assert (found.granted, found.used) == (0, 8)


def test_what_is_taken_back_is_never_more_than_there_was() -> None:
    """Less than none is none."""
    meter = Meter(10)
    meter.add(5, 3)
    meter.add(4, 1)
    meter.add(5, -7)
    meter.add(6, -1)
    assert meter.used == [(4, 1), (5, 0)]


def test_an_account_of_which_nothing_counts_is_forgotten() -> None:
    """Once its processes are silent for an hour and its windows are empty."""
    book = LeaseBook()
    ask(book, "a", 1, 100.0, least=1, due=1)
    assert [key for key, _ in book.accounts()] == [T]
    other = Question("b", 1, 3.0, (Ask(("key", "k", ""), 1, ()),))
    book.exchange(other, 100.0 + KEEP_S)
    assert len(book) == 2
    book.exchange(msgspec.structs.replace(other, number=2), 200.0 + KEEP_S)
    assert [key for key, _ in book.accounts()] == [("key", "k", "")]


def test_an_account_is_plain_data() -> None:
    """Encoded and decoded it goes on as if nothing had happened; and it says how long it means anything."""
    account = Account(1.0, 1.0)
    want = Want("budget per month", 10**12, least=10**9, due=10**9)
    question = Question("a", 1, 3.0, (Ask(T, 1, (want,)),))
    account.exchange(question, question.asks[0], 5.0)
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(account), type=Account)
    assert read == account
    assert read.lasts_until() == 31 * 86_400.0
