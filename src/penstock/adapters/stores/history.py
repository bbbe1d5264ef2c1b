"""Single calls out of the ledger: page by page, one of them, or all of a time.

Pages are read by key (`at` and `n` of the last call that was shown), never by counting what was shown before, so a page
costs the same wherever it is. Once a page is told the next one is read as well: who leafs on finds it there.
"""

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from threading import Lock
from typing import Any, Final

from msgspec import Struct, json, structs
from sqlalchemy import ColumnElement, Connection, Select, delete, func, literal_column, select, tuple_

from penstock.adapters.stores.database import Away, Database
from penstock.adapters.stores.rows import HOUR, MICROS, NANOS
from penstock.adapters.stores.tables import calls, overheads

PAGE: Final = 50
MOST_PAGE: Final = 1_000
_MOST: Final = 1 << 63
"""Places are below it: a database's whole number has so much room."""
MOST_AHEAD: Final = 64
"""Next pages that are kept for who may ask for them."""
AHEAD_S: Final = 30.0
CHUNK: Final = 5_000
HOURS: Final = 500
"""In which the call of a client's id is looked for at once."""
Row = dict[str, Any]
_HEX: Final = frozenset("0123456789abcdef")
_TIMES: Final = ("latency", "ttft", "queue")


class Which(Struct, frozen=True):
    """Which calls, the newest first."""

    tenant: str | None = None
    key: str | None = None
    since: int | None = None
    """Microseconds since the epoch."""
    until: int | None = None
    before: tuple[int, int] | None = None
    """Behind this place: `at` and `n` of the last call that was shown."""
    user: str | None = None
    """The digest of the end user that the client named."""


def user_named(text: str) -> str:
    """The digest of an end user by the name that clients send (as JSON has it without escapes), or by that digest."""
    if len(text) == 16 and not set(text) - _HEX:
        return text
    return blake2b(json.encode(text), digest_size=8).hexdigest()


class Page(Struct, frozen=True, kw_only=True):
    """Some calls, and where the next ones are."""

    calls: list[Row]
    next: str | None
    """To be given as `before`; None: there are no more."""


def query(which: Which, most: int = PAGE) -> Select[Any]:
    """The query for a page."""
    wanted: list[ColumnElement[bool]] = []
    for name in ("tenant", "key"):
        value = getattr(which, name)
        if value is not None:
            wanted.append(calls.c[name] == value)
    if which.user is not None:  # who names none is not in the index, and databases must be told so
        wanted += [calls.c.end_user == which.user, calls.c.end_user != literal_column("''")]
    if which.since is not None:
        wanted.append(calls.c.at >= which.since)
    if which.until is not None:
        wanted.append(calls.c.at < which.until)
    if which.before is not None:
        wanted.append(tuple_(calls.c.at, calls.c.n) < which.before)
    return select(calls).where(*wanted).order_by(calls.c.at.desc(), calls.c.n.desc()).limit(most)


def shown(row: Any) -> Row:
    """A call as people read it: seconds and money, not microseconds and billionths."""
    found: Row = dict(row._mapping)
    del found["n"], found["hour"]
    found["at"] /= MICROS
    for name in _TIMES:
        value = found.pop(name)
        found[f"{name}_s"] = None if value is None else value / MICROS
    found["cost"] /= NANOS
    return found


def place(text: str) -> tuple[int, int]:
    """A place as a page names it. Raises ValueError."""
    at, _, n = text.partition("-")
    if at.isascii() and at.isdigit() and n.isascii() and n.isdigit() and len(text) <= 40:
        if int(at) < _MOST and int(n) < _MOST:
            return int(at), int(n)
    raise ValueError(f"{text[:50]!r} is no place in the list: take `next` of the page before")


def page_of(connection: Connection, which: Which, most: int = PAGE) -> Page:
    """One page."""
    rows = connection.execute(query(which, most + 1)).all()
    part = rows[:most]
    after = f"{part[-1].at}-{part[-1].n}" if len(rows) > most else None
    return Page(calls=[shown(row) for row in part], next=after)


class Pages:
    """Pages of one database for many who leaf through them. May be used by several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        self._ahead: OrderedDict[tuple[Which, int], tuple[float, Page]] = OrderedDict()
        self.hits = 0
        """Pages that were there before they were asked for."""

    def page(self, which: Which, most: int, now: float) -> Page:
        """A page; where it was read ahead in the last half minute, that one. Raises Away."""
        with self._lock:
            found = self._ahead.pop((which, most), None)
        if found is not None and now - found[0] < AHEAD_S:
            self.hits += 1
            return found[1]
        with self._database.reading() as connection:
            return page_of(connection, which, most)

    def look_ahead(self, which: Which, page: Page, most: int, now: float) -> None:
        """Read the page behind this one, and keep it for half a minute. A database that is away is none's concern."""
        if page.next is None:
            return
        behind = structs.replace(which, before=place(page.next))
        try:
            with self._database.reading() as connection:
                following = page_of(connection, behind, most)
        except Away:
            return
        with self._lock:
            self._ahead[behind, most] = (now, following)
            while len(self._ahead) > MOST_AHEAD:
                self._ahead.popitem(last=False)


class Told(Struct, frozen=True, kw_only=True):
    """One call, with the attempts that nobody was billed for."""

    call: Row
    overhead: list[Row]


def one(connection: Connection, id: str) -> Told | None:
    """The call of this id, ours or its client's (of several the last); None: there is none."""
    found = connection.execute(select(calls).where(calls.c.id == id)).one_or_none()
    if found is None and id:
        found = _by_client_id(connection, id)
    if found is None:
        return None
    lost = select(overheads).where(overheads.c.call == found.id).order_by(overheads.c.attempt)
    return Told(call=shown(found), overhead=[_lost(row) for row in connection.execute(lost)])


def _by_client_id(connection: Connection, id: str) -> Any:
    """The last one of this id: hour by hour back to the first, some hundreds in one question."""
    # each for itself: SQLite reads one end of an index for one of them, and all of it for both
    first, last = (connection.execute(select(end(calls.c.at))).scalar_one() for end in (func.min, func.max))
    if first is None or last is None:
        return None
    first, last = first // HOUR, last // HOUR
    mine = select(calls).where(calls.c.client_id == id, calls.c.client_id != "")
    for begin in range(last, first - 1, -HOURS):
        hours = range(begin, max(begin - HOURS, first - 1), -1)
        query = mine.where(calls.c.hour.in_(hours)).order_by(calls.c.n.desc()).limit(1)
        found = connection.execute(query).one_or_none()
        if found is not None:
            return found
    return None


def _lost(row: Any) -> Row:
    found: Row = dict(row._mapping)
    found["at"] /= MICROS
    found["took_s"] = found.pop("took") / MICROS
    return found


def every(connection: Connection, since: int, until: int, tenant: str | None = None) -> Iterator[Any]:
    """All calls of a time, the oldest first, a few thousand in memory."""
    after = (since, -1)
    while True:
        wanted = [tuple_(calls.c.at, calls.c.n) > after, calls.c.at < until]
        if tenant is not None:
            wanted.append(calls.c.tenant == tenant)
        rows = connection.execute(select(calls).where(*wanted).order_by(calls.c.at, calls.c.n).limit(CHUNK)).all()
        yield from rows
        if len(rows) < CHUNK:
            return
        after = (rows[-1].at, rows[-1].n)


def forget(connection: Connection, before: int, most: int = CHUNK) -> int:
    """Delete the oldest calls of before that time (microseconds), at most so many, and what was lost beside them; how
    many rows went. The sums per day stay, and what the fleet cost."""
    old = select(calls.c.n).where(calls.c.at < before).order_by(calls.c.at).limit(most)
    count = connection.execute(delete(calls).where(calls.c.n.in_(old))).rowcount
    return count + connection.execute(delete(overheads).where(overheads.c.at < before)).rowcount
