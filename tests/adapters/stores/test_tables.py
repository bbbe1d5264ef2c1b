"""The ledger's tables, as the code knows them."""

from penstock.adapters.stores.tables import SUMMED, calls, days, months


def test_days_and_months_have_the_same_sums() -> None:
    """They differ in the first column only, so that a question may be asked of either."""
    assert [column.name for column in days.columns][1:] == [column.name for column in months.columns][1:]
    assert set(SUMMED) <= set(days.columns.keys())
    assert [column.name for column in days.primary_key] == ["day", "tenant", "key", "model", "pool"]


def test_no_column_is_for_words_or_keys() -> None:
    """What people wrote has no place in it, nor has a secret: `key` is a key's name."""
    assert not {"prompt", "body", "content", "answer", "secret", "hash"} & set(calls.columns.keys())
