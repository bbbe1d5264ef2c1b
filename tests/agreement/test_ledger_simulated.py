"""The ledger over simulated engines where everything goes wrong: what its rows say is what the engines told."""

from pathlib import Path

import pytest

from penstock.adapters.stores.rows import COLUMNS, OF_OVERHEADS, calls_of, overheads_of
from penstock.config.scenarios import read_scenario
from penstock.config.workloads import reader
from penstock.core.effects import Effect, Record, Send
from penstock.core.events import Ended, Event
from penstock.drive.segments import Reader, Segments
from penstock.sim.run import Run
from penstock.telemetry.bookings import Bookings
from penstock.workload.combine import Workload
from tests.helpers.golden import SCENARIOS


@pytest.mark.parametrize("name", ["everything goes wrong", "second attempts"])
def test_rows_are_what_engines_told(tmp_path: Path, name: str) -> None:
    """Every call once; completed ones to the token of the answer that came; every attempt is its call's or an overhead,
    and none is both."""
    scenario = read_scenario(SCENARIOS[name], name)
    run = Run(scenario, scenario.policy, Workload(scenario.workload, 1, reader(Path())), 1)
    segments = Segments(tmp_path)
    bookings = Bookings(segments, lambda _: None)
    told: dict[str, tuple[int, int]] = {}
    sent: set[tuple[str, int]] = set()
    calls: list[str] = []

    def watch(now: float, event: Event, effects: list[Effect]) -> None:
        bookings.observe(now, event, effects)
        for effect in effects:
            if isinstance(effect, Send):
                sent.add((effect.id, effect.attempt))
            elif isinstance(effect, Record):
                calls.append(effect.row.id)
                if isinstance(event, Ended) and event.usage is not None:
                    told[event.id] = (event.usage.prompt_tokens, event.usage.completion_tokens)

    run.watch = watch
    run.go()
    bookings.commit()
    records = Reader(segments).read(10_000)
    segments.close()
    rows = [dict(zip(COLUMNS, row)) for row in calls_of(records)]
    lost = {(row["call"], row["attempt"]) for row in (dict(zip(OF_OVERHEADS, each)) for each in overheads_of(records))}
    assert [row["id"] for row in rows] == calls
    assert len(set(calls)) == len(calls) >= 100
    completed = {row["id"]: (row["prompt_tokens"], row["completion_tokens"]) for row in rows if row["outcome"] == "ok"}
    assert completed == told
    assert len(lost) == len(overheads_of(records))
    assert lost < sent
    for row in rows:
        own = [attempt for call, attempt in sent - lost if call == row["id"]]
        assert len(own) in ((1,) if row["outcome"] == "ok" else (0, 1)), (row, own)
