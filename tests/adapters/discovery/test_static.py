"""A list of addresses as a source."""

import asyncio

import pytest

from penstock.adapters.discovery.static import StaticSource, StaticSpec, parse_address
from penstock.base.nouns import Found


def test_each_address_once_in_order() -> None:
    """The list as it stands, IPv6 in brackets."""
    source = StaticSource(StaticSpec(addresses=("gpu2:8000", "gpu1:8000", "[::1]:9", "gpu2:8000")))
    sighting = asyncio.run(source.look(1.0))
    assert [it.address for it in sighting.found] == ["gpu2:8000", "gpu1:8000", "[::1]:9"]
    assert sighting.lasts_s is None
    assert parse_address("[::1]:9") == Found(host="::1", port=9)


@pytest.mark.parametrize("text", ["gpu1", "gpu1:0", "gpu1:65536", "::1:80", "[::1]", "http://a:1", "a b:1", ":1", ""])
def test_what_is_no_address(text: str) -> None:
    """Without a port that can be, or with more than an address, it is refused."""
    with pytest.raises(ValueError, match="not host:port"):
        parse_address(text)
