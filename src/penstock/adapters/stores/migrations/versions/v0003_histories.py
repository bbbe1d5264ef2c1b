"""The history of an end user, page by page: an index of those calls alone that name one."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make it, for the rows that are there as well."""
    named = text("end_user <> ''")
    op.create_index("calls_user", "calls", ["end_user", "at", "n"], sqlite_where=named, postgresql_where=named)
