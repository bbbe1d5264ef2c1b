"""The ledger's tables. What they are in a database is made by the migrations; a test compares the two.

Times are whole microseconds since the epoch (UTC), money is in whole billionths: sums are exact in every database.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

metadata = MetaData()
Big = BigInteger().with_variant(Integer, "sqlite")
"""SQLite's own row number is an INTEGER and nothing else."""

calls = Table(
    "calls",
    metadata,
    Column("n", Big, primary_key=True),
    Column("id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("at", Big, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("replica", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("hedge", Text, nullable=False),
    Column("prompt_tokens", Big, nullable=False),
    Column("completion_tokens", Big, nullable=False),
    Column("cached_tokens", Big, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("cost", Big, nullable=False),
    Column("latency", Big, nullable=False),
    Column("ttft", Big),
    Column("queue", Big, nullable=False),
    Column("hour", Integer, nullable=False, server_default="0"),
    Column("end_user", Text, nullable=False, server_default=""),
    Column("cache", Text, nullable=False, server_default=""),
    Index("calls_id", "id", unique=True),
    Index(
        "calls_client",
        "hour",
        "client_id",
        sqlite_where=text("client_id <> ''"),
        postgresql_where=text("client_id <> ''"),
    ),
    Index("calls_at", "at", "n"),
    Index("calls_tenant", "tenant", "at", "n", "cost"),
    Index("calls_key", "key", "at", "n", "cost"),
    Index(
        "calls_user",
        "end_user",
        "at",
        "n",
        sqlite_where=text("end_user <> ''"),
        postgresql_where=text("end_user <> ''"),
    ),
)
"""Every call, one row. `n` is the order in which they were written, `hour` that of `at`: ids of clients are as good as
random, and an index of them alone is written to all over; by the hour it is written to at its end."""

WHOSE = ("tenant", "key", "model", "pool")
SUMMED = ("calls", "ok", "estimated", "prompt_tokens", "completion_tokens", "cached_tokens", "cost", "latency")


def _sums(name: str, span: str) -> Table:
    names = [Column(name, Text, primary_key=True) for name in WHOSE]
    sums = [Column(name, Big, nullable=False) for name in SUMMED]
    first = Column(span, Integer, primary_key=True, autoincrement=False)
    return Table(name, metadata, first, *names, *sums, sqlite_with_rowid=False)


days = _sums("days", "day")
"""Sums per day (since the epoch, UTC), written with the rows in one transaction."""

months = _sums("months", "month")
"""The same per calendar month (since the year 0, UTC)."""

quarters = Table(
    "quarters",
    metadata,
    Column("quarter", Integer, primary_key=True, autoincrement=False),
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("requests", Big, nullable=False),
    Column("tokens", Big, nullable=False),
    sqlite_with_rowid=False,
)
"""Requests and tokens as limits count them, per quarter of an hour (since the epoch), of the last day or two: what a
gateway that starts anew must know of sliding windows."""

spreads = Table(
    "spreads",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("model", Text, primary_key=True),
    Column("latency", LargeBinary, nullable=False),
    Column("ttft", LargeBinary, nullable=False),
    Index("spreads_day", "day", "model"),
    sqlite_with_rowid=False,
)
"""How long answered calls took, as sketches (`sketch`), so that quantiles of months are read in milliseconds."""

overheads = Table(
    "overheads",
    metadata,
    Column("call", Text, primary_key=True),
    Column("attempt", SmallInteger, primary_key=True),
    Column("at", Big, nullable=False),
    Column("took", Big, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("replica", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("what", Text, nullable=False),
    Index("overheads_at", "at"),
)
"""Attempts that nobody is billed for: failed ones, and those that lost against another."""

upkeep = Table(
    "upkeep",
    metadata,
    Column("id", Text, primary_key=True),
    Column("replica", Text, primary_key=True),
    Column("at", Big, nullable=False),
    Column("took", Big, nullable=False),
    Column("pool", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("purchase", Text, nullable=False),
    Column("cost", Big, nullable=False),
    Index("upkeep_at", "at"),
)
"""What replicas cost while they were kept, span by span."""
