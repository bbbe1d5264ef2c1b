"""Totals: a meter's numbers travel and are added up as if one meter had counted everything."""

import msgspec

from penstock.base.nouns import Call, EngineStats
from penstock.core.effects import Aboard, Carry, Refuse
from penstock.core.events import Arrived, Began, Ended, Failed, Observed, Probed
from penstock.telemetry.meter import Meter
from penstock.telemetry.prometheus import render
from penstock.telemetry.totals import Totals, added, totals_of, without_looks
from tests.telemetry.rows import record, send


def one_call(meter: Meter, name: str) -> None:
    """A streamed call, a failed attempt, a refusal, two calls that go as one, and looks at the replica."""
    meter.observe(100.0, Arrived(Call(name)), [send()])
    meter.observe(100.1, Began(name, 1), [])
    meter.observe(102.1, Ended(name, 1, 200), [record()])
    meter.observe(103.0, Arrived(Call("c1")), [send()])
    meter.observe(103.1, Failed("c1", 1, "connect_refused"), [Refuse("c1", "no_replica", 503)])
    meter.observe(103.1, Arrived(Call("c2")), [Carry("g1", (Aboard("c2", 0.0, None), Aboard("c3", 0.0, None)))])
    meter.observe(103.1, Probed("r1", True), [])
    meter.observe(103.1, Observed("r1", EngineStats()), [])


def page(meter: Meter) -> list[str]:
    """What Prometheus sees of it, but for the process."""
    text = render(meter, list, list, dict).decode()
    return [line for line in text.splitlines() if "process_" not in line]


def test_a_meter_travels() -> None:
    """Encoded, decoded and added to nothing it is the same meter."""
    meter = Meter()
    one_call(meter, "c1")
    assert 'penstock_groups_total{calls="2"} 1' in page(meter)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(totals_of(meter)), type=Totals)
    assert page(added([sent])) == page(meter)
    assert page(added([])) == page(Meter())


def test_two_are_one() -> None:
    """Two meters added up show what a single one shows that has seen all turns."""
    parts, whole = (Meter(), Meter()), Meter()
    for meter in parts:
        one_call(meter, "c1")
        one_call(whole, "c1")
    assert page(added(map(totals_of, parts))) == page(whole)


def test_looks_count_where_they_are_made() -> None:
    """Who was only told of probes and scrapes counts none; all else is kept."""
    meter = Meter()
    one_call(meter, "c1")
    told = added([without_looks(totals_of(meter))]).replicas["r1"]
    assert (told.probes, told.scrapes) == ([0, 0], [0, 0])
    assert (told.attempts, told.failures) == (2, {"connect_refused": 1})
