"""The ledger's settings."""

from penstock.adapters.stores.spec import LedgerSpec


def test_the_database_is_a_file_in_the_folder_unless_it_is_named() -> None:
    """SQLite needs no setting at all."""
    assert LedgerSpec(folder="/var/lib/p").url() == "sqlite:////var/lib/p/ledger.db"
    assert LedgerSpec(folder="ledger").url() == "sqlite:///ledger/ledger.db"
    assert LedgerSpec(folder="ledger", database="postgresql://h/d").url() == "postgresql://h/d"
