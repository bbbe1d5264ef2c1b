"""Addresses as people write them: host:port to bind, replicas' URLs, networks. Pure texts in, values or reasons out."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
_NUMBERS = re.compile(r"[0-9.]+")
_SPLIT = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
LISTEN_FORM = "host:port, like 127.0.0.1:8080, [::1]:8080, or :8080 for all addresses"


class Base(NamedTuple):
    """A replica's URL, taken apart."""

    url: str
    """As it is used: no slash at the end."""
    id: str
    """host:port and the base path: the replica's name where it has none."""
    secure: bool
    path: str


def is_host(text: str) -> bool:
    """Whether this is a host name or an IP address (IPv6 without brackets)."""
    try:
        ipaddress.ip_address(text)
        return True
    except ValueError:
        return bool(_NAME.fullmatch(text)) and not _NUMBERS.fullmatch(text)


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port to bind; no host means all IPv4 addresses. Raises ValueError with a hint (may be empty)."""
    parts = _SPLIT.fullmatch(text)
    if parts is None:
        if re.fullmatch(r"[0-9]{1,5}", text):
            raise ValueError(f"write 127.0.0.1:{text}, or :{text} for all addresses")
        if "://" in text:
            raise ValueError("leave out the scheme")
        six = text.count(":") > 1 and is_host(text)
        raise ValueError(f"an IPv6 address stands in brackets: [{text}]:8080" if six else "")
    host = parts["six"] if parts["six"] is not None else parts["host"] or "0.0.0.0"
    if not is_host(host) or (parts["six"] is not None and ":" not in host):
        raise ValueError(f"{host!r} is no host")
    if int(parts["port"]) > 65535:
        raise ValueError("a port is at most 65535")
    return host, int(parts["port"])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def show_address(address: tuple[str, int]) -> str:
    """host:port for people."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def collide(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether the two cannot both be bound. Port 0 is chosen by the system, so it never collides."""
    wild = ("0.0.0.0", "::")
    return one[1] == other[1] != 0 and (one[0] == other[0] or one[0] in wild or other[0] in wild)


def parse_url(text: str) -> Base:
    """A replica's base URL. Raises ValueError with the reason."""
    if re.search(r"[\s\x00-\x1f\x7f\\]", text) or not text.isascii():
        raise ValueError("a URL has neither spaces nor characters beyond ASCII")
    if "://" not in text:
        known = re.fullmatch(r"[^/?#@]+:[0-9]+(/[^?#]*)?", text)
        raise ValueError(f"did you mean http://{text}?" if known else "it begins with http:// or https://")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"its scheme is {parts.scheme!r}, and only http and https are spoken")
    if "@" in parts.netloc:
        raise ValueError("leave out the user and password; api_key or headers say who the gateway is")
    if "?" in text or "#" in text:
        raise ValueError("leave out the query and fragment")
    host = parts.hostname or ""
    if not is_host(host) or port == 0:
        raise ValueError("its host or port cannot be read")
    secure = parts.scheme == "https"
    shown = f"[{host}]" if ":" in host else host
    path = re.sub(r"/+$", "", parts.path)
    default = 443 if secure else 80
    url = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "") + path
    return Base(url, f"{shown}:{port or default}{path}", secure, path)


def parse_network(text: str) -> str:
    """An address or network in its usual form. Raises ValueError with a hint (may be empty)."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("") from None
    if ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"did you mean {network}?")
    return str(network)
