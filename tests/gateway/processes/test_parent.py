"""The parent's own part, without processes: what it remembers of workers that are gone, what it tells new ones, and how
it puts together what they say."""

import json
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.base.nouns import EngineStats
from penstock.config.load import load
from penstock.config.schema import Settings
from penstock.core.effects import Probe
from penstock.core.events import FleetSeen, Invalidated, Observed, Probed, Woke
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.gateway.processes.parent import Gathered, Parent, Past
from penstock.gateway.processes.words import Explained, Report, Snapshot
from penstock.gateway.processes.workers import One
from penstock.telemetry.explained import Short
from penstock.telemetry.totals import ReplicaTotals, Totals
from tests.helpers.desk import replica_view
from tests.helpers.wire import run

TEXT = """
listen: 127.0.0.1:0
admin: null
workers: 2
pools: [{name: main, models: [m], replicas: [{url: "http://127.0.0.1:9", id: gpu1, models: [m]}]}]
"""


def settings() -> Settings:
    """A pool of one replica, for two workers."""
    return load(TEXT, {}, lambda path: Path(path).read_text())


def snapshot(served: int = 0, **fields: Any) -> Snapshot:
    """What a worker shows."""
    usual: dict[str, Any] = {
        "replicas": [replica_view("gpu1", served=served, failed=1)], "pools": [], "accounts": [],
        "counters": {"requests_total": served, "connections": 3, "refused_unauthorized_total": 1},
        "totals": Totals(calls=[("main", "m", "ok", 2, 2, False, served)],
                         replicas=[ReplicaTotals("gpu1", served, 0, {}, (0, 9), (0, 9))]),
        "cpu_s": 1.5,
    }  # fmt: skip
    return Snapshot(**usual | fields)


def living(parent: Parent, number: int, **fields: Any) -> One:
    """A worker that the parent believes to serve."""
    one = parent.workers.living[number] = One(number, f"{number}.1")
    one.ready.set_result(None)
    for name, value in fields.items():
        setattr(one, name, value)
    return one


def test_no_counter_goes_back() -> None:
    """What a worker had counted when it died is shown further, and the one in its place is added to it."""

    async def main() -> None:
        parent = Parent(settings())
        parent.pump.tell(_fleet(parent))
        living(parent, 1, snapshot=snapshot(10))
        two = living(parent, 2, snapshot=snapshot(5))
        assert [(view.served, view.failed) for view in parent.replica_views()] == [(15, 2)]
        assert 'outcome="ok",status="2xx",priority="normal",stream="false"} 15' in parent.metrics().decode()
        parent.lost(two.snapshot or snapshot())
        two.snapshot = snapshot(1)
        assert [(view.served, view.failed) for view in parent.replica_views()] == [(16, 3)]
        page = parent.metrics().decode()
        assert 'outcome="ok",status="2xx",priority="normal",stream="false"} 16' in page
        assert 'penstock_gateway_events_total{what="requests"} 16' in page
        assert 'penstock_gateway_held{what="connections"} 6' in page
        assert 'what="refused_unauthorized"} 3' in page
        assert "refused_unauthorized_total" not in parent.counters()

    run(main)


def _fleet(parent: Parent) -> FleetSeen:
    return FleetSeen(parent.reloader.settings.replicas)


def test_looks_are_counted_once() -> None:
    """Probes are counted by the parent that makes them, however many workers are told of them."""

    async def main() -> None:
        parent = Parent(settings())
        parent._read_journal()
        parent.meter.observe(0.0, Woke(), [Probe("gpu1", "health", 1.0)])
        parent.pump.tell(_fleet(parent))
        parent.pump.tell(Probed("gpu1", True))
        living(parent, 1, snapshot=snapshot(10))
        page = parent.metrics().decode()
        assert 'penstock_probes_total{replica="gpu1",result="ok"} 1\n' in page

    run(main)


def test_what_a_new_worker_is_told() -> None:
    """A replica that is well counts as probed well, though its last probe failed; engines' last numbers go along; what
    has left the fleet is forgotten; and how often something was put out of use it must know."""

    async def main() -> None:
        parent = Parent(settings())
        parent._read_journal()
        parent.pump.tell(_fleet(parent))
        seen = Observed("gpu1", EngineStats(running=3))
        for fact in (Probed("gpu1", True), Probed("gpu1", False, "late"), seen):
            parent.pump.tell(fact)
        assert parent.known() == [Probed("gpu1", True), seen]
        for _ in range(2):
            parent.pump.tell(Probed("gpu1", False, "late"))
        assert parent.known() == [Probed("gpu1", False, "late"), seen]
        parent.roster.remove("gpu1")
        assert parent.known() == []
        for _ in range(2):
            parent.pump.tell(Invalidated(tag="prices"))
        assert parent.known() == [Invalidated(mark=2)]

    run(main)


def test_past_keeps_only_the_fleet() -> None:
    """Of replicas that are gone nothing is kept; of calls everything."""
    past = Past()
    past.add(snapshot(4))
    past.add(snapshot(5))
    assert past.served == {"gpu1": (9, 2)}
    past.keep([])
    assert (past.served, past.totals.replicas, past.totals.calls[0][-1]) == ({}, [], 9)


def test_windows_of_all_workers() -> None:
    """The Governor sees the sum. While somebody has not yet heard that a replica drains, it counts as busy."""

    async def main() -> None:
        parent = Parent(settings())
        parent.pump.tell(_fleet(parent))
        seen = Window(queued=2, replicas=(ReplicaSeen(id="gpu1", well=True, loading=False, in_flight=3, seats=4),))
        idle = replace(seen, queued=0, replicas=(replace(seen.replicas[0], in_flight=0),))
        one = living(parent, 1, report=Report(1, 1, {}, {}, (), {"main": seen}))
        living(parent, 2, report=Report(1, 1, {}, {}, (), {"main": seen}))
        window = parent.window("main")
        assert window is not None
        assert (window.queued, window.replicas[0].in_flight, window.replicas[0].seats) == (4, 6, 8)
        assert parent.window("other") is None
        for worker in parent.workers.living.values():
            worker.report = Report(1, 1, {}, {}, (), {"main": idle})
        parent._held = []
        parent.roster.drain("gpu1")
        parent.workers.settle(parent.reloader.settings, (), ())
        parent.workers.settle(parent.reloader.settings, (), ())
        assert parent.workers.lagging
        window = parent.window("main")
        assert window is not None
        assert window.replicas[0].in_flight == 1
        assert parent.busy("anybody")
        for worker in parent.workers.living.values():
            worker.report = Report(2, 1, {}, {}, (), {"main": idle})
        window = parent.window("main")
        assert window is not None
        assert window.replicas[0].in_flight == 0
        assert not parent.busy("gone")
        one.report = Report(2, 1, {}, {}, ("gone",))
        assert parent.busy("gone")
        parent.workers.kill()

    run(main)


def test_what_flows_is_counted_elsewhere() -> None:
    """The parent remembers which pools' flows are wanted, and leaves windows as workers filled them."""
    flow = Gathered()
    flow.watch(["main"])
    window = Window(queued=0, replicas=(), rps=3.0)
    assert (flow.pools, flow.watching, flow.fill("main", window, 1.0)) == (("main",), False, window)


def test_answers_are_put_together() -> None:
    """An explanation is that of the worker that has it, or the word that says most; lists are one list, the last
    first."""

    async def main() -> None:
        parent = Parent(settings())
        answers: dict[str, list[Any]] = {
            "explain": [Explained(why="unknown"), Explained(why="forgotten")],
            "explain_last": [[_short("a", 1.0), _short("c", 3.0)], [_short("b", 2.0)]],
            "journal": [[[1.0, {}, []], [3.0, {}, []]], [[2.0, {}, []]]],
        }
        asked: list[dict[str, Any]] = []

        async def ask(what: str, **more: Any) -> list[tuple[None, bytes]]:
            asked.append(more)
            return [(None, msgspec.json.encode(one)) for one in answers[what]]

        parent.workers.ask = ask  # type: ignore[assignment,method-assign]
        assert await parent.explain("x") == "forgotten"
        assert [call.id for call in await parent.explain_last(2, {"model": "m"})] == ["c", "b"]
        assert [json.loads(turn)[0] for turn in await parent.journal_tail(2)] == [2.0, 3.0]
        answers["explain"] = []
        assert await parent.explain("x") == "unknown"
        assert asked[:2] == [{"id": "x"}, {"last": 2, "wanted": {"model": "m"}}]

    run(main)


def _short(id: str, at: float) -> Short:
    return Short(
        id=id, client_id="", at=at, model="m", tenant="t", pool="main", replica="gpu1", outcome="ok", status=200,
        attempts=1, queue_s=0.0, ttft_s=None, latency_s=0.1,
    )  # fmt: skip
