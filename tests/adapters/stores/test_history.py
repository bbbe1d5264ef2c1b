"""History: calls page by page, one of them, all of a time; and how old ones are forgotten."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.dialects import sqlite

from penstock.adapters.stores import history
from penstock.adapters.stores.database import Database
from penstock.adapters.stores.history import Page, Pages, Which, place
from penstock.base.entries import OVERHEAD, Overhead
from penstock.drive.segments import Record
from tests.adapters.stores.ledgers import MIDNIGHT, call, database, rows, write


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Database]:
    """Twenty-five calls of two tenants, several in the same second."""
    with database(tmp_path) as made:
        write(made, *(call(f"c{n}", tenant="ab"[n % 2], key=f"k{n % 3}", at=MIDNIGHT + n // 4) for n in range(25)))
        yield made


def ids(base: Database, which: Which, most: int) -> list[list[str]]:
    """All pages."""
    found, before = [], which.before
    with base.reading() as connection:
        while True:
            page = history.page_of(connection, msgspec.structs.replace(which, before=before), most)
            found.append([row["id"] for row in page.calls])
            if page.next is None:
                return found
            before = place(page.next)


def test_pages_have_every_call_once(base: Database) -> None:
    """The newest first, no call twice and none left out where many came at one time."""
    pages = ids(base, Which(), 4)
    assert [len(page) for page in pages] == [4, 4, 4, 4, 4, 4, 1]
    assert [id for page in pages for id in page] == [f"c{n}" for n in range(24, -1, -1)]
    assert ids(base, Which(tenant="a"), 100) == [[f"c{n}" for n in range(24, -1, -2)]]
    assert ids(base, Which(key="k1"), 100) == [[f"c{n}" for n in range(22, -1, -3)]]
    assert ids(base, Which(since=(MIDNIGHT + 1) * 10**6, until=(MIDNIGHT + 2) * 10**6), 9) == [["c7", "c6", "c5", "c4"]]


def test_pages_of_an_end_user(base: Database) -> None:
    """By the name that clients send, or the digest that rows show; who names none is nobody's."""
    digest = history.user_named("jo")
    assert history.user_named(digest) == digest == "a666b36ff5b87415"
    write(base, call("j1", user=digest, at=MIDNIGHT + 1), call("j2", user=digest, at=MIDNIGHT + 9), call("x", user="y"))
    assert ids(base, Which(user=digest), 1) == [["j2"], ["j1"]]
    assert ids(base, Which(tenant="demo", user=digest, until=(MIDNIGHT + 2) * 10**6), 5) == [["j1"]]
    assert ids(base, Which(user=""), 100) == [[]]


@pytest.mark.parametrize(
    "which",
    [
        Which(tenant="a", before=(1, 1)), Which(key="k", before=(1, 1)), Which(before=(1, 1)),
        Which(user="0123abcd", before=(1, 1)),
    ],
)  # fmt: skip
def test_a_page_is_found_by_an_index(base: Database, which: Which) -> None:
    """No scan of the table and no sorting, wherever the page is."""
    text = history.query(which).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    plan = rows(base, f"EXPLAIN QUERY PLAN {text}")
    assert len(plan) == 1
    assert "USING INDEX calls_" in plan[0][3]


def test_the_next_page_is_there_before_it_is_asked_for(base: Database) -> None:
    """Once and for half a minute; another question or a later one reads the database again."""
    pages = Pages(base)
    first = pages.page(Which(), 4, 0.0)
    assert first.next is not None
    pages.look_ahead(Which(), first, 4, 0.5)
    second = Which(before=place(first.next))
    assert [row["id"] for row in pages.page(second, 4, 1.0).calls] == ["c20", "c19", "c18", "c17"]
    assert pages.hits == 1
    assert len(pages.page(second, 4, 2.0).calls) == 4
    assert pages.hits == 1
    pages.look_ahead(Which(), first, 4, 3.0)
    pages.page(second, 4, 40.0)
    pages.page(second, 5, 3.0)
    assert pages.hits == 1


def test_behind_the_last_page_is_nothing(base: Database) -> None:
    """Nothing is read; and a database that is away is no trouble for who has his page already."""
    pages = Pages(base)
    all_of_them = pages.page(Which(), 100, 0.0)
    assert (len(all_of_them.calls), all_of_them.next) == (25, None)
    pages.look_ahead(Which(), all_of_them, 100, 0.0)
    with base.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE calls RENAME TO gone")
    pages.look_ahead(Which(), Page(calls=[], next="1-1"), 100, 0.0)
    assert not pages._ahead


def test_what_is_kept_ahead_is_bounded(base: Database) -> None:
    """The oldest goes."""
    pages = Pages(base)
    for n in range(200):
        pages.look_ahead(Which(since=n), Page(calls=[], next="1-1"), 4, 0.0)
    assert len(pages._ahead) == history.MOST_AHEAD


def test_one_call(base: Database) -> None:
    """By our id or its client's, in seconds and money, with the attempts that nobody was billed for."""
    lost = Overhead("x", 1, MIDNIGHT + 1.0, 0.5, "a", "k", "tiny", "p", "r1", "", "connect_refused")
    write(base, call("x", client_id="theirs", cost=0.5), Record(OVERHEAD, msgspec.json.encode(lost)))
    with base.reading() as connection:
        told = history.one(connection, "x")
        assert told is not None
        assert (told.call["latency_s"], told.call["ttft_s"], told.call["cost"]) == (2.1, 0.1, 0.5)
        assert [(row["what"], row["took_s"], row["at"]) for row in told.overhead] == [
            ("connect_refused", 0.5, MIDNIGHT + 1.0)
        ]  # fmt: skip
        assert history.one(connection, "theirs") == told
        assert history.one(connection, "") is None
        assert history.one(connection, "nobody's") is None


def test_all_calls_of_a_time(base: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first, in pieces."""
    monkeypatch.setattr(history, "CHUNK", 3)
    begin = MIDNIGHT * 10**6
    with base.reading() as connection:
        assert [row.id for row in history.every(connection, begin, begin + 10**9)] == [f"c{n}" for n in range(25)]
        assert [row.id for row in history.every(connection, begin, begin + 10**6, "b")] == ["c1", "c3"]


def test_old_calls_are_forgotten_and_their_sums_stay(base: Database) -> None:
    """A bounded number at a time, until none is left that is too old."""
    before, sums = (MIDNIGHT + 2) * 10**6, rows(base, "SELECT * FROM days")
    with base.writing() as connection:
        assert [history.forget(connection, before, 5) for _ in range(3)] == [5, 3, 0]
    assert rows(base, "SELECT min(at) FROM calls") == [(before,)]
    assert rows(base, "SELECT * FROM days") == sums


@pytest.mark.parametrize("text", ["", "1", "a-b", "1-", "-1", "1-2-3", "9" * 50 + "-1", f"{1 << 63}-1", f"1-{1 << 63}"])
def test_what_is_no_place_is_refused(text: str) -> None:
    """A place is what a page named."""
    with pytest.raises(ValueError, match="place"):
        place(text)
