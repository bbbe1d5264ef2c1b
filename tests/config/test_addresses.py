"""Addresses, URLs and networks as people write them."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import pytest

from penstock.config.addresses import collide, is_loopback, parse_listen, parse_network, parse_url, show_address


@pytest.mark.parametrize(
    "text, address",
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:80", ("::1", 80)), (":8080", ("0.0.0.0", 8080)),
        ("localhost:0", ("localhost", 0)), ("gw-1.example.com:65535", ("gw-1.example.com", 65535)), ("[::]:1", ("::", 1)),
    ],
)  # fmt: skip
def test_addresses_to_bind(text: str, address: tuple[str, int]) -> None:
    """Host and port, IPv6 in brackets, no host for all addresses."""
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text, hint",
    [
        ("8080", "write 127.0.0.1:8080, or :8080 for all addresses"),
        ("::1", "an IPv6 address stands in brackets: [::1]:8080"),
        ("http://h:1", "leave out the scheme"),
        ("h:99999", "a port is at most 65535"),
        ("[h]:1", "'h' is no host"),
        ("1.2.3:1", "'1.2.3' is no host"),
        ("a b:1", "'a b' is no host"),
        ("h:", ""),
        ("", ""),
    ],
)
def test_wrong_addresses_to_bind(text: str, hint: str) -> None:
    """Usual slips get their correction."""
    with pytest.raises(ValueError) as caught:
        parse_listen(text)
    assert str(caught.value) == hint


@pytest.mark.parametrize(
    "host, local",
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("h", False)],
)  # fmt: skip
def test_loopback(host: str, local: bool) -> None:
    """Only what this machine alone can reach is loopback."""
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    "one, other, clash",
    [
        (("127.0.0.1", 80), ("127.0.0.1", 80), True), (("0.0.0.0", 80), ("127.0.0.1", 80), True),
        (("127.0.0.1", 80), ("127.0.0.1", 81), False), (("127.0.0.1", 0), ("127.0.0.1", 0), False),
        (("127.0.0.1", 80), ("127.0.0.2", 80), False),
    ],
)  # fmt: skip
def test_collisions(one: tuple[str, int], other: tuple[str, int], clash: bool) -> None:
    """Two sockets cannot share an address, except port 0, which the system chooses."""
    assert collide(one, other) is clash


@pytest.mark.parametrize(
    "text, url, name",
    [
        ("http://h:8000", "http://h:8000", "h:8000"), ("http://h", "http://h", "h:80"), ("https://H/", "https://h", "h:443"),
        ("https://h:1/a/b//", "https://h:1/a/b", "h:1/a/b"), ("HTTP://[::1]:9", "http://[::1]:9", "[::1]:9"),
    ],
)  # fmt: skip
def test_urls(text: str, url: str, name: str) -> None:
    """A URL loses its last slash, and names the replica by host, port and base path."""
    base = parse_url(text)
    assert (base.url, base.id) == (url, name)


@pytest.mark.parametrize(
    "text, why",
    [
        ("h:8000", "did you mean http://h:8000?"),
        ("", "it begins with http:// or https://"),
        ("gpu1", "it begins with http:// or https://"),
        ("ftp://h", "its scheme is 'ftp', and only http and https are spoken"),
        ("http://u:p@h", "leave out the user and password; api_key or headers say who the gateway is"),
        ("http://h/?a=1", "leave out the query and fragment"),
        ("http://h/#a", "leave out the query and fragment"),
        ("http://h:99999", "its host or port cannot be read"),
        ("http://h:0", "its host or port cannot be read"),
        ("http://:80", "its host or port cannot be read"),
        ("http://[::1", "its host or port cannot be read"),
        ("http://h h", "a URL has neither spaces nor characters beyond ASCII"),
        ("http://h\n", "a URL has neither spaces nor characters beyond ASCII"),
        ("http://häuser", "a URL has neither spaces nor characters beyond ASCII"),
    ],
)
def test_wrong_urls(text: str, why: str) -> None:
    """Every part that cannot be is told."""
    with pytest.raises(ValueError) as caught:
        parse_url(text)
    assert str(caught.value) == why


def test_networks() -> None:
    """Addresses are networks of one; host bits get a suggestion."""
    assert (parse_network("10.0.0.0/8"), parse_network("::1")) == ("10.0.0.0/8", "::1/128")
    with pytest.raises(ValueError, match=r"^did you mean 10\.0\.0\.0/8\?$"):
        parse_network("10.0.0.1/8")
    with pytest.raises(ValueError, match=r"^$"):
        parse_network("me")


def test_addresses_are_shown_as_they_are_written() -> None:
    """IPv6 gets its brackets back."""
    assert (show_address(("::1", 80)), show_address(("h", 1))) == ("[::1]:80", "h:1")
