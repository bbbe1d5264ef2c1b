"""`python -m bench.ledger_cost`: what the ledger costs one request, in instructions, which no other process can change.

A Gate decides about calls in turns of a loop without sockets, read by the meter that every gateway has: without a
ledger, and with one, whose bookings are encoded, checked and written to a file at the end of each turn. Apart from that
the clerk carries such records into SQLite, as many at a time as came in the second since it looked last, and as many as
it takes at once behind an outage. Each is run for two numbers of calls under cachegrind (Valgrind), and
the difference is what one call costs: a start costs nothing that way. Instructions of the kernel (the writes) are not
among them; the processor's time, as far as this machine can tell it, stands beside them.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.core_cost import STEP_S, USAGE, Fleet
from bench.ledger import made
from penstock.adapters.stores.clerk import BATCH, Clerk
from penstock.adapters.stores.database import Database
from penstock.base.nouns import Call
from penstock.core.events import Arrived, Began, Ended, Event
from penstock.drive.journal import Journal
from penstock.drive.pump import raise_bug
from penstock.drive.segments import Segments
from penstock.telemetry.bookings import Bookings
from penstock.telemetry.meter import Meter

WHAT: Final = ("without", "with", "clerk")
CLERKS: Final = ((300, 20), (300, 1_000), (3_000, 20), (3_000, 1_000))
"""Calls a second, and of how many tenants: what the clerk finds when it looks, once a second."""
BATCHES: Final = 6
"""How many more of them the longer run has: the first ones find tables without rows."""
_SUMMARY: Final = re.compile(r"^summary: (\d+)", re.MULTILINE)


def serve(calls: int, together: int, segments: Segments | None) -> float:
    """So many calls, `together` of them in a turn; seconds of CPU."""
    fleet = Fleet("adaptive", 16)
    journal: Journal[Event, Any] = Journal(on_bug=raise_bug)
    journal.observers[:] = [Meter().observe]
    commit = None
    if segments is not None:
        bookings = Bookings(segments, lambda _: None)
        journal.observers.append(bookings.observe)
        commit = bookings.commit
    on, observe, now = fleet.gate.on, journal.observe, fleet.now
    before = time.thread_time()
    for number in range(calls):
        name = f"0123abcd-{number}"
        call = Call(
            id=name, model="model", client_id=f"request-{number:012}", tenant="acme", key="web", stream=True,
            prompt_tokens=100, max_tokens=50,
        )  # fmt: skip
        facts: tuple[Event, ...] = (Arrived(call), Began(name, 1), Ended(name, 1, 200, USAGE, 50))
        for fact in facts:
            now += STEP_S
            observe(now, fact, on(fact, now))
        if commit is not None and number % together == together - 1:
            commit()
    return time.thread_time() - before


def prepare(folder: Path, calls: int, per_s: int, tenants: int) -> None:
    """A journal of so many calls, so many a second."""
    segments = Segments(folder / "journal", segment_bytes=1 << 30)
    for record in made(calls, 1, tenants, per_s):
        segments.put(*record)
        segments.commit()
    segments.close()


def carry(folder: Path, per_s: int) -> float:
    """The journal into a database, a second's calls at a time; seconds of CPU."""
    segments = Segments(folder / "journal")
    clerk = Clerk(segments, Database(f"sqlite:///{folder}/ledger.db", 0), most=min(per_s, BATCH))
    clerk.turn()  # makes the tables
    before, first = time.thread_time(), clerk.written
    while clerk.turn():
        pass
    used_s = time.thread_time() - before
    segments.close()
    assert not clerk.away, clerk.away
    return used_s / (clerk.written - first)


def run(what: str, calls: int, together: int, folder: Path) -> float:
    """One of them; seconds of CPU a call. Of the clerk `together` are a second's."""
    if what == "clerk":
        return carry(folder, together)
    segments = Segments(folder) if what == "with" else None
    try:
        return serve(calls, together, segments) / calls
    finally:
        if segments is not None:
            segments.close()


def instructions(what: str, calls: int, together: int, tenants: int = 0) -> int:
    """Of a process that does it, all threads together."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        if tenants:
            prepare(Path(name), calls, together, tenants)
        words = ["--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out}"]
        own = ["--what", what, "--calls", str(calls), "--together", str(together), "--folder", name]
        subprocess.run(
            ["valgrind", *words, sys.executable, "-m", "bench.ledger_cost", "run", *own], check=True,
            capture_output=True, env={"PYTHONHASHSEED": "0"}, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        found = _SUMMARY.search(out.read_text())
        assert found is not None
        return int(found[1])


def seconds(what: str, calls: int, together: int, tenants: int = 0) -> float:
    """The least of three, a call."""
    found = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as name:
            if tenants:
                prepare(Path(name), calls, together, tenants)
            found.append(run(what, calls, together, Path(name)))
    return min(found)


def compare(calls: int, together: tuple[int, ...]) -> dict[str, Any]:
    """Thousands of instructions, and microseconds, that one call costs."""
    kilo: dict[str, float] = {}
    micro: dict[str, float] = {}
    for what in ("without", "with"):
        instructions(what, 1, 1)  # what is imported is compiled by the first who does
    instructions("clerk", 2, 1, 1)
    loop = [("without", "without", 1), *((f"with, {size} a turn", "with", size) for size in together)]
    for name, what, turns in loop:
        difference = instructions(what, calls, turns) - instructions(what, calls // 4, turns)
        kilo[name] = round(difference / (calls - calls // 4) / 1e3, 2)
        micro[name] = round(seconds(what, calls, turns) * 1e6, 2)
    for per_s, tenants in CLERKS:
        name = f"clerk, {per_s:,} a second of {tenants:,} tenants"
        few, many = 2 * per_s, (2 + BATCHES) * per_s
        difference = instructions("clerk", many, per_s, tenants) - instructions("clerk", few, per_s, tenants)
        kilo[name] = round(difference / (many - few) / 1e3, 2)
        micro[name] = round(seconds("clerk", many, per_s, tenants) * 1e6, 2)
    rate = kilo["without"] / micro["without"]
    less = {name: kilo["without"] if name.startswith("with") else 0.0 for name in kilo}
    return {
        "kilo_instructions": kilo, "us_cpu": micro, "kilo_instructions_a_us": round(rate, 2),
        "us_by_instructions": {name: round((value - less[name]) / rate, 2) for name, value in kilo.items()},
    }  # fmt: skip


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger_cost", description=__doc__)
    parser.add_argument("do", nargs="?", choices=("compare", "run"), default="compare")
    parser.add_argument("--what", choices=WHAT, default="with")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--together", type=int, default=1, help="calls that end in one turn, or second (of `run`)")
    parser.add_argument("--folder", type=Path, help="where `run` works; of the clerk: there is a journal")
    asked = parser.parse_args()
    if asked.do == "run":
        print(run(asked.what, asked.calls, asked.together, asked.folder))
    else:
        print(json.dumps(compare(asked.calls, (1, 4, 16)), indent=1))


if __name__ == "__main__":
    main()
