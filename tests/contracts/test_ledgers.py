"""What every ledger's database must do: SQLite on a file and a real PostgreSQL, by the same code and the same tests."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from penstock.adapters.stores import asking, history
from penstock.adapters.stores.asking import Span
from penstock.adapters.stores.clerk import Clerk
from penstock.adapters.stores.database import Away, Database
from penstock.adapters.stores.history import Which, place
from penstock.adapters.stores.sketch import counts_of
from penstock.adapters.stores.tables import metadata
from penstock.base.entries import OVERHEAD, UPKEEP, Kept, Overhead, Upkeep
from penstock.base.nouns import Usage
from penstock.drive.segments import Record, Segments
from tests.adapters.stores.ledgers import MIDNIGHT, call, write
from tests.helpers import postgres

pytestmark = pytest.mark.slow

TODAY = 20_000
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL; where there is none the test is skipped, or fails where one is asked for."""
    postgres.needed()
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path}/ledger.db")
    else:
        url, name = request.getfixturevalue("server"), f"ledger_{next(_numbers)}"
        first = Database(url)
        with first.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(f"CREATE DATABASE {name}"))
        first.close()
        made = Database(url.replace("/postgres?", f"/{name}?"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def base(empty: Database) -> Database:
    """An empty database with all tables."""
    empty.migrate()
    return empty


def one(base: Database, statement: str) -> Any:
    """The value that a statement finds."""
    with base.reading() as connection:
        return connection.execute(text(statement)).scalar_one()


def test_migrations_make_the_tables_that_the_code_knows(base: Database) -> None:
    """Alembic finds no difference, however often it migrates."""
    base.migrate()
    with base.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "ledger_version"})
        assert compare_metadata(context, metadata) == []


FORMER = """
INSERT INTO calls (id, client_id, at, tenant, key, model, path, pool, replica, region, outcome, status, stream,
    priority, attempts, hedge, prompt_tokens, completion_tokens, cached_tokens, estimated, cost, latency, ttft, queue)
VALUES ('old-1', 'mine', 1728000060000000, 'acme', 'web', 'tiny', '/v1/chat/completions', 'p', 'r1', '', 'ok', 200,
    {true}, 2, 1, '', 10, 20, 0, {false}, 5, 6, NULL, 0)
"""
"""A row as the first version of the tables had it."""


def test_rows_of_a_former_version_are_kept_and_found(empty: Database) -> None:
    """A database of the first version, brought up to date: its rows are there, by their client's id too, and new ones
    go beside them."""
    empty.migrate("0001")
    words = {"true": "1", "false": "0"} if empty.is_sqlite else {"true": "true", "false": "false"}
    with empty.writing() as connection:
        connection.execute(text(FORMER.format(**words)))
    empty.migrate()
    write(empty, call("new", client_id="other", at=MIDNIGHT + 700 * 3600.0))
    with empty.reading() as connection:
        for id, ours in (("mine", "old-1"), ("other", "new")):
            told = history.one(connection, id)
            assert told is not None
            assert (told.call["id"], told.call["cache"], told.call["end_user"]) == (ours, "", "")
        assert history.one(connection, "nobody's") is None
    with empty.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "ledger_version"})
        assert compare_metadata(context, metadata) == []


def test_each_call_is_there_once(base: Database) -> None:
    """With its sums per day and month, whatever is written again."""
    batch = [call(f"c{number}", tenant="ab"[number % 2], cost=0.25) for number in range(1203)]
    assert write(base, *batch[:700]) == 700
    assert write(base, *batch) == 503
    assert write(base, *batch) == 0
    assert one(base, "SELECT count(*) FROM calls") == 1203
    assert [one(base, f"SELECT sum(calls) FROM {table}") for table in ("days", "months")] == [1203, 1203]
    with base.reading() as connection:
        found = asking.spent(connection, ("tenant",), Span(TODAY, TODAY))
        quick = asking.quickness(connection, "tenant", Span(TODAY, TODAY))
    assert [(who.names["tenant"], who.calls, who.cost) for who in found] == [("a", 602, 150.5), ("b", 601, 150.25)]
    assert quick[0].p95_s == pytest.approx(2.1, rel=0.026)


def test_names_of_every_kind(base: Database) -> None:
    """NUL, quotes, wildcards, other scripts, far too long: what clients send is kept as text, and is nothing else."""
    names = ["a\0b", "'; DROP TABLE calls; --", "100%_", "模型", "x" * 1000]
    assert write(base, *(call(f"c{number}", model=name) for number, name in enumerate(names))) == 5
    with base.reading() as connection:
        found = asking.spent(connection, ("model",), Span(TODAY, TODAY, model="100%_"))
    assert [who.calls for who in found] == [1]
    assert one(base, "SELECT count(*) FROM calls") == 5


def test_pages_one_call_and_retention(base: Database) -> None:
    """Pages have every call once; one is found by its id; old ones go, their sums stay."""
    write(base, *(call(f"c{n}", tenant="ab"[n % 2], at=MIDNIGHT + n // 4, client_id=f"r{n}") for n in range(25)))
    seen: list[str] = []
    which = Which(tenant="a")
    with base.writing() as connection:
        while True:
            page = history.page_of(connection, which, 4)
            seen += [row["id"] for row in page.calls]
            if page.next is None:
                break
            which = Which(tenant="a", before=place(page.next))
        assert seen == [f"c{n}" for n in range(24, -1, -2)]
        told = history.one(connection, "r7")
        assert told is not None
        assert told.call["id"] == "c7"
        every = [row.id for row in history.every(connection, 0, (MIDNIGHT + 9) * 10**6)]
        assert every == [f"c{n}" for n in range(25)]
        assert history.forget(connection, (MIDNIGHT + 2) * 10**6) == 8
    assert one(base, "SELECT sum(calls) FROM days") == 25


def test_what_the_fleet_costs(base: Database) -> None:
    """Upkeep and lost attempts, each once."""
    span = Upkeep("g-1", MIDNIGHT + 5.0, 1800.0, (Kept("r1", "p", "", "spot", 2.0), Kept("r2", "p", "", "spot", 4.0)))
    lost = Overhead("a", 1, MIDNIGHT + 1.0, 36.0, "acme", "web", "tiny", "p", "r1", "", "hedge_lost")
    batch = [Record(UPKEEP, msgspec.json.encode(span)), Record(OVERHEAD, msgspec.json.encode(lost))]
    for _ in range(2):
        write(base, *batch, call("a", usage=Usage(900, 100), cost=0.01))
    with base.reading() as connection:
        (found,) = asking.fleet(connection, Span(TODAY, TODAY))
    assert (found.replica_hours, found.cost, found.tokens, found.per_million_tokens) == (1.0, 3.0, 1000, 3000.0)
    assert (found.lost_attempts, found.billed) == (1, 0.01)


def test_two_gateways_write_at_once(base: Database, tmp_path: Path) -> None:
    """Each from its own journal, in threads of their own, for the same tenants: no row and no sum is lost."""
    clerks = []
    other = Database(str(base.engine.url.render_as_string(hide_password=False)))
    for number, own in enumerate((base, other)):
        segments = Segments(tmp_path / f"journal{number}")
        for at in range(300):
            segments.put(*call(f"g{number}-{at}", tenant="abc"[at % 3]))
            segments.commit()
        clerks.append((segments, Clerk(segments, own)))
    for _, clerk in clerks:
        clerk.start()
    for segments, clerk in clerks:
        assert clerk.stop(20.0), clerk.away
        segments.close()
    assert one(base, "SELECT count(*) FROM calls") == 600
    assert one(base, "SELECT sum(calls) FROM days") == 600
    with base.reading() as connection:
        (packed,) = connection.execute(text("SELECT latency FROM spreads WHERE tenant = 'a'")).scalars()
    assert sum(counts_of(bytes(packed)).values()) == 200


def test_a_postgres_that_is_killed_is_outlived(tmp_path: Path) -> None:
    """Its connections are cut in the middle: it is away, and once it is back everything arrives once."""
    postgres.needed()
    segments = Segments(tmp_path / "journal")

    def put(*ids: str) -> None:
        for id in ids:
            segments.put(*call(id))
        segments.commit()

    with postgres.server() as url:
        base = Database(url)
        clerk = Clerk(segments, base)
        put("a")
        assert clerk.turn()
        with base.reading() as held:
            pid = held.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with base.writing() as connection:
                connection.execute(text(f"SELECT pg_terminate_backend({pid})"))
            with pytest.raises(Away), base._told():
                held.execute(text("SELECT 1"))
        put("b", "c")
        while not clerk.turn():
            assert "terminat" in clerk.away or "closed" in clerk.away, clerk.away
        assert one(base, "SELECT count(*) FROM calls") == 3
    put("d")
    assert not clerk.turn()
    assert clerk.away
    base.close()
    segments.close()
