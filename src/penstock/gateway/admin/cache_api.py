"""The cache's part of the admin API: what it holds, and putting answers out of use."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.core.events import Invalidated
from penstock.gateway.cache.caching import Caching
from penstock.gateway.fleet.roster import RosterError

Handler = Callable[[Request], Awaitable[Response]]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be put out of use: all that is named must match. Everything, where `all` says so."""

    tag: str | None = None
    model: str | None = None
    tenant: str | None = None
    all: bool = False


class CacheApi:
    """The handlers, over the cache of a running gateway. `body_of` reads a request's JSON."""

    def __init__(self, caching: Callable[[], Caching], body_of: Callable[[Request], Awaitable[Any]]) -> None:
        self._caching = caching
        self._body_of = body_of

    def routes(self, said: Callable[[Handler], Handler]) -> list[Route]:
        """Its paths. `said` tells a handler's mistakes."""
        return [
            Route("/admin/cache", said(self.state), methods=["GET"]),
            Route("/admin/cache/invalidate", said(self.invalidate), methods=["POST"]),
        ]

    async def state(self, request: Request) -> Response:
        """As it stands."""
        await self._caching().fresh()
        view = self._caching().view()
        if view is None:
            raise RosterError(404, "There is no cache here: give the configuration a `cache` block.")
        return _json(view)

    async def invalidate(self, request: Request) -> Response:
        """Put answers out of use."""
        caching = self._caching()
        if caching.view() is None:
            raise RosterError(404, "There is no cache here: give the configuration a `cache` block.")
        try:
            wanted = msgspec.convert(await self._body_of(request), Wanted)
        except msgspec.ValidationError as wrong:
            raise RosterError(400, str(wrong)) from None
        named = wanted.tag, wanted.model, wanted.tenant
        if wanted.all == any(name is not None for name in named):
            raise RosterError(400, 'Say what: a "tag", a "model", a "tenant" (all that is named must match), or "all".')
        count, shared = await caching.invalidate(Invalidated(*named))
        return _json({"invalidated": count, "shared": shared})


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", media_type="application/json")
