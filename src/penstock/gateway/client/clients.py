"""Who an anonymous client is, for a plain rate: its address, or that which the proxies that we trust tell of it.

Only a digest leaves this file, salted anew in every process: addresses have no business in a journal.
"""

import hashlib
import os
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_SALT = os.urandom(16)
_MOST_HOPS = 32
MARK = "@"
"""Before a digest, which no key's name can be mistaken for: it is followed by sixteen hex digits."""


def client_of(address: bytes, trusted: bool, forwarded: bytes, proxies: tuple[str, ...]) -> str:
    """The digest that stands for a client. Of a chain of proxies the last address counts that is none of ours: what
    stands before it, anybody may have written. IPv6 clients have whole networks, so the /64 stands for them."""
    found = address.decode("ascii", "replace")
    if trusted and forwarded:
        found = _last_outside(forwarded.decode("ascii", "replace"), proxies) or found
    return MARK + hashlib.blake2b(network_of(found).encode(), digest_size=8, key=_SALT).hexdigest()


def network_of(address: str) -> str:
    """The address itself, or the /64 of IPv6; what is none stays as it is."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped is not None else str(ip_network((int(parsed) >> 64 << 64, 64)))
    return address if parsed is None else str(parsed)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    text = address.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # some proxies tell the port
        text = text.partition(":")[0]
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _last_outside(forwarded: str, proxies: tuple[str, ...]) -> str:
    networks = _networks(proxies)
    hops = forwarded.split(",")[-_MOST_HOPS:]
    for hop in reversed(hops):
        parsed = _parsed(hop)
        if parsed is None:
            return ""  # whatever stands further left, nobody vouches for
        if not any(parsed in network for network in networks):
            return str(parsed)
    return hops[0].strip()


@lru_cache(maxsize=16)
def _networks(proxies: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(proxy, strict=False) for proxy in proxies)
