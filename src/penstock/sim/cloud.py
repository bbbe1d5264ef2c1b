"""What the Gate's orders meet in a simulation: engines, the way to them, and what goes wrong with them.

An engine is the emulator's own Batcher. Whoever sends to a replica hears of it as a gateway would: after the way there
and back, and of a death as a closed connection.
"""

from collections import deque
from collections.abc import Callable
from math import inf, prod

from penstock.base.errors import Label
from penstock.base.nouns import EngineStats, Replica, Usage
from penstock.config.scenarios import POOL, Die, Fault, Flap, Freeze, Group, MetricsOutage, Network, Slow
from penstock.core.effects import Cancel, Probe, Send
from penstock.core.events import Began, Ended, Event, Failed, Observed, Probed
from penstock.drive.kernel import Kernel
from penstock.engine import words
from penstock.engine.batcher import Batcher
from penstock.sim.benchmark import Benchmark
from penstock.sim.prompts import own_text, seen_by_engine
from penstock.workload.request import Request

Tell = Callable[[Event], None]
KEPT_STATS = 64
"""Old numbers of an engine that are kept for a network whose metrics lag."""
_WOKE = words.Woke()


class _Attempt:
    """A connection that the gateway holds open for an answer."""

    __slots__ = ("begun", "name", "order", "out")

    def __init__(self, name: str, order: Send) -> None:
        self.name = name
        self.order = order
        self.out = False
        """The engine has made its first token."""
        self.begun = False
        """The gateway has heard of it."""


class Engine:
    """One replica's engine, the way to it, and whether it is well."""

    def __init__(self, replica: Replica, group: Group, network: Network, kernel: Kernel, tell: Tell) -> None:
        self.replica = replica
        self.group = group
        self.dead = False
        self.frozen = False
        self.mute = False
        """Its metrics cannot be read."""
        self.slowed = 1.0
        self._kills: dict[object, None] = {}
        """Whatever keeps it dead now, and below frozen and so on: what ends takes back its own part alone."""
        self._freezes: dict[object, None] = {}
        self._mutes: dict[object, None] = {}
        self._slows: dict[object, float] = {}
        self._network = network
        self._way_s = (network.round_trip_s if group.round_trip_s is None else group.round_trip_s) / 2
        self._outside_s = group.modelled().outside_s
        self._kernel = kernel
        self._tell = tell
        self._open: dict[str, _Attempt] = {}
        """The gateway's connections by attempt: nothing is told of one that it has closed."""
        self._due: deque[tuple[float, _Attempt]] = deque()
        """Until when they must have begun, the earliest first; those that have may stand in it for a while."""
        self._watching = False
        self._running: dict[str, _Attempt] = {}
        """What the engine works on."""
        self._held: dict[str, _Attempt] = {}
        """The same of a frozen one."""
        self._benchmark: Benchmark | None = None
        self._past: deque[tuple[float, EngineStats]] = deque(maxlen=KEPT_STATS)
        self._armed = inf
        self._alarm = 0
        """Which wake-up counts; those before it were taken back."""
        self._start()

    def _start(self) -> None:
        self.batcher = Batcher(self.group.engine(), each_token=False, histograms=False)
        self._armed, self._alarm = inf, self._alarm + 1
        if self.slowed != 1.0:
            self._turn(words.Slowed(self.slowed))

    # A pump, written out: an engine is told nothing while it is performed what it ordered, nobody observes it, and half
    # of all turns of a simulation are its own.

    def _turn(self, event: words.Event) -> None:
        batcher = self.batcher
        for order in batcher.on(event, self._kernel.now):
            self._perform(order)
        wake = batcher.next_wake()
        if wake is not None and wake < self._armed:
            self._arm(wake)

    def _arm(self, wake: float) -> None:
        self._armed = wake
        self._alarm = alarm = self._alarm + 1
        self._kernel.at(wake, self._fire, alarm)

    def _fire(self, alarm: int) -> None:
        if alarm != self._alarm:
            return  # it was taken back
        self._armed = inf
        self._turn(_WOKE)

    # ===== the gateway's side =====

    def submit(self, order: Send, request: Request, number: int) -> None:
        """An attempt is on its way."""
        now, attempt = self._kernel.now, _Attempt(f"{order.id}/{order.attempt}", order)
        self._open[attempt.name] = attempt
        if order.first_byte_timeout_s != inf:
            self._watch(attempt, now + order.first_byte_timeout_s)
        self._kernel.at(now + self._way_s + self._outside_s, self._arrive, (attempt, request, number))

    def abort(self, order: Cancel) -> None:
        """The gateway closes the connection; the engine learns of it in time."""
        if self._benchmark is not None and self._benchmark.id == order.id:
            self._benchmark = None
        self._hang_up(f"{order.id}/{order.attempt}")

    def _hang_up(self, name: str) -> None:
        if self._open.pop(name, None) is not None:
            self._kernel.at(self._kernel.now + self._way_s + self._outside_s, self._stop, name)

    def _watch(self, attempt: _Attempt, until: float) -> None:
        due = self._due
        while due and self._in_time(due[0][1]):
            due.popleft()
        due.append((until, attempt))
        if not self._watching:
            self._watching = True
            self._kernel.at(until, self._look, None)

    def _look(self, _: None) -> None:
        due, now = self._due, self._kernel.now
        while due and (due[0][0] <= now or self._in_time(due[0][1])):
            attempt = due.popleft()[1]
            if not self._in_time(attempt):
                self._give_up(attempt, "first_byte_timeout")
        self._watching = bool(due)
        if due:
            self._kernel.at(due[0][0], self._look, None)

    def _in_time(self, attempt: _Attempt) -> bool:
        return attempt.begun or self._open.get(attempt.name) is not attempt

    def _give_up(self, attempt: _Attempt, label: Label) -> None:
        self._hang_up(attempt.name)
        self._hear(Failed(attempt.order.id, attempt.order.attempt, label))

    def _hear(self, event: Began | Ended | Failed) -> None:
        """What the gateway learns of an attempt."""
        benchmark = self._benchmark
        if benchmark is None or benchmark.id != event.id:
            self._tell(event)
        elif (result := benchmark.heard(event, self._kernel.now)) is not None:
            self._benchmark = None
            self._tell(result)
        elif not isinstance(event, Began):
            self._ask(benchmark)

    def probe(self) -> None:
        """A health probe is on its way."""
        self._say(Probed(self.replica.id, ok=not self.dead))

    def scrape(self) -> None:
        """Somebody reads its numbers."""
        self._say(Observed(self.replica.id, None if self.dead or self.mute else self._told()))

    def bench(self, order: Probe) -> None:
        """A benchmark begins."""
        benchmark = self._benchmark = Benchmark(order)
        self._ask(benchmark)
        self._kernel.at(self._kernel.now + order.timeout_s, self._bench_late, benchmark)

    def _ask(self, benchmark: Benchmark) -> None:
        self.submit(*benchmark.next(self._kernel.now))

    def _bench_late(self, benchmark: Benchmark) -> None:
        if self._benchmark is benchmark:
            self.abort(Cancel(benchmark.id, benchmark.number))
            self._tell(benchmark.failed("timeout"))

    def _told(self) -> EngineStats:
        lag_s, now = self._network.metrics_lag_s, self._kernel.now
        stats = self.stats()
        if not lag_s:
            return stats
        self._past.append((now, stats))
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

    def _arrive(self, what: tuple[_Attempt, Request, int]) -> None:
        attempt, request, number = what
        if self.dead:
            self._answer(attempt, Failed(attempt.order.id, attempt.order.attempt, "connect_refused"))
        elif self.frozen:
            self._held[attempt.name] = attempt
        else:
            self._running[attempt.name] = attempt
            blocks = seen_by_engine(request, self.batcher.spec.block_size)
            self._turn(
                words.Submit(
                    attempt.name, request.prompt_tokens, request.output_tokens, blocks, "length", own_text(number)
                )
            )  # fmt: skip

    def _stop(self, name: str) -> None:
        if self._held.pop(name, None) is None and self._running.pop(name, None) is not None:
            self._turn(words.Abort(name))

    def _perform(self, order: words.Order) -> None:
        attempt = self._running.get(order.id)
        if attempt is None:
            return  # aborted
        sent = attempt.order
        if isinstance(order, words.Emit):
            if order.first:
                attempt.out = True
                self._answer(attempt, Began(sent.id, sent.attempt))
            return
        del self._running[order.id]
        if isinstance(order, words.Finish):
            usage = Usage(order.prompt_tokens, order.completion_tokens, order.cached_tokens)
            self._answer(attempt, Ended(sent.id, sent.attempt, 200, usage, order.completion_tokens))
        elif order.why == "queue_full":
            self._answer(attempt, Failed(sent.id, sent.attempt, "upstream_busy", 503))
        else:  # too long for this engine: the client's mistake, answered as one
            self._answer(attempt, Ended(sent.id, sent.attempt, 400))

    def _say(self, event: Probed | Observed) -> None:
        """What has left the engine arrives, whatever becomes of the engine."""
        self._kernel.at(self._kernel.now + self._way_s, self._tell, event)

    def _answer(self, attempt: _Attempt, event: Began | Ended | Failed) -> None:
        """The same on a connection, which may be closed by then."""
        self._kernel.at(self._kernel.now + self._way_s, self._answered, (attempt, event))

    def _answered(self, what: tuple[_Attempt, Began | Ended | Failed]) -> None:
        attempt, event = what
        if self._open.get(attempt.name) is not attempt:
            return
        if isinstance(event, Began):
            attempt.begun = True
        else:
            del self._open[attempt.name]
        self._hear(event)

    # ===== what goes wrong =====

    # each by some cause, which is over when it says so; the engine is well when all of them are

    def die(self, cause: object = None) -> None:
        """The process is gone; whoever waited for it hears a closed connection."""
        self._kills[cause] = None
        if not self.dead:
            self.dead = True
            self._armed, self._alarm = inf, self._alarm + 1
            self._close(self._running)
            self._close(self._held)

    def _close(self, taken: dict[str, _Attempt]) -> None:
        for attempt in taken.values():
            label: Label = "died_mid_answer" if attempt.out else "closed_early"
            self._answer(attempt, Failed(attempt.order.id, attempt.order.attempt, label))
        taken.clear()

    def revive(self, cause: object = None) -> None:
        """It was started anew: nothing is cached."""
        self._kills.pop(cause, None)
        if self.dead and not self._kills:
            self.dead = False
            self._start()

    def slow(self, factor: float, cause: object = None) -> None:
        """Every step takes so many times as long; 1: by this cause no longer."""
        self._slows[cause] = factor
        if factor == 1.0:
            del self._slows[cause]
        self.slowed = prod(self._slows.values())
        if not self.dead:
            self._turn(words.Slowed(self.slowed))

    def mutes(self, mute: bool, cause: object = None) -> None:
        """Its metrics cannot be read, or can again."""
        if mute:
            self._mutes[cause] = None
        else:
            self._mutes.pop(cause, None)
        self.mute = bool(self._mutes)

    def freeze(self, cause: object = None) -> None:
        """Nothing comes any more, neither of what it works on nor of what it takes in."""
        self._freezes[cause] = None
        if self.frozen:
            return
        self.frozen = True
        self._held, self._running = {**self._held, **self._running}, {}
        for name, attempt in self._held.items():
            self._turn(words.Abort(name))
            if attempt.out and self._open.get(name) is attempt:
                self._kernel.at(self._kernel.now + attempt.order.idle_timeout_s, self._silent, attempt)

    def _silent(self, attempt: _Attempt) -> None:
        if attempt.name in self._held and self._open.get(attempt.name) is attempt:
            self._give_up(attempt, "idle_timeout")

    def thaw(self, cause: object = None) -> None:
        """What it held while it was frozen is lost: its connections are closed."""
        self._freezes.pop(cause, None)
        if self.frozen and not self._freezes:
            self.frozen = False
            self._close(self._held)


class Cloud:
    """All engines of a scenario."""

    def __init__(self, fleet: tuple[Group, ...], network: Network, kernel: Kernel, tell: Tell) -> None:
        self.fleet = fleet
        self._network = network
        self._kernel = kernel
        self._tell = tell
        groups = [group for group in fleet for _ in range(group.count)]
        width = len(str(len(groups) - 1))
        self.engines: dict[str, Engine] = {}
        for number, group in enumerate(groups):
            self.add(f"r{number:0{width}d}", group)

    def add(self, name: str, group: Group) -> Engine:
        """One more engine, of this group."""
        replica = Replica(
            id=name, url=f"http://{name}", pool=POOL, engine="vllm", max_concurrent_requests=group.seats,
            weight=group.weight, hourly_cost=group.money_per_hour(),
        )  # fmt: skip
        engine = self.engines[name] = Engine(replica, group, self._network, self._kernel, self._tell)
        return engine

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
                self._between(fault.at_s, until, lambda _: engine.die(fault), lambda _: engine.revive(fault))
            case Slow():
                self._between(
                    fault.at_s, until, lambda _: engine.slow(fault.factor, fault), lambda _: engine.slow(1.0, fault)
                )
            case Freeze():
                self._between(fault.at_s, until, lambda _: engine.freeze(fault), lambda _: engine.thaw(fault))
            case MetricsOutage():
                self._between(
                    fault.at_s, until, lambda _: engine.mutes(True, fault), lambda _: engine.mutes(False, fault)
                )
            case Flap():
                self._kernel.at(fault.at_s, self._flap, (engine, fault, until, False))

    def _between(
        self, start: float, end: float, begin: Callable[[None], object], over: Callable[[None], object]
    ) -> None:
        self._kernel.at(start, begin, None)
        if end != inf:
            self._kernel.at(end, over, None)

    def _flap(self, what: tuple[Engine, Flap, float, bool]) -> None:
        engine, fault, until, down = what
        now = self._kernel.now
        if down or now >= until:
            engine.revive(fault)
        else:
            engine.die(fault)
        if now < until:
            after = min(now + max(fault.period_s / 2, 0.01), until)
            self._kernel.at(after, self._flap, (engine, fault, until, not down))
