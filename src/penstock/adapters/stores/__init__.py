"""Stores: where what must outlive a process is kept in the end. Today the ledger, in SQLite or PostgreSQL.

This room knows SQL and nothing of calls in flight. It needs the extra `ledger`, and is imported only by who has one.
"""
