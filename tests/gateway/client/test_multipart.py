"""Forms: finding the model among files, refusing what is no form."""

import pytest

from penstock.adapters.wire.malformed import Malformed
from penstock.gateway.client.multipart import peek_form

TYPE = b"multipart/form-data; boundary=xyz"


def part(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    """One part."""
    return b'--xyz\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name, more, value)


FILE = part(b"file", b"\x00\xff--xyz not a boundary\r\n\r\n", b'; filename="model"\r\nContent-Type: audio/wav')


def test_the_model_is_found_among_the_parts() -> None:
    """Its value and place come out; files are skipped."""
    body = FILE + part(b"model", b"whisper") + part(b"stream", b"true") + b"--xyz--\r\n"
    form = peek_form(TYPE, body)
    assert (form.model, form.stream) == ("whisper", True)
    start, end = form.model_at
    assert body[start:end] == b"whisper"


def test_quoted_boundaries_and_a_preamble_are_understood() -> None:
    """As the standard allows."""
    body = b"hello\r\n" + part(b"model", b"w") + b"--xyz--"
    assert peek_form(b'multipart/form-data; charset=x; boundary="xyz"', body).model == "w"


def test_a_form_without_a_model_names_none() -> None:
    """Nothing is made up."""
    assert peek_form(TYPE, FILE + b"--xyz--\r\n").model is None


@pytest.mark.parametrize(
    "kind,body",
    [
        (b"application/json", b"{}"),
        (b"multipart/form-data", part(b"model", b"w") + b"--xyz--"),
        (TYPE, b""),
        (TYPE, b"no boundary at all"),
        (TYPE, part(b"model", b"w")),
        (TYPE, b"--xyz\r\nno end of head"),
        (TYPE, part(b"model", b"w") * 2 + b"--xyz--"),
        (TYPE, part(b"model", b"\xff") + b"--xyz--"),
        (TYPE, part(b"model", b"w" * 600) + b"--xyz--"),
        (TYPE, part(b"model", b"w" * 6000) + b"--xyz--"),
        (TYPE, part(b"x", b"y") * 100 + b"--xyz--"),
    ],
)
def test_what_is_no_proper_form_is_refused(kind: bytes, body: bytes) -> None:
    """Wrong types, missing ends, doubled or oversize fields and endless parts are 400."""
    with pytest.raises(Malformed) as caught:
        peek_form(kind, body)
    assert caught.value.label == "bad_request"
