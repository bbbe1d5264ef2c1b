"""Times as people ask for them."""

import pytest

from penstock.adapters.stores.moments import moment


@pytest.mark.parametrize(
    "text, at",
    [("1h", 1e9 - 3600), ("30d", 1e9 - 30 * 86_400), ("2001-09-09", 999_993_600.0), ("0s", 1e9), ("99999999999", 0.0)],
)
def test_a_time_is_a_day_or_how_long_ago(text: str, at: float) -> None:
    """Days are those of UTC, and nothing was before the epoch."""
    assert moment(text, 1e9) == at


@pytest.mark.parametrize("text", ["", "yesterday", "2001-13-01", "-5d"])
def test_what_is_neither_is_refused(text: str) -> None:
    """With the forms that are accepted."""
    with pytest.raises(ValueError, match="30d"):
        moment(text, 1e9)
