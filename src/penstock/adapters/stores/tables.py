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
    Index("calls_id", "id", unique=True),
    Index("calls_client", "client_id", sqlite_where=text("client_id <> ''"), postgresql_where=text("client_id <> ''")),
    Index("calls_at", "at", "n"),
    Index("calls_tenant", "tenant", "at", "n", "cost"),
    Index("calls_key", "key", "at", "n", "cost"),
)
"""Every call, one row. `n` is the order in which they were written."""

SUMMED = ("calls", "ok", "estimated", "prompt_tokens", "completion_tokens", "cached_tokens", "cost", "latency")


def _sums(name: str, span: str) -> Table:
    names = [Column(name, Text, primary_key=True) for name in ("tenant", "key", "model", "pool")]
    sums = [Column(name, Big, nullable=False) for name in SUMMED]
    first = Column(span, Integer, primary_key=True, autoincrement=False)
    return Table(name, metadata, first, *names, *sums, sqlite_with_rowid=False)


days = _sums("days", "day")
"""Sums per day (since the epoch, UTC), written with the rows in one transaction."""

months = _sums("months", "month")
"""The same per calendar month (since the year 0, UTC)."""

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
