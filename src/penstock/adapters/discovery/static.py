"""The simplest source: a list of addresses that share one description. It never fails and never changes."""

import re
from typing import Annotated

from msgspec import Meta, Struct

from penstock.base.nouns import Found
from penstock.base.ports import Sighting

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_.-]+)):(?P<port>[0-9]{1,5})")


class StaticSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="static", tag_field="kind"):
    """Addresses that share one description: shorter than as many `replicas`."""

    addresses: Annotated[tuple[str, ...], Meta(description="host:port, or [IPv6]:port, of each replica")]


def parse_address(text: str) -> Found:
    """host:port. Raises ValueError."""
    parts = _ADDRESS.fullmatch(text)
    if parts is None or not 1 <= int(parts["port"]) <= 65535:
        raise ValueError(f"not host:port: {text[:200]!r}")
    return Found(host=parts["six"] or parts["host"], port=int(parts["port"]))


class StaticSource:
    """A list."""

    def __init__(self, spec: StaticSpec) -> None:
        self._spec = spec

    async def look(self, timeout_s: float) -> Sighting:
        """See `base.ports.Source`."""
        found = {it.address: it for it in map(parse_address, self._spec.addresses)}
        return Sighting(tuple(found.values()))
