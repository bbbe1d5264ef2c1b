"""End users and caches beside calls; ids of clients found by the hour; what limits count, by quarters of an hour."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text, text

revision = "0002"
down_revision = "0001"
Big = BigInteger().with_variant(Integer, "sqlite")


def upgrade() -> None:
    """Make them, for the rows that are there as well."""
    op.add_column("calls", Column("hour", Integer, nullable=False, server_default="0"))
    op.add_column("calls", Column("end_user", Text, nullable=False, server_default=""))
    op.add_column("calls", Column("cache", Text, nullable=False, server_default=""))
    op.execute(text("UPDATE calls SET hour = at / 3600000000"))
    op.drop_index("calls_client", "calls")
    known = text("client_id <> ''")
    op.create_index("calls_client", "calls", ["hour", "client_id"], sqlite_where=known, postgresql_where=known)
    op.create_table(
        "quarters", Column("quarter", Integer, primary_key=True, autoincrement=False),
        *(Column(name, Text, primary_key=True) for name in ("tenant", "key", "model")),
        Column("requests", Big, nullable=False), Column("tokens", Big, nullable=False),
        sqlite_with_rowid=False,
    )  # fmt: skip
