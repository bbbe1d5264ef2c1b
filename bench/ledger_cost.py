"""`python -m bench.ledger_cost`: what the ledger costs one request, in instructions, which no other process can change.

A Gate decides about calls in turns of a loop without sockets, read by the meter that every gateway has: without a
ledger, and with one, whose bookings are encoded, checked and written to a file at the end of each turn. Apart from that
the clerk carries the same records into SQLite. Each is run for two numbers of calls under cachegrind (Valgrind), and
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


def carry(calls: int, folder: Path) -> float:
    """A journal of so many calls into a database; seconds of CPU."""
    segments = Segments(folder / "journal", segment_bytes=1 << 30)
    for record in made(calls, 1):
        segments.put(*record)
        segments.commit()
    clerk = Clerk(segments, Database(f"sqlite:///{folder}/ledger.db", 0))
    before = time.thread_time()
    while clerk.turn():
        pass
    used_s = time.thread_time() - before
    assert clerk.written == calls, clerk.away
    segments.close()
    return used_s


def run(what: str, calls: int, together: int) -> float:
    """One of them; seconds of CPU."""
    with tempfile.TemporaryDirectory() as name:
        if what == "clerk":
            return carry(calls, Path(name))
        segments = Segments(Path(name)) if what == "with" else None
        try:
            return serve(calls, together, segments)
        finally:
            if segments is not None:
                segments.close()


def instructions(what: str, calls: int, together: int) -> int:
    """Of a process that does it, all threads together."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        words = ["--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out}"]
        own = ["-m", "bench.ledger_cost", "run", "--what", what, "--calls", str(calls), "--together", str(together)]
        subprocess.run(
            ["valgrind", *words, sys.executable, *own], check=True, capture_output=True, env={"PYTHONHASHSEED": "0"},
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        found = _SUMMARY.search(out.read_text())
        assert found is not None
        return int(found[1])


def compare(calls: int, together: tuple[int, ...]) -> dict[str, Any]:
    """Thousands of instructions, and microseconds, that one call costs."""
    kilo: dict[str, float] = {}
    micro: dict[str, float] = {}
    for what in WHAT:
        instructions(what, 1, 1)  # what is imported is compiled by the first who does
    for what, turns in [("without", 1), *(("with", size) for size in together), ("clerk", 1)]:
        # the clerk's batches must be as large as under load, and as many
        few, many = (BATCH, 2 * BATCH) if what == "clerk" else (calls // 4, calls)
        name = f"with, {turns} a turn" if what == "with" else what
        difference = instructions(what, many, turns) - instructions(what, few, turns)
        kilo[name] = round(difference / (many - few) / 1e3, 2)
        micro[name] = round(min(run(what, many, turns) for _ in range(3)) / many * 1e6, 2)
    rate = kilo["without"] / micro["without"]
    added = {
        name: round((value - kilo["without"]) / rate, 2) for name, value in kilo.items() if name.startswith("with,")
    }
    return {
        "kilo_instructions": kilo, "us_cpu": micro, "kilo_instructions_a_us": round(rate, 2),
        "us_by_instructions": {**added, "clerk": round(kilo["clerk"] / rate, 2)},
    }  # fmt: skip


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger_cost", description=__doc__)
    parser.add_argument("do", nargs="?", choices=("compare", "run"), default="compare")
    parser.add_argument("--what", choices=WHAT, default="with")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--together", type=int, default=1, help="calls that end in one turn (of `run`)")
    asked = parser.parse_args()
    if asked.do == "run":
        print(run(asked.what, asked.calls, asked.together))
    else:
        print(json.dumps(compare(asked.calls, (1, 4, 16)), indent=1))


if __name__ == "__main__":
    main()
