"""The keys' part of the admin API: who may call, and keys made, changed, rotated and revoked.

A secret is in the answer to who made it, and nowhere else. Whoever asks must have shown the admin key: that a request
comes from this machine is not enough to become a client, or to see how the hashes of others begin.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.base.errors import ConfigError
from penstock.base.nouns import AccountView
from penstock.config.key_orders import SETTINGS, rotation_of, settings_of, terms_of
from penstock.config.mistakes import Mistakes
from penstock.gateway.fleet.roster import RosterError
from penstock.gateway.key_ring import Done, KeyRing

Handler = Callable[[Request], Awaitable[Response]]
MOST = 1_000
"""Keys on a page."""
USUAL = 100
ACTOR = "x-penstock-actor"
MOST_ACTOR = 100
NO_STORE = {"cache-control": "no-store"}


class Desk(Protocol):
    """What it needs of the gateway."""

    key_ring: KeyRing

    def account_views(self) -> list[AccountView]: ...
    async def fresh(self) -> None: ...
    def admin_key_hash(self) -> str | None: ...


class KeysApi:
    """The handlers, over the keys of a running gateway. `body_of` reads a request's JSON."""

    def __init__(self, desk: Desk, body_of: Callable[[Request], Awaitable[Any]]) -> None:
        self._desk = desk
        self._body_of = body_of

    def routes(self, said: Callable[[Handler], Handler]) -> list[Route]:
        """Its paths. `said` tells a handler's mistakes."""
        one = "/admin/keys/{name:path}"
        return [
            Route("/admin/keys", said(self.page), methods=["GET"]),
            Route("/admin/keys", said(self.create), methods=["POST"]),
            Route(f"{one}/rotate", said(self.rotate), methods=["POST"]),
            Route(one, said(self.show), methods=["GET"]),
            Route(one, said(self.set), methods=["PATCH"]),
            Route(one, said(self.revoke), methods=["DELETE"]),
        ]

    async def page(self, request: Request) -> Response:
        """Keys by name, so many."""
        self._who(request)
        given = dict(request.query_params)
        unknown = [name for name in given if name not in ("after", "count")]
        if unknown:
            raise RosterError(400, f"`{unknown[0][:50]}` is unknown here: there are after, count")
        text = given.get("count", str(USUAL))
        if not text.isascii() or not text.isdigit() or len(text) > 5 or not 1 <= int(text) <= MOST:
            raise RosterError(400, f"`count` is a number from 1 to {MOST}")
        await self._desk.fresh()
        ring, accounts = self._desk.key_ring, self._desk.account_views()
        rows, after = await ring.page(accounts, given.get("after", ""), int(text))
        return _json({"keys": rows, "after": after})

    async def show(self, request: Request) -> Response:
        """One, with its limits and what is used of them."""
        self._who(request)
        await self._desk.fresh()
        name = request.path_params["name"]
        return _json({"keys": await self._desk.key_ring.rows(self._desk.account_views(), name)})

    async def create(self, request: Request) -> Response:
        """A new one. Its secret is shown this once."""
        who, now_s = self._who(request), time.time()
        body = await self._mapping(request, "the key", "`name` and settings")
        name = body.pop("name", None)
        done, secret = await self._desk.key_ring.create(name, terms_of(body, now_s), who)
        return _json({"name": done.key.name, "key": secret, "made": done.key.made, **_told(done)}, 201)

    async def set(self, request: Request) -> Response:
        """Other settings; null: as usual."""
        who, now_s = self._who(request), time.time()
        body = await self._mapping(request, "the settings", "what is to change")
        if not body:
            raise ConfigError([f"the settings: found none, expected any of {', '.join(SETTINGS)}"])
        done = await self._desk.key_ring.set(request.path_params["name"], terms_of(body, now_s), who)
        return _json({"name": done.key.name, **_told(done)})

    async def rotate(self, request: Request) -> Response:
        """A new secret, shown this once; what it had holds for an overlap."""
        who, now_s = self._who(request), time.time()
        how = rotation_of(await self._body_of(request), now_s)
        done, secret = await self._desk.key_ring.rotate(request.path_params["name"], how, who)
        until = max((one.until or "" for one in done.key.hashes), default="")
        return _json({"name": done.key.name, "key": secret, "old_until": until or None, **_told(done)})

    async def revoke(self, request: Request) -> Response:
        """All its secrets are refused."""
        done = await self._desk.key_ring.revoke(request.path_params["name"], self._who(request))
        return _json({"name": done.key.name, "revoked": done.key.revoked, "applied": done.applied})

    async def _mapping(self, request: Request, what: str, fields: str) -> dict[str, Any]:
        body = await self._body_of(request)
        if not isinstance(body, dict):
            raise ConfigError([f"{what}: found {Mistakes().found((), body)}, expected a JSON object with {fields}"])
        return body

    def _who(self, request: Request) -> str:
        """Who asks, for the log. Raises RosterError where it is somebody without the admin key."""
        if self._desk.admin_key_hash() is None:
            raise RosterError(
                403, "Keys are shown and changed over the admin API only where it asks for a key: set `admin_key` in "
                "the configuration. `penstock keys` does so without one.",
            )  # fmt: skip
        where = "somebody" if request.client is None else f"{request.client.host}:{request.client.port}"
        actor = request.headers.get(ACTOR, "")[:MOST_ACTOR]
        return f"{actor!r} ({where})" if actor else where


def _told(done: Done) -> dict[str, Any]:
    told = {**settings_of(done.key), "applied": done.applied}
    if not done.applied:
        told["remark"] = "The keys file has it. This gateway does not hold it yet: its log tells why."
    return told


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", status, NO_STORE, "application/json")
