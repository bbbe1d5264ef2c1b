"""The exception of the wire."""

from penstock.adapters.wire.malformed import Malformed
from penstock.base.errors import REFUSALS


def test_it_carries_a_row_of_the_table_and_what_to_say() -> None:
    """Label, detail and the field at fault; without a detail the label is its text."""
    error = Malformed("bad_request", "No.", "model")
    assert (error.label, error.detail, error.param, str(error)) == ("bad_request", "No.", "model", "No.")
    assert str(Malformed("bad_http")) == "bad_http"
    assert error.label in REFUSALS
