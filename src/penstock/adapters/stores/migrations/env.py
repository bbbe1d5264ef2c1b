"""What Alembic runs: the migrations, in the transaction that `Database.migrate` has begun."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="ledger_version")
context.run_migrations()
