"""The ledger's migrations, run by Alembic when a gateway starts; each says what the one before it did not have."""
