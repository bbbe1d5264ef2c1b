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


HIDDEN = {
    "a name within a file's name": b'filename="; name=foo"; name="model"',
    "two names": b'name=foo; name="model"',
    "a name in another alphabet": b"name*=utf-8''model",
    "an escape": b'name="mod\\el"',
    "a quote that ends nothing": b'filename="a\\"; name=foo; x=\\""; name="model"',
    "two lines": b'name="foo"\r\nContent-Disposition: form-data; name="model"',
    "a fold": b'x=y\r\n ; name="model"',
    "a bare line feed": b'x=y;\nname="model"',
    "words between": b'x=y z; name="model"',
}


@pytest.mark.parametrize("what", HIDDEN)
def test_a_name_is_read_in_one_way_or_refused(what: str) -> None:
    """A key that may ask for one model only cannot hide the name of another one from us."""
    body = b"--xyz\r\nContent-Disposition: form-data; %b\r\n\r\nevil\r\n" % HIDDEN[what]
    with pytest.raises(Malformed):
        peek_form(TYPE, part(b"model", b"good") + body + b"--xyz--")


def test_a_name_on_another_line_of_the_head_is_none() -> None:
    """Only the disposition names a part."""
    body = b'--xyz\r\nX: a; name="model"\r\nContent-Disposition: form-data; name="foo"\r\n\r\nw\r\n--xyz--'
    assert peek_form(TYPE, body).model is None


@pytest.mark.parametrize(
    "kind",
    [
        b"multipart/form-data; boundary=xyz; boundary=abc",
        b'multipart/form-data; x="; boundary=abc"; boundary=xyz; boundary*=y',
        b"multipart/form-databoundary=xyz",
    ],
)
def test_there_is_one_boundary(kind: bytes) -> None:
    """Two readers cannot take different ones."""
    with pytest.raises(Malformed):
        peek_form(kind, part(b"model", b"w") + b"--xyz--")


def test_a_boundary_within_another_parameter_is_none() -> None:
    """What is quoted is no parameter."""
    kind = b'multipart/form-data; x="; boundary=abc"; boundary=xyz'
    assert peek_form(kind, part(b"model", b"w") + b"--xyz--").model == "w"
