"""A data plane with a tiny Gate: round robin, failover before the first byte, nothing else. For tests of the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

from penstock.base.errors import REFUSALS
from penstock.base.nouns import Call, CallRow, EngineStats, Rates, Replica
from penstock.config.schema import Access, LimitSpec, ServerSpec, Settings
from penstock.core.effects import Cancel, Effect, Record, Refuse, Send
from penstock.core.events import Arrived, Began, ClientGone, Ended, Event, Failed, Woke
from penstock.core.spec import GateSpec
from penstock.drive.pump import Pump, monotonic_clock, raise_bug
from penstock.gateway.server import DataPlane
from tests.helpers.wire import Answer, Client, Engine, Script, answer, request, run, until


class TinyGate:
    """Sends each call to the next replica; fails over while nothing has begun; keeps every fact for the test to see."""

    def __init__(self, replicas: Iterable[Replica], attempts: int = 3) -> None:
        self.replicas = list(replicas)
        self.attempts = attempts
        self.facts: list[Event] = []
        self.rows: list[tuple[str, str]] = []
        self.timeouts = (1.0, 5.0, 5.0)
        self.model: dict[str, str] = {}
        self.hold = False
        """Keep calls waiting, as a full queue does."""
        self.hedge = False
        """Make two attempts at once; the first to begin wins."""
        self.rates: Rates | None = None
        """What clients are told of their limits; calls for the model `refused` pass none."""
        self.begun = asyncio.Event()
        """Set when an answer has begun."""
        self._next = 0
        self._calls: dict[str, tuple[Call, int, bool]] = {}
        self._running: dict[str, list[int]] = {}

    def next_wake(self) -> float | None:
        """Never."""
        return None

    def on(self, event: Event, now: float) -> list[Effect]:
        """Decide."""
        self.facts.append(event)
        if isinstance(event, Arrived):
            self._calls[event.call.id], self._running[event.call.id] = (event.call, 0, False), []
            if event.call.model == "refused":
                refuse = Refuse(event.call.id, "request_limit", 429, "", 1.0, self.rates)
                return [refuse, self._record(event.call.id, "request_limit")]
            return [] if self.hold else [self._send(event.call.id) for _ in range(1 + self.hedge)]
        if not isinstance(event, Began | Ended | Failed | ClientGone) or event.id not in self._calls:
            return []
        call, attempts, begun = self._calls[event.id]
        running = self._running[event.id]
        if isinstance(event, Began | Ended):
            beaten: list[Effect] = [Cancel(event.id, number) for number in running if number != event.attempt]
            self._running[event.id] = [event.attempt]
            if isinstance(event, Ended):
                return [*beaten, self._record(event.id, "ok")]
            self.begun.set()
            self._calls[event.id] = (call, attempts, True)
            return beaten
        if isinstance(event, Failed):
            running.remove(event.attempt)
            if running:
                return []
            row = REFUSALS[event.label]
            if row.retryable and not begun and attempts < self.attempts:
                return [self._send(event.id)]
            return [
                Refuse(event.id, event.label, row.http, retry_after_s=event.retry_after_s),
                self._record(event.id, event.label),
            ]
        return [*(Cancel(event.id, number) for number in running), self._record(event.id, "client_gone")]

    def _send(self, id: str) -> Send:
        call, attempts, begun = self._calls[id]
        self._calls[id] = (call, attempts + 1, begun)
        self._running[id].append(attempts + 1)
        replica = self.replicas[self._next % len(self.replicas)]
        self._next += 1
        return Send(
            id, attempts + 1, replica.id, self.model.get(call.model, call.model), *self.timeouts, 0.002, self.rates
        )

    def _record(self, id: str, outcome: str) -> Record:
        call, attempts, _ = self._calls.pop(id)
        del self._running[id]
        self.rows.append((id, outcome))
        return Record(
            CallRow(
                id=id, client_id=call.client_id, at=0.0, tenant=call.tenant, key=call.key, model=call.model,
                path=call.path, pool="p", replica="", outcome=outcome, status=0, stream=call.stream, priority=2,
                attempts=attempts, latency_s=0.0, ttft_s=None, queue_s=0.0, usage=None, relayed_tokens=0,
            )
        )  # fmt: skip

    def told(self, kind: type) -> list[Any]:
        """The facts of one kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]


class PlainDialect:
    """Enough of a dialect for probes."""

    name = "plain"
    health_path = "/health"
    stats_path: str | None = "/metrics"
    models_path = "/v1/models"

    def alive(self, status: int) -> bool:
        """200 alone."""
        return status == 200

    def stats(self, body: bytes) -> EngineStats:
        """A number."""
        return EngineStats(running=int(body))

    def models(self, body: bytes) -> tuple[str, ...]:
        """OpenAI's list."""
        return tuple(entry["id"] for entry in msgspec.json.decode(body)["data"])


class Rig:
    """What a test holds in its hands."""

    def __init__(self, plane: DataPlane, gate: TinyGate, pump: "Pump[Event, Effect]", settings: Settings) -> None:
        self.plane = plane
        self.gate = gate
        self.pump = pump
        self.settings = settings
        self.port = plane.addresses[0][1]

    def zero(self) -> bool:
        """Nothing is held any more (idle upstream connections, which are kept on purpose, apart)."""
        counters = self.plane.counters()
        held = ("exchanges", "buffered_bytes", "connections")
        return not any(counters[name] for name in held) and (
            counters["upstream_connections"] == counters["upstream_idle"]
        )  # fmt: skip


def replicas_of(engines: Iterable[Engine], base: str = "") -> tuple[Replica, ...]:
    """Nouns for scripted engines."""
    return tuple(Replica(id=f"r{number}", url=engine.url + base, pool="p") for number, engine in enumerate(engines))


@contextlib.asynccontextmanager
async def serving(
    *engines: Engine, server: dict[str, Any] | None = None, limits: dict[str, Any] | None = None, base: str = "",
    access: dict[str, Access] | None = None, sweep_s: float = 0.02, replicas: tuple[Replica, ...] | None = None,
    gate: GateSpec | None = None,
) -> AsyncIterator[Rig]:  # fmt: skip
    """A data plane on a free port over these engines. At the end it drains, and everything must be back at zero."""
    fleet = replicas_of(engines, base) if replicas is None else replicas
    spec = ServerSpec(listen=("127.0.0.1", 0), limits=LimitSpec(**(limits or {})), **(server or {}))
    settings = Settings(server=spec, replicas=fleet, access=access or {}, gate=gate or GateSpec())
    plane = DataPlane(settings, lambda engine: PlainDialect(), lambda: ["m", "n"], lambda: True, sweep_s=sweep_s)
    tiny = TinyGate(fleet)
    clock, call_at = monotonic_clock(asyncio.get_running_loop())
    pump: Pump[Event, Effect] = Pump(tiny, plane.perform, clock, call_at, lambda *_: None, Woke(), raise_bug)
    plane.attach(pump)
    await plane.start()
    for engine in engines:
        engine.begun = tiny.begun
    rig = Rig(plane, tiny, pump, settings)
    try:
        yield rig
        await until(rig.zero, f"zero in {plane.counters()}")
    finally:
        await plane.drain(0.2)
        pump.close()
    after = plane.counters()
    assert not any(value for name, value in after.items() if not name.endswith("_total")), after
    assert len(tiny.rows) == len(tiny.told(Arrived)), "every call ends exactly once"
    for engine in engines:
        assert not engine.errors, engine.errors


def call(
    *scripts: Script, body: bytes = b'{"model":"m"}', extra: str = "", second: Script | None = None, **options: Any
) -> tuple[Answer, list[Any], list[Engine]]:
    """One call over one engine that plays the scripts, and a second engine where one is given."""

    async def main() -> tuple[Answer, list[Any], list[Engine]]:
        engines = [Engine([list(script) for script in scripts]), Engine([second or [answer()]])]
        async with engines[0], engines[1]:
            chosen = engines if second is not None else engines[:1]
            async with serving(*chosen) as rig:
                rig.gate.attempts = options.get("attempts", 1)
                rig.gate.timeouts = options.get("timeouts", rig.gate.timeouts)
                async with Client(rig.port) as client:
                    client.send(request(body, extra=extra, path=options.get("path", "/v1/chat/completions")))
                    found = await client.answer()
                    return found, rig.gate.facts, engines

    return run(main)


def only(facts: list[Any], kind: type) -> Any:
    """The one fact of a kind."""
    (found,) = (fact for fact in facts if isinstance(fact, kind))
    return found
