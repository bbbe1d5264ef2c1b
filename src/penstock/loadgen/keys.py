"""Whose request is whose: a key for each tenant, so that one run of load plays many of them.

A request whose tenant has a key here goes with it. All others are dealt among the tenants by their shares, a session
always to the same one. Knows no sockets and no files.
"""

from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from penstock.base.rand import Rand
from penstock.config.document import NotYaml, parse
from penstock.loadgen.client import check_key
from penstock.workload.request import Request


class Tenant(Struct, frozen=True, forbid_unknown_fields=True):
    """One of those whose requests are played."""

    key: str
    share: Annotated[float, Meta(gt=0)] = 1.0
    """Of the requests that name no tenant of the file."""


def read_keys(text: str) -> dict[str, Tenant]:
    """The tenants of a YAML file: `name: key`, or `name: {key: …, share: 10}`. Raises ValueError, without any key."""
    try:
        parsed = parse(text)
    except NotYaml as error:
        raise ValueError(str(error)) from None
    if parsed.problems:
        raise ValueError(parsed.problems[0][1])
    if not isinstance(parsed.tree, dict) or not parsed.tree:
        raise ValueError("wants a line for each tenant, `name: key` or `name: {key: …, share: 10}`")
    found: dict[str, Tenant] = {}
    for name, value in parsed.tree.items():
        try:
            found[name] = msgspec.convert({"key": value} if isinstance(value, str) else value, Tenant)
            check_key(found[name].key)
        except (msgspec.ValidationError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None
    return found


class Keyring:
    """Deals requests to tenants; the same requests with the same seed to the same ones."""

    def __init__(self, tenants: Mapping[str, Tenant], seed: int) -> None:
        self._headers = {name: f"authorization: Bearer {tenant.key}\r\n".encode() for name, tenant in tenants.items()}
        self._names = list(tenants)
        self._sums = list(accumulate(tenant.share for tenant in tenants.values()))
        self._rand = Rand(seed).child("tenants")

    def tenant(self, request: Request, number: int) -> str:
        """Who sends this request."""
        if request.tenant in self._headers:
            return request.tenant
        lot = self._rand.stream(f"session {request.session}" if request.session else f"request {number}").random()
        return self._names[min(bisect(self._sums, lot * self._sums[-1]), len(self._names) - 1)]

    def header(self, tenant: str) -> bytes:
        """The line of a head that carries its key."""
        return self._headers[tenant]
