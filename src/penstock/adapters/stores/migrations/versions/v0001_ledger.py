"""The first tables: calls, sums per day and month, spreads of durations, overheads, upkeep."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, SmallInteger, Text, text
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None
Big = BigInteger().with_variant(Integer, "sqlite")


def _texts(*names: str) -> list[SchemaItem]:
    return [Column(name, Text, nullable=False) for name in names]


def _bigs(*names: str) -> list[SchemaItem]:
    return [Column(name, Big, nullable=False) for name in names]


def _keys(*names: str) -> list[SchemaItem]:
    return [Column(name, Text, primary_key=True) for name in names]


def _number(name: str) -> SchemaItem:
    return Column(name, Integer, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "calls", Column("n", Big, primary_key=True), *_texts("id", "client_id"), *_bigs("at"),
        *_texts("tenant", "key", "model", "path", "pool", "replica", "region", "outcome"),
        Column("status", SmallInteger, nullable=False), Column("stream", Boolean, nullable=False),
        Column("priority", SmallInteger, nullable=False), Column("attempts", SmallInteger, nullable=False),
        *_texts("hedge"), *_bigs("prompt_tokens", "completion_tokens", "cached_tokens"),
        Column("estimated", Boolean, nullable=False), *_bigs("cost", "latency"), Column("ttft", Big), *_bigs("queue"),
    )  # fmt: skip
    op.create_index("calls_id", "calls", ["id"], unique=True)
    known = text("client_id <> ''")
    op.create_index("calls_client", "calls", ["client_id"], sqlite_where=known, postgresql_where=known)
    op.create_index("calls_at", "calls", ["at", "n"])
    op.create_index("calls_tenant", "calls", ["tenant", "at", "n", "cost"])
    op.create_index("calls_key", "calls", ["key", "at", "n", "cost"])
    for name, span in (("days", "day"), ("months", "month")):
        op.create_table(
            name, _number(span), *_keys("tenant", "key", "model", "pool"),
            *_bigs(
                "calls", "ok", "estimated", "prompt_tokens", "completion_tokens", "cached_tokens", "cost", "latency"
            ),
            sqlite_with_rowid=False,
        )  # fmt: skip
    op.create_table(
        "spreads", *_keys("tenant"), _number("day"), *_keys("model"),
        Column("latency", LargeBinary, nullable=False), Column("ttft", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_index("spreads_day", "spreads", ["day", "model"])
    op.create_table(
        "overheads", Column("call", Text, primary_key=True), Column("attempt", SmallInteger, primary_key=True),
        *_bigs("at", "took"), *_texts("tenant", "key", "model", "pool", "replica", "region", "what"),
    )  # fmt: skip
    op.create_index("overheads_at", "overheads", ["at"])
    op.create_table(
        "upkeep", *_keys("id", "replica"), *_bigs("at", "took"), *_texts("pool", "region", "purchase"), *_bigs("cost"),
    )  # fmt: skip
    op.create_index("upkeep_at", "upkeep", ["at"])
