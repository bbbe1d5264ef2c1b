"""The admin API: the fleet and the queues for people and scripts, changes to the fleet, reload, metrics.

Not hot: Starlette. Bound to loopback unless the configuration says otherwise; with an `admin_key` every request must
show it. Without one the API is for the machine's own user: a web page in his browser must not reach it, so requests
that carry a foreign `Origin`, or a `Host` that is a name other than localhost (DNS rebinding), are refused.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from penstock.adapters.notices.notice import posted
from penstock.base.errors import ConfigError
from penstock.base.nouns import AccountView, PoolView, Replica, ReplicaView, SourceView
from penstock.config.schema import Access
from penstock.core.scale.view import ScaleStory, ScaleView
from penstock.gateway.admin.cache_api import CacheApi
from penstock.gateway.admin.keys_api import KeysApi
from penstock.gateway.admin.ledger_api import LedgerApi
from penstock.gateway.cache.caching import Caching
from penstock.gateway.fleet.roster import Roster, RosterError
from penstock.gateway.key_ring import KeyRing
from penstock.gateway.ledger import Ledger
from penstock.telemetry.explained import Explanation, Short, Unexplained

MAX_BODY_BYTES = 1 << 20
BODY_S = 30.0
"""How long a body may take."""
CODES = {
    403: "forbidden", 404: "not_found", 408: "request_timeout", 409: "conflict", 413: "body_too_large",
    503: "unavailable",
}  # fmt: skip
FILTERS = ("model", "tenant", "replica", "outcome")
UNEXPLAINED = {
    "off": (404, "Calls are not remembered here: set `explain.calls`."),
    "forgotten": (410, "That call is forgotten: only the last ones are remembered (`explain.calls`)."),
    "unknown": (404, "No call with that id is remembered. Requests that were refused before they could be decided about"
        " (no key, not understood) have none, and a restart forgets all."),
}  # fmt: skip
"""Why a call cannot be explained: status and message."""
Handler = Callable[[Request], Awaitable[Response]]


class Desk(Protocol):
    """What the admin API needs of the gateway."""

    roster: Roster
    ledger: Ledger | None
    caching: Caching
    key_ring: KeyRing

    def replica_views(self) -> list[ReplicaView]: ...
    def pool_views(self) -> list[PoolView]: ...
    def source_views(self) -> list[SourceView]: ...
    def scale_views(self) -> list[ScaleView]: ...
    def scale_story(self, pool: str, last: int) -> ScaleStory | None: ...
    def noticed(self, pool: str, unit: str, within_s: float | None) -> int: ...
    def account_views(self) -> list[AccountView]: ...
    def counters(self) -> dict[str, int]: ...
    def metrics(self) -> bytes: ...
    def gpus_read(self, replica: str, raw: Any) -> int: ...
    async def fresh(self) -> None: ...
    async def journal_tail(self, last: int) -> Iterable[bytes]: ...
    def scaling_tail(self, last: int) -> Iterable[bytes]: ...
    async def explain(self, id: str) -> Explanation | Unexplained: ...
    async def explain_last(self, last: int, wanted: dict[str, str]) -> list[Short]: ...
    def parse_replica(self, raw: Any) -> tuple[Replica, Access]: ...
    def admin_key_hash(self) -> str | None: ...
    async def reload(self) -> list[str]: ...


def error(status: int, message: str, code: str, **headers: str) -> JSONResponse:
    """An error in the shape of the data port's errors."""
    kinds = {401: "authentication_error", 403: "permission_error", 500: "internal_error", 503: "service_unavailable"}
    kind = kinds.get(status, "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JSONResponse(body, status, headers=headers)


class Guard:
    """Lets a request through only with the admin key, or, where there is none, only from this machine's own tools."""

    def __init__(self, app: ASGIApp, key_hash: Callable[[], str | None]) -> None:
        self.app = app
        self._key_hash = key_hash

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(Request(scope))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        key_hash = self._key_hash()
        if key_hash is not None:
            scheme, _, shown = request.headers.get("authorization", "").partition(" ")
            # headers are read as Latin-1; what was sent are these bytes
            right = hmac.compare_digest(sha256(shown.strip().encode("latin-1")).hexdigest(), key_hash)
            if right and scheme.lower() == "bearer":
                return None
            wanted = {"WWW-Authenticate": "Bearer"}
            return error(401, "The admin API needs 'Authorization: Bearer ADMIN_KEY'.", "unauthorized", **wanted)
        host = request.headers.get("host", "")
        if not is_local_name(host):
            return error(403, f"The admin API does not answer to the host name {host[:100]!r}.", "forbidden")
        origin = request.headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return error(403, "The admin API does not take requests from web pages of other origins.", "forbidden")
        return None


def is_local_name(host: str) -> bool:
    """Whether a Host header names this machine by number or as localhost: a name could be anybody's."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]")
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


async def body_of(request: Request) -> Any:
    """The JSON of a body, bounded in size and time. Raises RosterError."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > MAX_BODY_BYTES:
                    raise RosterError(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise RosterError(408, f"the body did not arrive within {BODY_S:g} s") from None
    try:
        return msgspec.json.decode(bytes(data) or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise RosterError(400, f"the body is not JSON: {wrong}") from None


class _Api:
    """The handlers, over a running gateway."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        """Every path of the admin API."""
        one = "/admin/fleet/{id:path}"
        return [
            Route("/admin/fleet", _said(self.fleet), methods=["GET"]),
            Route("/admin/fleet", _said(self.add), methods=["POST"]),
            Route(f"{one}/drain", _said(self.drain), methods=["POST"]),
            Route(f"{one}/undrain", _said(self.undrain), methods=["POST"]),
            Route(f"{one}/gpus", _said(self.gpus), methods=["POST"]),
            Route(one, _said(self.remove), methods=["DELETE"]),
            Route("/admin/sources", _said(self.sources), methods=["GET"]),
            Route("/admin/queues", _said(self.queues), methods=["GET"]),
            Route("/admin/pools", _said(self.pools), methods=["GET"]),
            Route("/admin/pools/{name:path}/notices", _said(self.notice), methods=["POST"]),
            Route("/admin/pools/{name:path}", _said(self.pool), methods=["GET"]),
            Route("/admin/tenants", _said(self.tenants), methods=["GET"]),
            Route("/admin/counters", _said(self.counters), methods=["GET"]),
            Route("/admin/reload", _said(self.reload), methods=["POST"]),
            Route("/admin/journal", _said(self.journal), methods=["GET"]),
            Route("/admin/explain", _said(self.explain_last), methods=["GET"]),
            Route("/admin/explain/{id:path}", _said(self.explain), methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            *(
                Route(path, _said(ask), methods=["GET"])
                for path, ask in LedgerApi(lambda: self._desk.ledger).handlers().items()
            ),
            *CacheApi(lambda: self._desk.caching, body_of).routes(_said),
            *KeysApi(self._desk, body_of).routes(_said),
        ]

    async def fleet(self, request: Request) -> Response:
        await self._desk.fresh()
        return _json(self._desk.replica_views())

    async def queues(self, request: Request) -> Response:
        await self._desk.fresh()
        return _json(self._desk.pool_views())

    async def tenants(self, request: Request) -> Response:
        await self._desk.fresh()
        return _json(self._desk.account_views())

    async def sources(self, request: Request) -> Response:
        return _json(self._desk.source_views())

    async def pools(self, request: Request) -> Response:
        return _json(self._desk.scale_views())

    async def pool(self, request: Request) -> Response:
        name = request.path_params["name"]
        story = self._desk.scale_story(name, _last(request, "20"))
        if story is None:
            known = ", ".join(view.pool for view in self._desk.scale_views())
            there = f"those that do: {known}" if known else "give one a `scale` block"
            raise RosterError(404, f"there is no pool {name!r} that scales itself; {there}")
        return _json(story)

    async def notice(self, request: Request) -> Response:
        name = request.path_params["name"]
        unit, within_s = posted(await body_of(request), time.time())
        count = self._desk.noticed(name, unit, within_s)
        if not count:
            raise RosterError(404, f"there is no replica {unit!r} that pool {name!r} runs")
        return _json({"pool": name, "noticed": count})

    async def counters(self, request: Request) -> Response:
        await self._desk.fresh()
        return _json(self._desk.counters())

    async def add(self, request: Request) -> Response:
        replica, access = self._desk.parse_replica(await body_of(request))
        self._desk.roster.add(replica, access)
        return _json({"added": replica.id}, 201)

    async def drain(self, request: Request) -> Response:
        self._desk.roster.drain(request.path_params["id"])
        return _json({"draining": request.path_params["id"]})

    async def undrain(self, request: Request) -> Response:
        self._desk.roster.drain(request.path_params["id"], False)
        return _json({"serving": request.path_params["id"]})

    async def gpus(self, request: Request) -> Response:
        replica = request.path_params["id"]
        self._desk.roster.must_know(replica)
        return _json({"replica": replica, "gpus": self._desk.gpus_read(replica, await body_of(request))})

    async def remove(self, request: Request) -> Response:
        self._desk.roster.remove(request.path_params["id"])
        return _json({"removed": request.path_params["id"]})

    async def reload(self, request: Request) -> Response:
        return _json({"changes": await self._desk.reload()})

    async def journal(self, request: Request) -> Response:
        of, last = request.query_params.get("of", "calls"), _last(request, "100")
        if of not in ("calls", "scaling"):
            raise ConfigError([f"of: found {of!r}, expected calls or scaling"])
        tail = self._desk.scaling_tail(last) if of == "scaling" else await self._desk.journal_tail(last)
        return Response(b"[" + b",".join(tail) + b"]", media_type="application/json")

    async def explain(self, request: Request) -> Response:
        found = await self._desk.explain(request.path_params["id"])
        return _json(found) if isinstance(found, Explanation) else error(*UNEXPLAINED[found], found)

    async def explain_last(self, request: Request) -> Response:
        asked = dict(request.query_params)
        last = _last(request, "20")
        asked.pop("last", None)
        unknown = [name for name in asked if name not in FILTERS]
        if unknown:
            raise RosterError(400, f"`{unknown[0][:50]}` is no filter: there are {', '.join(FILTERS)}, and `last`")
        return _json(await self._desk.explain_last(last, asked))

    async def metrics(self, request: Request) -> Response:
        await self._desk.fresh()
        return Response(self._desk.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def health(self, request: Request) -> Response:
        return _json({"status": "ok"})


def _last(request: Request, usual: str) -> int:
    """The query's `last`. Raises RosterError."""
    last = request.query_params.get("last", usual)
    if not last.isascii() or not last.isdigit() or len(last) > 5 or not 1 <= int(last) <= 10_000:
        raise RosterError(400, "`last` is a number of entries from 1 to 10000")
    return int(last)


def _said(handler: Handler) -> Handler:
    """The handler, with its mistakes told as answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except RosterError as refused:
            return error(refused.status, str(refused), CODES.get(refused.status, "bad_request"))
        except ConfigError as wrong:
            where = f"{wrong.file}: " if wrong.file else ""
            return error(400, "\n".join(where + mistake for mistake in wrong.mistakes), "bad_config")
        except ClientDisconnect:
            return error(400, "The client left.", "client_gone")

    return answer


def build_admin(desk: Desk) -> Starlette:
    """The admin application over a running gateway. The key is asked for anew each time, so a reload changes it."""
    return _app(_Api(desk).routes(), [Middleware(Guard, key_hash=desk.admin_key_hash)])


def build_metrics(desk: Desk) -> Starlette:
    """Only the metrics: an address of its own that may be open to a cluster's scraper."""
    return _app([Route("/metrics", _Api(desk).metrics, methods=["GET"])], [])


def _app(routes: list[Route], middleware: list[Middleware]) -> Starlette:
    async def not_found(request: Request, reason: Exception) -> Response:
        return error(404, f"There is nothing at {request.url.path[:200]}.", "not_found")

    async def wrong_method(request: Request, reason: Exception) -> Response:
        here = [route.methods or () for route in routes if route.path_regex.match(request.url.path)]
        allow = ", ".join(sorted({method for methods in here for method in methods}))
        return error(405, "This path does not take that method.", "method_not_allowed", Allow=allow)

    async def bug(request: Request, reason: Exception) -> Response:
        return error(500, "An internal error. It was logged.", "internal")

    handlers: dict[Any, Any] = {404: not_found, 405: wrong_method, Exception: bug}
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)
    app.router.redirect_slashes = False  # a redirect would name the Host that was asked for
    return app


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", status, media_type="application/json")
