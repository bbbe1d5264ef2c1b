"""A database for the ledger: connections, SQLite's settings, the pool and its numbers, slow queries, migrations.

Nothing here is asked on the path of a call. A database that is away raises `Away`, whatever its driver calls it; then
whoever asks tries again, or tells.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from msgspec import Struct
from sqlalchemy import Connection, create_engine, event, exc, make_url
from sqlalchemy.pool import QueuePool

log = logging.getLogger("penstock.ledger")

POOL_SIZE: Final = 5
POOL_MOST: Final = 20
ACQUIRE_S: Final = 2.0
IDLE_S: Final = 30.0
USES: Final = 7_500
"""After so many uses a connection is made anew."""
WARN_WAITING: Final = 5
BUSY_S: Final = 5.0
"""How long SQLite waits for another that writes."""
_SQLITE = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "cache_size=-65536",
    "temp_store=MEMORY",
    "wal_autocheckpoint=16384",
)
"""The log grows to 64 MB before it is carried into the file: pages that are written again and again go there once."""


class Away(Exception):
    """The database does not answer now; later it may."""


class PoolNumbers(Struct, frozen=True, kw_only=True):
    """The connections as they stand, for people [M3]."""

    open: int
    used: int
    waiting: int
    """Who waits for one now."""
    timeouts: int
    """Who got none in time, since the start."""
    recycled: int
    """Connections that were made anew: after 30 s without use, or 7,500 uses."""
    slow: int
    """Queries that took longer than `slow_query`."""


class Copy:
    """A COPY that goes on: the server works on what it has while more comes."""

    def __init__(self, write: Callable[[tuple[Any, ...]], object]) -> None:
        self._write = write

    def each(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Put in each as it is asked for, for whoever goes through them anyway."""
        for row in rows:
            self._write(row)
            yield row


class Database:
    """One database. Raises ValueError for a URL that is none, or whose driver is missing."""

    def __init__(self, url: str, slow_query_s: float = 1.0, durable: bool = False) -> None:
        """`durable`: what is committed survives a loss of power (PostgreSQL sees to that itself)."""
        try:
            parsed = make_url(url)
            if parsed.drivername in ("postgresql", "postgres"):
                parsed = parsed.set(drivername="postgresql+psycopg")
            how: dict[str, Any] = {"timeout": BUSY_S} if parsed.drivername.startswith("sqlite") else {}
            self.engine = create_engine(
                parsed, poolclass=QueuePool, pool_size=POOL_SIZE, max_overflow=POOL_MOST - POOL_SIZE,
                pool_timeout=ACQUIRE_S, pool_use_lifo=True, connect_args=how,
            )  # fmt: skip
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
            raise ValueError(str(error)) from None
        self.name = parsed.render_as_string(hide_password=True)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._slow_query_s = slow_query_s
        self._settings = (*_SQLITE, f"synchronous={'FULL' if durable else 'NORMAL'}")
        self._waiting = self._timeouts = self._recycled = self._slow = 0
        self._listen()

    # ===== use =====

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads. Raises Away."""
        with self._told(), self._connection() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: all of it, or nothing. Raises Away."""
        with self._told(), self._connection() as connection:
            connection = connection.execution_options(begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        self._waiting += 1
        if self._waiting > WARN_WAITING and self.engine.pool.checkedout() >= POOL_MOST:  # type: ignore[attr-defined]
            log.warning("%d wait for a connection to the ledger's database", self._waiting)
        try:
            connection = self.engine.connect()
        except exc.TimeoutError as error:
            self._timeouts += 1
            raise Away(str(error)) from None
        finally:
            self._waiting -= 1
        with connection:
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors that are not about the rows themselves become Away: tables that are missing, rights, locks, disks."""
        try:
            yield
        except exc.DBAPIError as error:
            if isinstance(error, exc.DataError | exc.IntegrityError):
                raise
            raise Away(_first_line(error)) from error

    @contextmanager
    def copying(self, connection: Connection, table: str, names: Sequence[str]) -> Iterator[Copy]:
        """Put rows into a table of PostgreSQL by COPY: a third of what INSERT costs. Raises what an INSERT would.
        It is no slow query however long it takes: that depends on how many rows there are, and nobody waits for it."""
        dialect = self.engine.dialect
        quote = dialect.identifier_preparer.quote
        statement = f"COPY {quote(table)} ({', '.join(map(quote, names))}) FROM STDIN"
        raw: Any = connection.connection
        try:
            with raw.cursor() as cursor, cursor.copy(statement) as copy:
                yield Copy(copy.write_row)
        except dialect.loaded_dbapi.Error as error:
            if dialect.is_disconnect(error, raw.driver_connection, None):
                connection.invalidate()
            raise exc.DBAPIError.instance(statement, None, error, dialect.loaded_dbapi.Error) from error

    def migrate(self, to: str = "head") -> None:
        """Bring its tables to where this version wants them, whoever else does so at the same time. Raises Away."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4711)")
            config.attributes["connection"] = connection
            command.upgrade(config, to)

    def numbers(self) -> PoolNumbers:
        """The connections as they stand."""
        pool = self.engine.pool
        used, idle = pool.checkedout(), pool.checkedin()  # type: ignore[attr-defined]
        return PoolNumbers(
            open=used + idle, used=used, waiting=self._waiting, timeouts=self._timeouts, recycled=self._recycled,
            slow=self._slow,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of all connections that are not in use."""
        self.engine.dispose()

    # ===== what is watched =====

    def _listen(self) -> None:
        event.listen(self.engine, "connect", self._connected)
        event.listen(self.engine, "checkout", self._taken)
        event.listen(self.engine, "checkin", self._returned)
        if self.is_sqlite:
            event.listen(self.engine, "begin", self._begun)
        event.listen(self.engine, "before_cursor_execute", self._asked)
        event.listen(self.engine, "after_cursor_execute", self._answered)

    def _connected(self, connection: Any, record: Any) -> None:
        if not self.is_sqlite:
            return
        connection.isolation_level = None  # transactions are begun by us
        for setting in self._settings:
            connection.execute(f"PRAGMA {setting}")

    def _begun(self, connection: Connection) -> None:
        # who reads first and then writes could meet another writer in between: writers say so at once
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    def _taken(self, connection: Any, record: Any, proxy: Any) -> None:
        info = record.info
        info["uses"] = info.get("uses", 0) + 1
        if time.monotonic() - info.get("returned", time.monotonic()) > IDLE_S or info["uses"] > USES:
            info.clear()
            self._recycled += 1
            raise exc.DisconnectionError("old")  # the pool makes another

    def _returned(self, connection: Any, record: Any) -> None:
        record.info["returned"] = time.monotonic()

    def _asked(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        context._penstock_began = time.perf_counter()

    def _answered(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        took_s = time.perf_counter() - context._penstock_began
        if 0 < self._slow_query_s <= took_s:
            self._slow += 1
            log.warning("slow query, %.3f s: %s", took_s, " ".join(statement.split())[:500])


def _first_line(error: exc.DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0][:300]
