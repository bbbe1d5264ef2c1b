"""Tables of keys and limits: numbers and states as people read them."""

import pytest

from penstock.cli.key_tables import limits_table, rows_table, state_text
from penstock.cli.plain import plain_console
from penstock.config.key_rows import Limit, Row


def test_a_revoked_key_says_since_when() -> None:
    """To the minute."""
    row = Row(
        name="a", place="keys_file", tenant="a", tier="free", priority_ceiling="low", models=None, state="revoked",
        revoked="1970-01-02T00:00:00Z",
    )  # fmt: skip
    assert state_text(row) == "revoked 1970-01-02 00:00 UTC"


def test_tables_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers as people read them; what is not known is left empty."""
    row = Row(
        name="a", place="config", tenant="a", tier="free", priority_ceiling="low", models=[], state="active",
        limits=[Limit(of="key", what="budget per day", limit=1234.5, used=0.25, left=1234.25)],
    )  # fmt: skip
    plain_console().print(rows_table([row]))
    plain_console().print(limits_table([*row.limits, Limit(of="everybody", what="tokens per day", limit=1e6)]))
    said = " ".join(capsys.readouterr().out.split())
    assert "a a free low none never active 0.25 of 1,234 budget per day" in said
    assert "this key all models budget per day 1,234 0.25 1,234" in said
    assert "everybody all models tokens per day 1,000,000" in said
