"""`penstock ledger`: who spent how much, which calls there were, how long they took; read from the ledger's database.

It asks the database itself, so it works whether a gateway runs or not, and beside one that does.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import msgspec
import typer
from rich.table import Table

from penstock.adapters.stores.moments import moment
from penstock.adapters.stores.spec import SQLITE_FILE
from penstock.cli import exported
from penstock.cli.ledgers import call_table, calls_table, fleet_table, quick_table, spent_table
from penstock.cli.plain import WIDE_WIDTH, plain_console
from penstock.config.mistakes import did_you_mean

if TYPE_CHECKING:
    from sqlalchemy import Connection

FAILED, MISTAKE = 1, 2

ledger = typer.Typer(
    name="ledger", no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
    help="Who spent how much, which calls there were, how long they took, and what the fleet costs.\n\n"
    "It reads the ledger's database itself (--db), beside a running gateway or without one. Exit status: 0 done, "
    "1 the database cannot be read or has no such call, 2 a mistake.",
)  # fmt: skip

Db = Annotated[
    str,
    typer.Option(
        "--db", envvar="PENSTOCK_LEDGER", metavar="WHERE",
        help="The ledger's folder, its SQLite file, or the URL of its database.",
    ),
]  # fmt: skip
Since = Annotated[str, typer.Option(help="How far back: 30d, 12h; or the first day, 2026-01-31 (UTC).")]
Tenant = Annotated[str | None, typer.Option(help="Only this tenant's.")]
Key = Annotated[str | None, typer.Option(help="Only those with the key of this name.")]
Model = Annotated[str | None, typer.Option(help="Only those for this model.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many lines.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@ledger.command()
def top(
    db: Db = "ledger",
    by: Annotated[str, typer.Option(help="Of what: tenant, key, model, pool, day, or several: tenant,day.")] = "tenant",
    since: Since = "30d",
    tenant: Tenant = None,
    key: Key = None,
    model: Model = None,
    order: Annotated[str, typer.Option(help="Who is first: cost, tokens, or calls.")] = "cost",
    count: Count = 20,
    as_json: Json = False,
) -> None:
    """Who used and spent most: sums by tenant, key, model, pool or day (whole days, UTC)."""
    with opened(db) as (asking, connection):
        names = tuple(_one_of(name.strip(), asking.BY, "--by") for name in by.split(","))
        span = _span(since, tenant, key, model)
        found = asking.spent(connection, names, span, _one_of(order, asking.ORDERS, "--order"), count)
    told(found, as_json, lambda: spent_table(names, found))


@ledger.command()
def latency(
    db: Db = "ledger",
    by: Annotated[str, typer.Option(help="Whose: tenant or model.")] = "tenant",
    since: Since = "30d",
    tenant: Tenant = None,
    model: Model = None,
    count: Count = 20,
    as_json: Json = False,
) -> None:
    """How long answered calls took: p50, p95, p99, and those of the first token. Off by 2.5 % at most."""
    with opened(db) as (asking, connection):
        span = _span(since, tenant, None, model)
        found = asking.quickness(connection, _one_of(by, asking.WHOSE, "--by"), span, count)
    told(found, as_json, lambda: quick_table(by, found))


@ledger.command()
def fleet(db: Db = "ledger", since: Since = "30d", as_json: Json = False) -> None:
    """What our own replicas cost, idle or busy: per replica hour, per million tokens, beside what was charged."""
    with opened(db) as (asking, connection):
        found = asking.fleet(connection, _span(since))
    told(found, as_json, lambda: fleet_table(found))


@ledger.command()
def calls(
    db: Db = "ledger",
    tenant: Tenant = None,
    key: Key = None,
    user: Annotated[
        str | None, typer.Option(help="Only those for this end user: the `user` of the body, or its digest.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="How far back: 30d, 12h; or the first day.")] = None,
    before: Annotated[str | None, typer.Option(help="Go on behind this place, as the page before named it.")] = None,
    count: Count = 50,
    as_json: Json = False,
) -> None:
    """Which calls there were, the newest first, page by page."""
    with opened(db) as (_, connection):
        from penstock.adapters.stores import history

        try:
            place = None if before is None else history.place(before)
        except ValueError as wrong:
            raise typer.BadParameter(str(wrong), param_hint="--before") from None
        first = None if since is None else round(begins(since) * 1e6)
        whose = None if user is None else history.user_named(user)
        page = history.page_of(connection, history.Which(tenant, key, first, None, place, whose), count)
    told(page, as_json, lambda: calls_table(page.calls))
    if page.next is not None and not as_json:
        typer.echo(f"more: --before {page.next}")


@ledger.command()
def show(
    request_id: Annotated[str, typer.Argument(help="What the header x-request-id of the answer says.")],
    db: Db = "ledger",
    as_json: Json = False,
) -> None:
    """One call: all that is known of it, and the attempts that nobody was billed for."""
    with opened(db) as (_, connection):
        from penstock.adapters.stores import history

        found = history.one(connection, request_id)
    if found is None:
        _fail(f"there is no call {request_id!r} in it")
    told(found, as_json, lambda: call_table(found))


@ledger.command()
def export(
    db: Db = "ledger",
    out: Annotated[Path | None, typer.Option(help="File to write; none: standard output.")] = None,
    as_: Annotated[
        str, typer.Option("--as", help="csv or parquet: all columns; trace: CSV that `penstock simulate` replays.")
    ] = "csv",
    since: Since = "30d",
    tenant: Tenant = None,
) -> None:
    """All calls of a time, the oldest first, as CSV or Parquet, or as a trace to simulate and replay."""
    _one_of(as_, ("csv", "parquet", "trace"), "--as")
    with opened(db) as (_, connection):
        from penstock.adapters.stores import history

        rows = history.every(connection, round(begins(since) * 1e6), round(time.time() * 1e6), tenant)
        if as_ == "parquet":
            _write_parquet(rows, out)
            return
        lines = {"csv": exported.csv_lines, "trace": exported.trace_lines}[as_](rows)
        if out is None:
            for line in lines:
                sys.stdout.buffer.write(line)
        else:
            with out.open("wb") as file:
                count = sum(file.write(line) > 0 for line in lines) - 1
            typer.echo(f"{count:,} calls written to {out}", err=True)


def _write_parquet(rows: Iterator[Any], out: Path | None) -> None:
    if out is None:
        raise typer.BadParameter("Parquet is written to a file: name it", param_hint="--out")
    try:
        exported.write_parquet(rows, out)
    except ImportError:
        _fail("pyarrow is missing: pip install 'penstock[parquet]'")


# ===== helpers of the commands =====


@contextmanager
def opened(where: str) -> "Iterator[tuple[Any, Connection]]":
    """What can be asked, and a connection that reads. Ends the command where there is none."""
    try:
        from penstock.adapters.stores import asking
        from penstock.adapters.stores.database import Away, Database
    except ImportError as missing:
        _fail(f"{missing.name} is missing: pip install 'penstock[ledger]'")
    try:
        database = Database(url_of(where), 0)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--db") from None
    try:
        with database.reading() as connection:
            yield asking, connection
    except Away as away:
        _fail(f"{database.name}: {away}")
    finally:
        database.close()


def _one_of(name: str, known: tuple[str, ...], option: str) -> Any:
    if name not in known:
        hint = f"; {near}" if (near := did_you_mean(name, known)) else ""
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}{hint}", param_hint=option)
    return name


def _span(since: str, tenant: str | None = None, key: str | None = None, model: str | None = None) -> Any:
    from penstock.adapters.stores.asking import until_now

    return until_now(begins(since), time.time(), tenant, key, model)


def told(found: Any, as_json: bool, table: Callable[[], Table]) -> None:
    """As JSON, or as a table."""
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    shown = table()
    plain_console(WIDE_WIDTH).print(shown if shown.row_count else "There is nothing in this time.")


def url_of(where: str) -> str:
    """The URL of a folder, a file or a URL. Ends the command where there is no such file."""
    if "://" in where:
        return where
    path = Path(where)
    path = path / SQLITE_FILE if path.is_dir() else path
    if not path.is_file():
        _fail(f"there is no ledger at {path}: name its folder, file or URL with --db")
    return f"sqlite:///{path}"


def _fail(text: str) -> NoReturn:
    typer.echo(f"penstock ledger: {text}", err=True)
    raise typer.Exit(FAILED)


def begins(text: str) -> float:
    """A time since the epoch. Ends the command where it is none."""
    try:
        return moment(text, time.time())
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--since") from None
