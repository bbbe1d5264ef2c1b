"""Asking an admin API: pages, and what is said where they cannot be had."""

from contextlib import closing

import pytest
import typer

from penstock.cli.admin import Admin, AdminError, admin_at, quoted
from tests.helpers.desk import desk


def trouble(url: str, path: str = "/x") -> AdminError:
    """What asking ends in."""
    with pytest.raises(AdminError) as caught, closing(Admin(url, timeout_s=2.0)) as admin:
        admin.read(path)
    return caught.value


def test_pages_are_read_over_one_connection_with_the_key() -> None:
    """The key is shown as a bearer token; JSON is decoded, other pages come as they are."""
    with desk() as at:
        at.pages = {"/x": {"a": 1}, "/metrics": b"page"}
        admin = Admin(at.url, "secret")
        assert (admin.read("/x"), admin.page("/metrics")) == ({"a": 1}, b"page")
        admin.close()
        assert admin.read("/x") == {"a": 1}, "opened again"
        admin.close()
        assert at.asked == [("/x", "Bearer secret"), ("/metrics", "Bearer secret"), ("/x", "Bearer secret")]


def test_addresses_are_taken_as_people_write_them() -> None:
    """With and without a scheme; a base path is kept; what is none is told."""
    assert Admin("127.0.0.1:9090").url == "http://127.0.0.1:9090"
    assert Admin("https://gate.example/base/").url == "https://gate.example/base"
    for wrong in ("", "ftp://x", "http://"):
        with pytest.raises(typer.BadParameter):
            admin_at(wrong, None)
    with pytest.raises(typer.BadParameter):
        admin_at("127.0.0.1:9090", "two\nlines")


def test_trouble_is_told_in_words() -> None:
    """An error of the API by its message; a missing key with what to do; another server; nobody, with a way out."""
    with desk() as at:
        at.pages = {"/gone": (410, "Forgotten.", "forgotten"), "/key": (401, "…", "unauthorized"), "/x": b"<html>"}
        gone = trouble(at.url, "/gone")
        assert (str(gone), gone.status, gone.code) == ("Forgotten.", 410, "forgotten")
        assert "give --admin-key, or set PENSTOCK_ADMIN_KEY" in str(trouble(at.url, "/key"))
        assert "no admin API of Penstock" in str(trouble(at.url))
        url = at.url
    nobody = trouble(url)
    assert nobody.status == 0
    assert str(nobody).startswith(f"no gateway answers at {url} (Connection refused): ")
    assert "--admin" in str(nobody)


def test_ids_are_quoted() -> None:
    """Whatever a client chose for an id stays one part of a path."""
    assert quoted("a/b?c%d") == "a%2Fb%3Fc%25d"
