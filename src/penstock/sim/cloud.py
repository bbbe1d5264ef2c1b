"""What the Gate's orders meet in a simulation: engines, the way to them, and what goes wrong with them.

An engine is the emulator's own Batcher. Whoever sends to a replica hears of it as a gateway would: after the way there
and back, and of a death as a closed connection.
"""

from collections.abc import Callable
from math import inf

from penstock.base.errors import Label
from penstock.base.nouns import EngineStats, Replica, Usage
from penstock.config.scenarios import POOL, Die, Fault, Flap, Freeze, Group, MetricsOutage, Network, Slow
from penstock.core.effects import Cancel, Send
from penstock.core.events import Began, Ended, Event, Failed, Observed, Probed
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug
from penstock.engine import words
from penstock.engine.batcher import Batcher
from penstock.sim.prompts import seen_by_engine
from penstock.workload.request import Request

Tell = Callable[[Event], None]
KEPT_STATS = 64
"""Old numbers of an engine that are kept for a network whose metrics lag."""


class Engine:
    """One replica's engine, and whether it is well."""

    def __init__(self, replica: Replica, group: Group, network: Network, kernel: Kernel, tell: Tell) -> None:
        self.replica = replica
        self.group = group
        self.dead = False
        self.frozen = False
        self.mute = False
        """Its metrics cannot be read."""
        self.slowed = 1.0
        self._network = network
        self._way_s = network.round_trip_s / 2
        self._kernel = kernel
        self._tell = tell
        self._life = 0
        """How often it was started: what an earlier life still had to say is void."""
        self._held: list[tuple[str, int]] = []
        """What a frozen engine took in."""
        self._running: dict[str, bool] = {}
        """Attempt -> whether its first token is out."""
        self._past: list[tuple[float, EngineStats]] = []
        self._start()

    def _start(self) -> None:
        self.batcher = Batcher(self.group.engine(), each_token=False)
        self._pump: Pump[words.Event, words.Order] = Pump(
            self.batcher, self._perform, self._kernel.clock, self._kernel.call_at, _unseen, words.Woke(), raise_bug
        )
        self._running.clear()
        if self.slowed != 1.0:
            self._pump.tell(words.Slowed(self.slowed))

    # ===== the gateway's side =====

    def submit(self, order: Send, request: Request, number: int) -> None:
        """An attempt is on its way."""
        self._kernel.at(self._kernel.clock() + self._way_s, self._arrive, (order, request, number))

    def _arrive(self, what: tuple[Send, Request, int]) -> None:
        order, request, number = what
        if self.dead:
            self._say(Failed(order.id, order.attempt, "connect_refused"))
            return
        if self.frozen:
            self._held.append((order.id, order.attempt))
            self._kernel.at(self._kernel.clock() + order.first_byte_timeout_s, self._give_up, (order.id, order.attempt))
            return
        name = f"{order.id}/{order.attempt}"
        self._running[name] = False
        blocks = seen_by_engine(request, number, self.batcher.spec.block_size)
        self._pump.tell(words.Submit(name, request.prompt_tokens, request.output_tokens, blocks))

    def _give_up(self, attempt: tuple[str, int]) -> None:
        if attempt in self._held:
            self._held.remove(attempt)
            self._tell(Failed(attempt[0], attempt[1], "first_byte_timeout"))

    def abort(self, order: Cancel) -> None:
        """The gateway closed the connection."""
        if (order.id, order.attempt) in self._held:
            self._held.remove((order.id, order.attempt))
        elif self._running.pop(f"{order.id}/{order.attempt}", None) is not None:
            self._pump.tell(words.Abort(f"{order.id}/{order.attempt}"))

    def probe(self) -> None:
        """A health probe is on its way."""
        self._say(Probed(self.replica.id, ok=not self.dead))

    def scrape(self) -> None:
        """Somebody reads its numbers."""
        self._say(Observed(self.replica.id, None if self.dead or self.mute else self._told()))

    def _told(self) -> EngineStats:
        lag_s, now = self._network.metrics_lag_s, self._kernel.clock()
        stats = self.stats()
        if not lag_s:
            return stats
        self._past = [*self._past[-KEPT_STATS:], (now, stats)]
        return next((old for at, old in reversed(self._past) if at <= now - lag_s), self._past[0][1])

    def stats(self) -> EngineStats:
        """What a scrape would read."""
        counters, spec = self.batcher.counters, self.batcher.spec
        return EngineStats(
            running=self.batcher.running, waiting=self.batcher.waiting, kv_usage=self.batcher.memory.usage,
            prefix_queries=counters.prefix_queries, prefix_hits=counters.prefix_hits,
            kv_tokens=spec.kv_blocks * spec.block_size, kv_block_tokens=spec.block_size,
        )  # fmt: skip

    # ===== the engine's side =====

    def _perform(self, order: words.Order) -> None:
        if order.id not in self._running:
            return  # aborted, or of an earlier life
        call_id, _, attempt = order.id.rpartition("/")
        if isinstance(order, words.Emit):
            if order.first:
                self._running[order.id] = True
                self._say(Began(call_id, int(attempt)))
        elif isinstance(order, words.Finish):
            del self._running[order.id]
            usage = Usage(order.prompt_tokens, order.completion_tokens, order.cached_tokens)
            self._say(Ended(call_id, int(attempt), 200, usage, order.completion_tokens))
        else:
            del self._running[order.id]
            if order.why == "queue_full":
                self._say(Failed(call_id, int(attempt), "upstream_busy", 503))
            else:  # too long for this engine: the client's mistake, answered as one
                self._say(Ended(call_id, int(attempt), 400))

    def _say(self, event: Event) -> None:
        self._kernel.at(self._kernel.clock() + self._way_s, self._said, (self._life, event))

    def _said(self, what: tuple[int, Event]) -> None:
        life, event = what
        if life == self._life:
            self._tell(event)

    # ===== what goes wrong =====

    def die(self) -> None:
        """The process is gone; whoever waited for it hears a closed connection."""
        if self.dead:
            return
        self.dead = True
        self._life += 1
        lost = [*self._running.items(), *((f"{call_id}/{attempt}", False) for call_id, attempt in self._held)]
        self._held.clear()
        self._running.clear()
        for name, begun in lost:
            call_id, _, attempt = name.rpartition("/")
            label: Label = "died_mid_answer" if begun else "closed_early"
            self._say(Failed(call_id, int(attempt), label))

    def revive(self) -> None:
        """It was started anew: nothing is cached."""
        if self.dead:
            self.dead = False
            self._start()

    def slow(self, factor: float) -> None:
        """Every step takes so many times as long."""
        self.slowed = factor
        self._pump.tell(words.Slowed(factor))

    def thaw(self) -> None:
        """What it took in while it was frozen is lost: its connections are closed."""
        self.frozen = False
        held, self._held = self._held, []
        for call_id, attempt in held:
            self._say(Failed(call_id, attempt, "closed_early"))


class Cloud:
    """All engines of a scenario."""

    def __init__(self, fleet: tuple[Group, ...], network: Network, kernel: Kernel, tell: Tell) -> None:
        self._kernel = kernel
        groups = [group for group in fleet for _ in range(group.count)]
        width = len(str(len(groups) - 1))
        self.engines: dict[str, Engine] = {}
        for number, group in enumerate(groups):
            name = f"r{number:0{width}d}"
            replica = Replica(
                id=name, url=f"http://{name}", pool=POOL, engine="vllm", max_concurrent_requests=group.seats,
                weight=group.weight, hourly_cost=group.hourly_cost,
            )  # fmt: skip
            self.engines[name] = Engine(replica, group, network, kernel, tell)

    def replicas(self) -> tuple[Replica, ...]:
        """As a discovery would hand them over."""
        return tuple(engine.replica for engine in self.engines.values())

    def plan(self, faults: tuple[Fault, ...]) -> None:
        """These go wrong in time."""
        engines = list(self.engines.values())
        for fault in faults:
            for number in fault.replicas or range(len(engines)):
                self._plan(fault, engines[number])

    def _plan(self, fault: Fault, engine: Engine) -> None:
        until = inf if fault.for_s is None else fault.at_s + fault.for_s
        match fault:
            case Die():
                self._between(fault.at_s, until, lambda _: engine.die(), lambda _: engine.revive())
            case Slow():
                self._between(fault.at_s, until, lambda _: engine.slow(fault.factor), lambda _: engine.slow(1.0))
            case Freeze():
                self._between(fault.at_s, until, lambda _: _freeze(engine), lambda _: engine.thaw())
            case MetricsOutage():
                self._between(fault.at_s, until, lambda _: _mute(engine, True), lambda _: _mute(engine, False))
            case Flap():
                self._kernel.at(fault.at_s, self._flap, (engine, fault.period_s / 2, until))

    def _between(
        self, start: float, end: float, begin: Callable[[None], object], over: Callable[[None], object]
    ) -> None:
        self._kernel.at(start, begin, None)
        if end != inf:
            self._kernel.at(end, over, None)

    def _flap(self, what: tuple[Engine, float, float]) -> None:
        engine, half_s, until = what
        now = self._kernel.clock()
        if now >= until:
            engine.revive()
            return
        if engine.dead:
            engine.revive()
        else:
            engine.die()
        self._kernel.at(min(now + max(half_s, 0.01), until), self._flap, what)


def _freeze(engine: Engine) -> None:
    engine.frozen = True


def _mute(engine: Engine, mute: bool) -> None:
    engine.mute = mute


def _unseen(now: float, event: object, orders: list[words.Order]) -> None:
    pass
