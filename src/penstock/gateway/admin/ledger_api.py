"""The ledger's part of the admin API: sums of what was spent, times, what the fleet costs, and calls.

Questions are answered by threads, over the connections of a pool: neither calls nor the rest of the API wait for them.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from penstock.adapters.stores.moments import moment
from penstock.gateway.fleet.roster import RosterError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from penstock.adapters.stores.asking import Span
    from penstock.gateway.ledger import Ledger

Handler = Callable[[Request], Awaitable[Response]]
USUAL_SINCE: Final = "30d"
MOST: Final = 1_000


class LedgerApi:
    """The handlers, over the ledger of a running gateway."""

    def __init__(self, ledger: "Callable[[], Ledger | None]") -> None:
        self._ledger_now = ledger

    def handlers(self) -> dict[str, Handler]:
        """Path -> who answers a GET there."""
        return {
            "/admin/ledger": self.state,
            "/admin/ledger/top": self.top,
            "/admin/ledger/latency": self.latency,
            "/admin/ledger/fleet": self.fleet,
            "/admin/ledger/calls": self.calls,
            "/admin/ledger/calls/{id:path}": self.call,
        }

    def _ledger(self) -> "Ledger":
        ledger = self._ledger_now()
        if ledger is None:
            raise RosterError(404, "There is no ledger here: give the configuration a `ledger` block.")
        return ledger

    async def _ask(self, question: "Callable[[Connection], Any]") -> Response:
        from penstock.adapters.stores.database import Away

        ledger = self._ledger()

        def asked() -> Any:
            with ledger.database.reading() as connection:
                return question(connection)

        try:
            return _json(await run_in_threadpool(asked))
        except Away as away:
            raise RosterError(503, f"The ledger's database does not answer: {away}") from None

    async def state(self, request: Request) -> Response:
        return _json(self._ledger().state())

    async def top(self, request: Request) -> Response:
        from penstock.adapters.stores import asking

        self._ledger()
        asked = _Asked(request, "by", "order", "since", "tenant", "key", "model", "count")
        by = tuple(_one_of(name, asking.BY, "by") for name in asked.text("by", "tenant").split(","))
        order, span, most = _one_of(asked.text("order", "cost"), asking.ORDERS, "order"), asked.span(), asked.count(20)
        return await self._ask(lambda connection: asking.spent(connection, by, span, order, most))

    async def latency(self, request: Request) -> Response:
        from penstock.adapters.stores import asking

        self._ledger()
        asked = _Asked(request, "by", "since", "tenant", "model", "count")
        by, span, most = _one_of(asked.text("by", "tenant"), asking.WHOSE, "by"), asked.span(), asked.count(20)
        return await self._ask(lambda connection: asking.quickness(connection, by, span, most))

    async def fleet(self, request: Request) -> Response:
        from penstock.adapters.stores import asking

        self._ledger()
        span = _Asked(request, "since").span()
        return await self._ask(lambda connection: asking.fleet(connection, span))

    async def calls(self, request: Request) -> Response:
        from penstock.adapters.stores.database import Away
        from penstock.adapters.stores.history import Which, place, user_named

        ledger = self._ledger()
        asked = _Asked(request, "tenant", "key", "user", "since", "before", "count")
        before = asked.given("before")
        try:
            behind = None if before is None else place(before)
        except ValueError as wrong:
            raise RosterError(400, f"`before`: {wrong}") from None
        begins = None if asked.given("since") is None else round(asked.since() * 1e6)
        user = asked.given("user")
        whose = None if user is None else user_named(user)
        which, most = Which(asked.given("tenant"), asked.given("key"), begins, None, behind, whose), asked.count(50)
        try:
            page = await run_in_threadpool(ledger.pages.page, which, most, time.monotonic())
        except Away as away:
            raise RosterError(503, f"The ledger's database does not answer: {away}") from None
        told = _json(page)
        told.background = BackgroundTask(ledger.pages.look_ahead, which, page, most, time.monotonic())
        return told

    async def call(self, request: Request) -> Response:
        from penstock.adapters.stores.history import one

        wanted = request.path_params["id"]

        def found(connection: "Connection") -> Any:
            told = None if "\0" in wanted else one(connection, wanted)
            if told is None:
                raise RosterError(
                    404, f"There is no call {wanted[:100]!r} in the ledger (rows come up to a second late)."
                )
            return told

        return await self._ask(found)


class _Asked:
    """The query of a request. Raises RosterError for what is no question."""

    def __init__(self, request: Request, *known: str) -> None:
        self._given = dict(request.query_params)
        unknown = [name for name in self._given if name not in known]
        if unknown:
            raise RosterError(400, f"`{unknown[0][:50]}` is unknown here: there are {', '.join(known)}")
        for name, value in self._given.items():
            if "\0" in value:  # no name has one, and PostgreSQL takes none
                raise RosterError(400, f"`{name}`: a NUL is in it")

    def given(self, name: str) -> str | None:
        return self._given.get(name)

    def text(self, name: str, usual: str) -> str:
        return self._given.get(name, usual)

    def count(self, usual: int) -> int:
        text = self.text("count", str(usual))
        if not text.isascii() or not text.isdigit() or len(text) > 5 or not 1 <= int(text) <= MOST:
            raise RosterError(400, f"`count` is a number from 1 to {MOST}")
        return int(text)

    def since(self) -> float:
        try:
            return moment(self.text("since", USUAL_SINCE), time.time())
        except ValueError as wrong:
            raise RosterError(400, f"`since`: {wrong}") from None

    def span(self) -> "Span":
        from penstock.adapters.stores.asking import until_now

        return until_now(self.since(), time.time(), self.given("tenant"), self.given("key"), self.given("model"))


def _one_of(name: str, known: tuple[Any, ...], field: str) -> Any:
    if name not in known:
        raise RosterError(400, f"`{field}`: {name[:50]!r} is none of {', '.join(known)}")
    return name


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", media_type="application/json")
