"""Orders that are no calls: probes in all their forms."""

import msgspec
import pytest

from penstock.base.nouns import EngineStats
from penstock.config.schema import Access
from penstock.core.effects import Look, Probe
from penstock.core.events import Listed, Observed, Probed
from penstock.core.spec import GateSpec, PoolSpec, ProbeSpec, ScrapeSpec
from tests.helpers.plane import serving
from tests.helpers.wire import CLOSE, HANG, Engine, Script, answer, run, until

MODELS = msgspec.json.encode({"data": [{"id": "m"}, {"id": "n"}]})


def told(script: Script, look: Look, probe: ProbeSpec | None = None, expect: bool = True) -> tuple[list[object], bytes]:
    """The facts that a probe leads to, and the request line that it sent."""

    async def main() -> tuple[list[object], bytes]:
        gate = GateSpec(pools=(PoolSpec(name="p", probe=probe or ProbeSpec()),))
        async with Engine([script]) as engine, serving(engine, gate=gate) as rig:
            rig.plane.perform(Probe("r0", look, 0.1))
            await until(lambda: bool(rig.gate.facts) or (not expect and not rig.plane.outbound.tasks))
            return list(rig.gate.facts), engine.got[0].line

    return run(main)


def test_health_is_told() -> None:
    """A good status is health; the path is the dialect's."""
    assert told([answer(b"")], "health") == ([Probed("r0", True)], b"GET /health HTTP/1.1")


@pytest.mark.parametrize(
    "script", [[answer(b"", 503)], [CLOSE], [HANG], [b"garbage\r\n\r\n"]], ids=["503", "close", "silence", "garbage"]
)
def test_a_bad_probe_is_told_with_its_reason(script: Script) -> None:
    """Whatever goes wrong is one fact."""
    (fact,), _ = told(script, "health")
    assert isinstance(fact, Probed)
    assert not fact.ok
    assert fact.detail


@pytest.mark.parametrize(
    "spec,status,body,ok",
    [
        (ProbeSpec(path="/live"), 200, b"", True),
        (ProbeSpec(status=(200, 299)), 204, b"", True),
        (ProbeSpec(status=(200, 299)), 300, b"", False),
        (ProbeSpec(body="fine"), 200, b"all fine", True),
        (ProbeSpec(body="fine"), 200, b"all bad", False),
    ],
)
def test_the_pools_own_rules_hold(spec: ProbeSpec, status: int, body: bytes, ok: bool) -> None:
    """Path, statuses and text are configurable."""
    (fact,), line = told([answer(body, status)], "health", spec)
    assert isinstance(fact, Probed)
    assert fact.ok is ok
    assert line == (b"GET /live HTTP/1.1" if spec.path else b"GET /health HTTP/1.1")


def test_stats_are_told() -> None:
    """An engine's numbers, or that there were none."""
    assert told([answer(b"7")], "stats")[0] == [Observed("r0", EngineStats(running=7))]
    assert told([answer(b"seven")], "stats")[0] == [Observed("r0", None)]
    assert told([answer(b"7", 500)], "stats")[0] == [Observed("r0", None)]
    assert told([CLOSE], "stats")[0] == [Observed("r0", None)]


@pytest.mark.parametrize(
    "access, line", [(Access(), b"GET /pool HTTP/1.1"), (Access(metrics_path="/own"), b"GET /own")]
)
def test_metrics_may_be_elsewhere(access: Access, line: bytes) -> None:
    """The replica's own path and port come before its pool's, and both before the engine's habit."""

    async def main() -> None:
        async with Engine([[CLOSE]]) as engine, Engine([[answer(b"7")]]) as metrics:
            gate = GateSpec(pools=(PoolSpec(name="p", scrape=ScrapeSpec(path="/pool", port=metrics.port)),))
            async with serving(engine, gate=gate, access={"r0": access}) as rig:
                rig.plane.perform(Probe("r0", "stats", 1.0))
                await until(lambda: bool(rig.gate.facts))
                assert rig.gate.facts == [Observed("r0", EngineStats(running=7))]
                assert metrics.got[0].line.startswith(line)
                assert not engine.got

    run(main)


def test_models_are_told_or_nothing_is() -> None:
    """A page that cannot be read says nothing."""
    assert told([answer(MODELS)], "models")[0] == [Listed("r0", ("m", "n"))]
    assert told([answer(b"{}", 404)], "models", expect=False)[0] == []
    assert told([CLOSE], "models", expect=False)[0] == []


def test_an_unknown_replica_is_not_healthy() -> None:
    """A probe that comes too late."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig:
            rig.plane.perform(Probe("gone", "health", 0.1))
            await until(lambda: bool(rig.gate.facts))
            assert rig.gate.facts == [Probed("gone", False, "unknown replica")]

    run(main)
