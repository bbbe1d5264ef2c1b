"""Last words for processes that have died: what they come to in a book, and that they count once."""

from penstock.base.leases import AccountKey, Answer, Ask, Question, Want
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.wills import Will

TEAM: AccountKey = ("tenant", "team", "")
REQUESTS = "requests per day"
START = 86_400.0 * 3
DAY = 288
"""The stretch that this lies in."""


def says(number: int, batch: int, *wants: Want) -> Question:
    """A message of the process that will die."""
    return Question("dead", number, 3.0, (Ask(TEAM, batch, wants),))


def stands(book: LeaseBook, now: float) -> Answer:
    """What another process is told that asks for nothing."""
    question = Question("other", int(now * 1000), 3.0, (Ask(TEAM, 1, (Want(REQUESTS, 100),)),))
    (answer,) = book.exchange(question, now).answers
    return answer


def test_what_was_not_spent_is_free_and_the_rest_is_used() -> None:
    """Forty were granted, four told as used, nine stand on the sheet: nine are used, and nothing is held."""
    book, will = LeaseBook(), Will()
    for question in (
        says(1, 1, Want(REQUESTS, 100, due=40, least=1)), says(2, 2, Want(REQUESTS, 100, ((DAY, 4),), kept=36)),
    ):  # fmt: skip
        will.hear(question)
        book.exchange(question, START)
    assert stands(book, START).grants[0].used == 40
    for question in will.last_words("dead", lambda account, what: 9):
        book.exchange(question, START + 1)
    grant = stands(book, START + 1).grants[0]
    assert (grant.used, grant.held) == (9, 0)


def test_a_message_that_nobody_may_have_heard_is_said_again_and_counts_once() -> None:
    """Whether the store has heard the last message or not, and however often the last word comes, the same is used."""
    for heard in (False, True):
        book, will = LeaseBook(), Will()
        first, last = says(1, 1, Want(REQUESTS, 100, due=40, least=1)), says(2, 2, Want(REQUESTS, 100, ((DAY, 4),), 36))
        will.hear(first)
        will.hear(last)
        book.exchange(first, START)
        if heard:
            book.exchange(last, START)
        for _ in range(3):
            for question in will.last_words("dead", lambda account, what: 9):
                book.exchange(question, START + 1)
        assert stands(book, START + 1).grants[0].used == 9


def test_a_lease_that_was_over_is_no_longer_charged() -> None:
    """The store was away for longer than the lease: what had counted as used meanwhile comes free."""
    book, will = LeaseBook(), Will()
    question = says(1, 1, Want(REQUESTS, 100, due=40, least=1))
    will.hear(question)
    book.exchange(question, START)
    assert stands(book, START + 10).grants[0].used == 40
    for word in will.last_words("dead", lambda account, what: 2):
        book.exchange(word, START + 11)
    assert stands(book, START + 11).grants[0].used == 2


def test_of_an_account_without_a_row_nothing_is_said() -> None:
    """Nobody knows what was spent of it: all that it had counts as used."""
    will = Will()
    will.hear(says(1, 1, Want(REQUESTS, 100, due=40, least=1)))
    assert not list(will.last_words("dead", lambda account, what: None))


def test_calls_at_once_are_free() -> None:
    """What has no window is given back as a whole: its calls are gone."""
    will = Will()
    will.hear(says(1, 1, Want("calls at once", 5, kept=3)))
    *_, word = will.last_words("dead", lambda account, what: None)
    assert word.asks[0].wants == (Want("calls at once", 5),)


def test_messages_that_are_overtaken_are_forgotten() -> None:
    """As the store does: what they told comes again with a later one."""
    will = Will()
    will.hear(says(2, 1, Want(REQUESTS, 100, ((DAY, 4),), 6)))
    will.hear(says(1, 1, Want(REQUESTS, 100, ((DAY, 4),), 60)))
    first, last = will.last_words("dead", lambda account, what: 5)
    assert first.asks[0].wants[0].kept == 6
    assert [amount for _, amount in last.asks[0].wants[0].used] == [1]
