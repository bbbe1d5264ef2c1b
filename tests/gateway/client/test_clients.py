"""Who an anonymous client is: its own address, or what trusted proxies tell, and never what it says of itself."""

import pytest

from penstock.core.events import Arrived
from penstock.gateway.client.clients import client_of, network_of
from tests.helpers.plane import serving
from tests.helpers.wire import Client, Engine, answer, request, run, until

OURS = ("10.0.0.0/8", "fd00::/8")


def of(address: str, forwarded: str = "", trusted: bool = False) -> str:
    """Whom this connection counts for."""
    return client_of(address.encode(), trusted, forwarded.encode(), OURS)


@pytest.mark.parametrize(
    "address, network",
    [
        ("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::/64"), ("[2001:db8::1]:443", "2001:db8::/64"),
        ("192.0.2.1:8080", "192.0.2.1"), ("unknown", "unknown"),
    ],
)  # fmt: skip
def test_ipv6_clients_are_networks(address: str, network: str) -> None:
    """A /64 is one client; an IPv4 address in the dress of IPv6 is that address; ports and zones do not matter."""
    assert network_of(address) == network


def test_proxies_that_are_trusted_tell_who_it_is() -> None:
    """The last address that is none of ours; what the client put before it does not make it another."""
    client = of("192.0.2.1")
    assert of("10.0.0.1", "192.0.2.1", trusted=True) == client
    assert of("10.0.0.1", "6.6.6.6, 192.0.2.1", trusted=True) == client
    assert of("10.0.0.1", "6.6.6.6, 192.0.2.1, 10.9.9.9, fd00::1", trusted=True) == client
    assert of("10.0.0.1", "192.0.2.1:5555", trusted=True) == client


def test_who_is_not_trusted_tells_nothing() -> None:
    """Else anybody had a new name for every call; nor does anybody who writes no address."""
    assert of("192.0.2.1", "6.6.6.6") == of("192.0.2.1")
    assert of("10.0.0.1", "6.6.6.6, unknown", trusted=True) == of("10.0.0.1")
    assert of("10.0.0.1", "10.1.1.1, 10.2.2.2", trusted=True) == of("10.1.1.1")


def test_no_address_leaves_this_place() -> None:
    """A digest of sixteen digits stands for it."""
    name = of("192.0.2.1")
    assert name[0] == "@"
    assert len(name) == 17
    assert "192" not in name or int(name[1:], 16)


@pytest.mark.parametrize("per_client, told", [(None, False), (5, True)])
def test_it_is_told_only_where_it_matters(per_client: int | None, told: bool) -> None:
    """With a rate and without a key; else nothing is worked out."""

    async def main() -> None:
        async with (
            Engine([[answer()]]) as engine,
            serving(engine, limits={"per_client": per_client}) as rig,
            Client(rig.port) as client,
        ):
            client.send(request())
            await client.answer()
            await until(lambda: bool(rig.gate.told(Arrived)))
            assert bool(rig.gate.told(Arrived)[0].client) is told

    run(main)
