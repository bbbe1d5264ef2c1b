"""`python -m bench.ledger`: what the ledger costs and promises, measured.

`rows`: fills a ledger with so many calls of a thousand tenants in a month, by the way that the gateway's own rows
take from the journal into the database, and then asks it: how fast the last million came in, with all indexes there,
how long a page of a user's history and a month's sums by user take, and how the database finds them.

`kills`: a gateway over emulated engines is killed at random moments under load, started again on the same folder, and
so on; then its rows are compared with what clients were answered.

`away`: a PostgreSQL is killed under load, and comes back after so many seconds.

`gateway`: the same of a real gateway, by thread, with a ledger and without.

`path`: what the ledger adds to the path of a call, in a loop without sockets: booking, and a commit every few calls.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from penstock.adapters.stores import asking, history
from penstock.adapters.stores.clerk import BATCH
from penstock.adapters.stores.database import Database
from penstock.adapters.stores.sums import DAY
from penstock.adapters.stores.writing import Writer
from penstock.base.entries import CALL, Entry
from penstock.base.nouns import CallRow, Usage
from penstock.core.effects import Record as RecordOrder
from penstock.core.effects import Send
from penstock.core.events import Woke
from penstock.drive.segments import Record, Segments
from penstock.telemetry.bookings import Bookings

DAYS = 31
BEGIN_DAY = 20_423
"""2025-12-01."""
TENANTS, MODELS = 1_000, 5
REPLICAS = [f"10.0.0.{number}:8000" for number in range(16)]
USERS = [f"{number * 2_654_435_761 % 2**64:016x}" for number in range(997)]
DRAWN = 10_000
"""Sizes and tenants that are drawn together."""
REPEATS = 50
ARRIVING = 500
"""Rows a second, at which what has waited comes in at least."""


def made(count: int, seed: int, tenants: int = TENANTS, per_s: float | None = None) -> Iterator[Record]:
    """Records of so many calls, in the order in which they ended: tenants by Zipf's law, keys of two names each. They
    fill a month, or come at so many a second."""
    rng = Random(seed)
    names = [(f"tenant-{n:04}", f"key-{n:04}-0", f"key-{n:04}-1", f"model-{n % MODELS}") for n in range(tenants)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, tenants + 1)))
    sizes = [
        (rng.randrange(20, 4_000), rng.randrange(1, 800), rng.lognormvariate(0.7, 0.8)) for _ in range(DRAWN)
    ]  # fmt: skip
    encode, getrandbits = msgspec.json.Encoder().encode, rng.getrandbits
    apart_s = DAYS * 86_400 / count if per_s is None else 1 / per_s
    who: Iterator[tuple[str, str, str, str]] = iter(())
    for number in range(count):
        if number % DRAWN == 0:
            who = iter(rng.choices(names, cum_weights=weights, k=DRAWN))
            rng.shuffle(sizes)
        (tenant, *keys, model), (prompt, completion, latency_s) = next(who), sizes[number % DRAWN]
        row = CallRow(
            f"{number // 500_000:016x}-{number % 500_000 + 1}", f"req-{getrandbits(64):016x}" if number % 2 else "",
            BEGIN_DAY * 86_400 + apart_s * number + (number * 7 % 10) / 10, tenant, keys[number & 1], model,
            "/v1/chat/completions", "default", REPLICAS[number % len(REPLICAS)], "ok", 200, number % 3 > 0, 2, 1,
            latency_s, latency_s / 10, 0.01, Usage(prompt, completion, prompt // 3), completion, "", 0,
            (prompt * 0.6 + completion * 0.8) / 1e6, None, msgspec.UNSET, USERS[number % len(USERS)],
        )  # fmt: skip
        yield Record(CALL, encode(Entry(row, "eu-west")))


def fill(database: Database, count: int, last: int) -> dict[str, Any]:
    """Write them; rows a second over the last ones."""
    writer = Writer(database)
    batch: list[Record] = []
    busy_s = last_s = 0.0
    cpu_s = last_cpu_s = 0.0
    for number, record in enumerate(made(count, 1), 1):
        batch.append(record)
        if len(batch) == BATCH or number == count:
            began, cpu = time.perf_counter(), time.thread_time()
            writer.write(batch)
            took, used = time.perf_counter() - began, time.thread_time() - cpu
            busy_s, cpu_s = busy_s + took, cpu_s + used
            if number > count - last:
                last_s, last_cpu_s = last_s + took, last_cpu_s + used
            batch = []
        if number % 500_000 == 0:
            print(f"  {number:,} rows, {number / busy_s:,.0f} a second so far", file=sys.stderr, flush=True)
    return {
        "rows": count, "rows_per_s": round(count / busy_s), "last_rows": last, "last_rows_per_s": round(last / last_s),
        "last_rows_per_cpu_s": round(last / last_cpu_s), "us_cpu_per_row": round(last_cpu_s / last * 1e6, 1),
    }  # fmt: skip


def timed(ask: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of a question."""
    took = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1e3)
    return {"first": round(took[0], 2), "median": round(statistics.median(took), 2), "worst": round(max(took), 2)}


def plan(connection: Any, query: Any) -> list[str]:
    """How the database finds it."""
    text = str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    if connection.dialect.name == "sqlite":
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    return [row[0] for row in connection.exec_driver_sql("EXPLAIN " + text.replace("%", "%%"))]


def ask(database: Database) -> dict[str, Any]:
    """How long the questions of users take."""
    rng = Random(2)
    month = asking.Span(BEGIN_DAY, BEGIN_DAY + DAYS - 1)
    found: dict[str, Any] = {}
    own = month
    with database.reading() as connection:
        own_id = connection.exec_driver_sql("SELECT client_id FROM calls WHERE n = 20").scalar_one()
        for name, tenant in (("busiest", "tenant-0000"), ("middle", "tenant-0500")):
            first = history.Which(tenant=tenant)

            def deep(tenant: str = tenant) -> object:
                at = (BEGIN_DAY * DAY) + rng.randrange(DAYS * DAY)
                return history.page_of(connection, history.Which(tenant=tenant, before=(at, 0)))

            found[f"page of the {name} tenant"] = timed(lambda first=first: history.page_of(connection, first))  # type: ignore[misc]
            found[f"page of the {name} tenant, anywhere"] = timed(deep)
            own = asking.Span(month.first, month.last, tenant=tenant)
            found[f"month of the {name} tenant, by day"] = timed(
                lambda own=own: asking.spent(connection, ("day",), own, "cost", 31)  # type: ignore[misc]
            )
            found[f"p95 of the {name} tenant's month"] = timed(
                lambda own=own: asking.quickness(connection, "tenant", own)  # type: ignore[misc]
            )
        found["page of an end user, anywhere"] = timed(
            lambda: history.page_of(connection, history.Which(
                user=rng.choice(USERS), before=(BEGIN_DAY * DAY + rng.randrange(DAYS * DAY), 0)
            ))
        )  # fmt: skip
        middle = (BEGIN_DAY * DAY + DAYS * DAY // 2, 0)
        loose = asking.Span(month.first + 1, month.last)
        found["thirty days by tenant, all of them"] = timed(
            lambda: asking.spent(connection, ("tenant",), loose, "cost", 1000)
        )
        found["month by tenant, all of them"] = timed(
            lambda: asking.spent(connection, ("tenant",), month, "cost", 1000)
        )
        found["month by model"] = timed(lambda: asking.spent(connection, ("model",), month))
        found["one call by its id"] = timed(lambda: history.one(connection, f"{0:016x}-77"))
        found["one call by its client's id"] = timed(lambda: history.one(connection, own_id))
        found["a call that is not there"] = timed(lambda: history.one(connection, "nobody's"))
        plans = {
            "page": plan(connection, history.query(history.Which(tenant="tenant-0500", before=middle))),
            "page of an end user": plan(connection, history.query(history.Which(user=USERS[3], before=middle))),
            "month by tenant": plan(connection, asking.spending(("tenant",), month)),
            "thirty days by tenant": plan(connection, asking.spending(("tenant",), loose)),
            "one tenant by day": plan(connection, asking.spending(("day",), own)),
        }
    return {"ms": found, "plans": plans}


def rows(asked: argparse.Namespace) -> dict[str, Any]:
    """Fill one, ask it."""
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        database = Database(asked.database or f"sqlite:///{folder}/ledger.db", 0)
        database.migrate()
        filled = fill(database, asked.rows, min(asked.last, asked.rows))
        if not database.is_sqlite:
            with database.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
        answers = ask(database)
        size = size_of(database, Path(folder))
        database.close()
    return {"filled": filled, "mb": round(size / 1e6), **answers}


def size_of(database: Database, folder: Path) -> int:
    """Bytes on disk."""
    if database.is_sqlite:
        return sum(path.stat().st_size for path in folder.iterdir())
    with database.reading() as connection:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())


def path(asked: argparse.Namespace) -> dict[str, Any]:
    """Microseconds of CPU that a call costs on the loop's thread, by how many calls end in one turn."""
    found: dict[str, Any] = {}
    row = msgspec.json.decode(next(made(1, 1)).payload, type=Entry).row
    for together in (1, 4, 16):
        best = float("inf")
        for _ in range(asked.rounds):
            with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                segments = Segments(Path(folder))
                bookings = Bookings(segments, lambda _: None)
                sent, over = [Send(row.id, 1, row.replica, "m", 1.0, 1.0, 1.0, 0.0)], [RecordOrder(row)]
                fact = Woke()
                before = time.thread_time()
                for number in range(asked.calls):
                    bookings.observe(1.0, fact, sent)  # type: ignore[arg-type]
                    bookings.observe(1.0, fact, [])
                    bookings.observe(1.0, fact, over)  # type: ignore[arg-type]
                    if number % together == together - 1:
                        bookings.commit()
                best = min(best, (time.thread_time() - before) / asked.calls * 1e6)
                segments.close()
        found[f"{together} a turn"] = round(best, 2)
    return {"us_cpu_per_call": found}


def threads_s(pid: int) -> dict[str, float]:
    """CPU seconds of a process's threads: the first, which is the loop's, and all others together."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = {"loop": 0.0, "others": 0.0}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(") ")[2].split()
        found["loop" if task.name == str(pid) else "others"] += (int(fields[11]) + int(fields[12])) / ticks
    return found


def gateway(asked: argparse.Namespace) -> dict[str, Any]:
    """Microseconds of CPU that a call costs a real gateway, by thread, with a ledger and without one, in turn."""
    from tests.helpers.processes import Emulators, Gateway, ending
    from tests.helpers.traffic import Traffic, pool, ready
    from tests.helpers.wire import run

    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        with ending(engines := Emulators(folder, 1.0, 1.0)):
            plain = {"pools": [pool(*engines.urls)], "log": {"access": False}}
            kept = {**plain, "ledger": {"folder": str(folder / "ledger")}}
            with ending(off := Gateway(folder, plain, name="off"), on := Gateway(folder, kept, name="on")):

                async def measure(which: Gateway, label: str) -> None:
                    await ready(which, 2)
                    traffic = Traffic(which, 16)
                    async with traffic.flowing():
                        await traffic.more(200)
                        before, calls = threads_s(which.pid), len(traffic.answers)
                        await traffic.more(asked.calls)
                        after, calls = threads_s(which.pid), len(traffic.answers) - calls
                    for thread in before:
                        spent = (after[thread] - before[thread]) / calls * 1e6
                        found.setdefault(f"{label}, {thread}", []).append(round(spent, 1))

                for _ in range(asked.rounds):
                    run(lambda: measure(off, "off"), 300.0)
                    run(lambda: measure(on, "on"), 300.0)
    return {
        "us_cpu_per_call": {
            label: {"median": statistics.median(values), "all": values} for label, values in found.items()
        }
    }


def away(asked: argparse.Namespace) -> dict[str, Any]:
    """A PostgreSQL is killed under load and comes back after so long; what clients noticed, and what arrived."""
    from tests.helpers import postgres
    from tests.helpers.outages import Outage, arrived
    from tests.helpers.processes import Emulators, Gateway, ending
    from tests.helpers.traffic import pool

    with tempfile.TemporaryDirectory(dir=asked.folder) as name, postgres.running() as server:
        folder = Path(name)
        with ending(engines := Emulators(folder, 1.0, 1.0)):
            tree = {"pools": [pool(*engines.urls)], "ledger": {"folder": str(folder / "own"), "database": server.url}}
            with ending(gateway := Gateway(folder, tree)):
                outage = Outage(gateway, server.kill, server.start)
                calls = outage.go(asked.seconds, 300.0)
                began = time.monotonic()
                arrived(gateway, server.url, calls, 60.0 + calls / ARRIVING)
    return {
        "calls": calls, "arrived_after_s": round(time.monotonic() - began, 1),
        "journal_mb": round(outage.most_waiting_bytes / 1e6, 1),
        **{phase: seen._asdict() for phase, seen in outage.phases.items()},
    }  # fmt: skip


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("what", choices=("rows", "path", "gateway", "kills", "away"))
    parser.add_argument("--database", help="URL of an empty PostgreSQL database, for `rows` and `kills`; none: SQLite")
    parser.add_argument("--postgres", action="store_true", help="`kills`: over a PostgreSQL that is started for it")
    parser.add_argument("--workers", type=int, default=1, help="`kills`: of each gateway")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--last", type=int, default=1_000_000, help="the rate is that of the last so many rows")
    parser.add_argument("--folder", type=Path, help="where temporary files go; ten million rows need 6 GB")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the database is away")
    asked = parser.parse_args()
    chosen = {"rows": rows, "path": path, "gateway": gateway, "kills": kills, "away": away}[asked.what]
    print(json.dumps(chosen(asked), indent=1))


def kills(asked: argparse.Namespace) -> dict[str, Any]:
    """Kill a gateway over and over; what clients were answered, and what is in the ledger."""
    from tests.helpers import postgres
    from tests.helpers.lives import Lives

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=asked.folder))
        named = stack.enter_context(postgres.server()) if asked.postgres else asked.database
        url = named or f"sqlite:///{folder}/ledger/ledger.db"
        lives = Lives(Path(folder), seed=1, workers=asked.workers, **({"database": url} if named else {}))
        lives.run(asked.kills)
        base = Database(url, 0)
        try:
            with base.reading() as connection:
                query = connection.exec_driver_sql
                found = [name for (name,) in query("SELECT client_id FROM calls WHERE client_id <> ''")]
                sums = int(query("SELECT sum(calls) FROM days").scalar_one())
                count = int(query("SELECT count(*) FROM calls").scalar_one())
                kind = connection.dialect.name
        finally:
            base.close()
    return {
        "database": kind, "workers": asked.workers, "kills": asked.kills,
        "answered": len(lives.answered), "lost": len(set(lives.answered) - set(found)),
        "doubled": len(found) - len(set(found)), "rows": count, "sum_of_days": sums,
    }  # fmt: skip


if __name__ == "__main__":
    main()
