"""What the Gate's orders meet in a simulation: engines, the way to them, and what goes wrong with them.

An engine is the emulator's own Batcher. Whoever sends to a replica hears of it as a gateway would: after the way there
and back, and of a death as a closed connection.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf, prod

from penstock.base.errors import Label
from penstock.base.nouns import EngineStats, Replica, Usage
from penstock.config.scenarios import POOL, Fault, Group, Network
from penstock.core.effects import Cancel, Probe, Send
from penstock.core.events import Began, Ended, Event, Failed, Probed
from penstock.drive.kernel import Kernel
from penstock.engine import words
from penstock.engine.batcher import Batcher
from penstock.sim.adapters import Shelf
from penstock.sim.attempts import Attempt, Numbered
from penstock.sim.benchmark import Benchmark
from penstock.sim.dark import Darkness
from penstock.sim.deadlines import Deadlines
from penstock.sim.door import Door
from penstock.sim.faults import plan
from penstock.sim.places import Places
from penstock.sim.prompts import own_text, seen_by_engine
from penstock.sim.readings import Readings
from penstock.workload.request import Request

Tell = Callable[[Event], None]
LOST_S = 10.0
"""Until a connection over which nothing comes or goes any more is known to be lost, as the gateway has it."""
_WOKE = words.Woke()


class Engine:
    """One replica's engine, the way to it, and whether it is well."""

    def __init__(self, replica: Replica, group: Group, network: Network, kernel: Kernel, tell: Tell) -> None:
        self.replica = replica
        self.group = group
        self.dead = False
        self.frozen = False
        self.dark_since: float | None = None
        """Nothing reaches it, and nothing comes from it."""
        self.slowed = 1.0
        self._kills: dict[object, bool] = {}
        """What keeps it dead -> whether who runs it sees that; below what keeps it frozen, or slow."""
        self._freezes: dict[object, None] = {}
        self._slows: dict[object, float] = {}
        self.way_s = (network.round_trip_s if group.round_trip_s is None else group.round_trip_s) / 2
        self._outside_s = group.modelled().outside_s
        self._kernel = kernel
        self._tell = tell
        self._open: dict[str, Attempt] = {}
        """The gateway's connections by attempt: nothing is told of one that it has closed."""
        self._deadlines = Deadlines(kernel, self._in_time, self._give_up)
        self._running: dict[str, Attempt] = {}
        """What the engine works on."""
        self._held: dict[str, Attempt] = {}
        """The same of a frozen one."""
        self._benchmark: Benchmark | None = None
        card = None if group.gpus is None else group.gpus.card(group.cost)
        self.readings = Readings(replica.id, self, network.metrics_lag_s, card, kernel, tell)
        self._devices = self.readings.devices
        self.shelf = None if group.loras is None else Shelf(group.loras, kernel)
        self.adapters: Mapping[str, str] = {}
        """Names of the adapters that it may be asked for."""
        self._armed = inf
        self._alarm = 0
        """Which wake-up counts; those before it were taken back."""
        self._start()

    def _start(self) -> None:
        self.batcher = Batcher(self.group.engine(), each_token=False, histograms=False)
        self._armed, self._alarm = inf, self._alarm + 1
        self._door = None if self.group.http is None else Door(self.group.http)
        if self.shelf is not None:
            self.shelf.restart()
        if self.slowed != 1.0:
            self._turn(words.Slowed(self.slowed))

    def _turn(self, event: words.Event) -> None:
        """A pump, written out: nobody observes it, nothing is told from inside, and half of all turns are its."""
        batcher, kernel = self.batcher, self._kernel
        for order in batcher.on(event, kernel.now):
            self._perform(order)
        wake = batcher.next_wake()
        if wake is not None and wake < self._armed:
            self._armed = wake
            self._alarm = alarm = self._alarm + 1
            kernel.at(wake, self._fire, alarm)
        if self._devices is not None:
            self._devices.works(wake is not None, kernel.now)

    def _fire(self, alarm: int) -> None:
        if alarm == self._alarm:  # else it was taken back
            self._armed = inf
            self._turn(_WOKE)

    # ===== the gateway's side =====

    def submit(
        self, order: Send, request: Request, number: int, way_s: float | None = None, more: tuple[Numbered, ...] = ()
    ) -> Attempt:
        """An attempt is on its way, which takes so long (None: as it is for all); `more` is in the same request."""
        now, way_s = self._kernel.now, self.way_s if way_s is None else way_s
        attempt = Attempt(order, way_s, ((request, number), *more))
        self._open[attempt.name] = attempt
        if order.first_byte_timeout_s != inf:
            self._deadlines.add(attempt, now + order.first_byte_timeout_s)
        if self.dark_since is not None:
            # connections that are kept for reuse seem well until they are known to be lost
            known = now - self.dark_since >= LOST_S
            until = now + order.connect_timeout_s if known else self.dark_since + LOST_S
            self._kernel.at(until, self._lost, (attempt, "connect_timeout" if known else "closed_early"))
        else:
            self._kernel.at(now + way_s + self._outside_s, self._arrive, attempt)
        return attempt

    def abort(self, order: Cancel) -> None:
        """The gateway closes the connection; the engine learns of it in time."""
        if self._benchmark is not None and self._benchmark.id == order.id:
            self._benchmark = None
        self._hang_up(f"{order.id}/{order.attempt}")

    def _hang_up(self, name: str) -> None:
        attempt = self._open.pop(name, None)
        if attempt is not None:
            self._kernel.at(self._kernel.now + attempt.way_s + self._outside_s, self._stop, attempt)

    def _in_time(self, attempt: Attempt) -> bool:
        return attempt.begun or self._open.get(attempt.name) is not attempt

    def _give_up(self, attempt: Attempt, label: Label = "first_byte_timeout") -> None:
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

    def probe(self, timeout_s: float = 5.0, tell: Tell | None = None) -> None:
        """A health probe is on its way; who hears of it, where it is not everybody."""
        dark = self.dark_since is not None
        wait_s = timeout_s if dark else self.way_s
        self._kernel.at(self._kernel.now + wait_s, tell or self._tell, Probed(self.replica.id, not (dark or self.dead)))

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

    def stats(self) -> EngineStats:
        """What a scrape would read."""
        counters, spec, shelf = self.batcher.counters, self.batcher.spec, self.shelf
        waiting = self.batcher.waiting + (0 if shelf is None else shelf.waiting)
        return EngineStats(
            running=self.batcher.running, waiting=waiting, kv_usage=self.batcher.memory.usage,
            prefix_queries=counters.prefix_queries, prefix_hits=counters.prefix_hits,
            kv_tokens=spec.kv_blocks * spec.block_size, kv_block_tokens=spec.block_size,
            lora_slots=None if shelf is None else shelf.slots,
            loras_running=None if shelf is None else shelf.running_names(),
            loras_waiting=None if shelf is None else shelf.waiting_names(),
        )  # fmt: skip

    # ===== the engine's side =====

    def _arrive(self, attempt: Attempt) -> None:
        if self.dark_since is not None:
            return
        if self.dead:
            self._answer(attempt, Failed(attempt.order.id, attempt.order.attempt, "connect_refused"))
        elif self.frozen:
            self._held[attempt.name] = attempt
        else:
            for name in attempt.names:
                self._running[name] = attempt
            if self._door is None:
                self._work(attempt)
            else:
                self._kernel.at(self._door.through(len(attempt.names), self._kernel.now), self._work, attempt)

    def _work(self, attempt: Attempt) -> None:
        model = attempt.order.model
        adapter = model if self.shelf is not None and model in self.adapters else ""
        for name, (request, number) in zip(attempt.names, attempt.inputs):
            if self._running.get(name) is not attempt:
                continue  # it was stopped, or the engine was, since it arrived
            blocks, own = seen_by_engine(request, self.batcher.spec.block_size, adapter), own_text(number)
            submit = words.Submit(name, request.prompt_tokens, request.output_tokens, blocks, "length", own)
            if self.shelf is None or not adapter:
                self._turn(submit)
            else:
                self.shelf.take(name, adapter, partial(self._turn, submit))

    def _stop(self, attempt: Attempt) -> None:
        for name in attempt.names:
            if self._held.pop(name, None) is None and self._running.pop(name, None) is not None:
                self._turn(words.Abort(name))
                if self.shelf is not None:
                    self.shelf.over(name)

    def _perform(self, order: words.Order) -> None:
        attempt = self._running.get(order.id)
        if attempt is None:
            return  # aborted
        sent = attempt.order
        if isinstance(order, words.Emit):
            if order.first and attempt.streams:
                attempt.out = True
                self._answer(attempt, Began(sent.id, sent.attempt))
            return
        del self._running[order.id]
        if self.shelf is not None:
            self.shelf.over(order.id)
        if len(attempt.names) > 1:
            if (told := attempt.took(order)) is not None:
                self._stop(attempt)  # nobody waits for the others of a list that is refused
                self._answer(attempt, told)
        elif isinstance(order, words.Finish):
            usage = Usage(order.prompt_tokens, order.completion_tokens, order.cached_tokens)
            self._answer(attempt, Ended(sent.id, sent.attempt, 200, usage, order.completion_tokens))
        elif order.why == "queue_full":
            self._answer(attempt, Failed(sent.id, sent.attempt, "upstream_busy", 503))
        else:  # too long for this engine: the client's mistake, answered as one
            self._answer(attempt, Ended(sent.id, sent.attempt, 400))

    def _answer(self, attempt: Attempt, event: Began | Ended | Failed) -> None:
        """What has left the engine arrives, whatever becomes of it, unless its connection is closed by then."""
        self._kernel.at(self._kernel.now + attempt.way_s, self._answered, (attempt, event))

    def _answered(self, what: tuple[Attempt, Began | Ended | Failed]) -> None:
        attempt, event = what
        if self._open.get(attempt.name) is not attempt:
            return
        if isinstance(event, Began):
            attempt.begun = True
        else:
            del self._open[attempt.name]
        self._hear(event)

    # ===== what goes wrong =====

    # each by some cause, and until all causes of it are over

    @property
    def noticed(self) -> bool:
        """Whether who runs it sees how it is."""
        return not self._kills or any(self._kills.values())

    def die(self, cause: object = None, noticed: bool = True) -> None:
        """The process is gone; whoever waited for it hears a closed connection."""
        self._kills[cause] = noticed
        if not self.dead:
            self.dead = True
            self._armed, self._alarm = inf, self._alarm + 1
            self._close(self._running)
            self._close(self._held)

    def _close(self, taken: dict[str, Attempt]) -> None:
        for attempt in taken.values():
            label: Label = "died_mid_answer" if attempt.out else "closed_early"
            self._answer(attempt, Failed(attempt.order.id, attempt.order.attempt, label))
        taken.clear()
        self._abandon()

    def _abandon(self) -> None:
        """All that it worked on is gone."""
        if self.shelf is not None:
            self.shelf.abandon()
        if self._devices is not None and self.dead:
            self._devices.works(False, self._kernel.now)

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

    def freeze(self, cause: object = None) -> None:
        """Nothing comes any more, neither of what it works on nor of what it takes in."""
        self._freezes[cause] = None
        if self.frozen:
            return
        self.frozen = True
        self._held, self._running = {**self._held, **self._running}, {}
        self._abandon()
        for name, attempt in self._held.items():
            self._turn(words.Abort(name))
            if attempt.out and self._open.get(name) is attempt:
                self._kernel.at(self._kernel.now + attempt.order.idle_timeout_s, self._silent, attempt)

    def _silent(self, attempt: Attempt) -> None:
        if attempt.name in self._held and self._open.get(attempt.name) is attempt:
            self._give_up(attempt, "idle_timeout")

    def thaw(self, cause: object = None) -> None:
        """What it held while it was frozen is lost: its connections are closed."""
        self._freezes.pop(cause, None)
        if self.frozen and not self._freezes:
            self.frozen = False
            self._close(self._held)

    @property
    def region(self) -> str:
        """Where it is."""
        return self.group.region

    def darken(self) -> None:
        """Its region is cut off: what is under way is lost, though nobody knows it yet."""
        now = self.dark_since = self._kernel.now
        taken, self._running, self._held = self._running, {}, {}
        self._abandon()
        for name in taken:
            self._turn(words.Abort(name))
        for attempt in self._open.values():
            label: Label = "died_mid_answer" if attempt.out else "closed_early"
            self._kernel.at(now + LOST_S, self._lost, (attempt, label))

    def lighten(self) -> None:
        """Its region can be reached again."""
        self.dark_since = None

    def _lost(self, what: tuple[Attempt, Label]) -> None:
        attempt, label = what
        if self._open.get(attempt.name) is attempt:
            self._give_up(attempt, label)


class Cloud:
    """All engines of a scenario."""

    def __init__(
        self, fleet: tuple[Group, ...], network: Network, kernel: Kernel, tell: Tell, places: Places | None = None,
        adapters: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.fleet = fleet
        self._places = places
        self._adapters = adapters or {}
        self._network = network
        self._kernel = kernel
        self._tell = tell
        groups = [group for group in fleet for _ in range(group.count)]
        width = len(str(len(groups) - 1))
        self.engines: dict[str, Engine] = {}
        self._darkness = Darkness(self.engines, kernel)
        for number, group in enumerate(groups):
            self.add(f"r{number:0{width}d}", group)

    def add(self, name: str, group: Group) -> Engine:
        """One more engine, of this group."""
        replica = Replica(
            id=name, url=f"http://{name}", pool=group.pool or POOL, engine="vllm", max_concurrent_requests=group.seats,
            weight=group.weight, hourly_cost=group.money_per_hour(), region=group.region,
        )  # fmt: skip
        engine = self.engines[name] = Engine(replica, group, self._network, self._kernel, self._tell)
        engine.adapters = self._adapters
        if self._places is not None:
            engine.way_s = self._places.watch_way_s(group.region)
        self._darkness.joins(engine)
        return engine

    def adapter_loads(self) -> int:
        """LoRA adapters that engines brought into their memory."""
        if not self._adapters:
            return 0
        return sum(engine.shelf.loads for engine in self.engines.values() if engine.shelf is not None)

    def plan(self, faults: tuple[Fault, ...]) -> None:
        """These go wrong in time."""
        plan(faults, list(self.engines.values()), self._kernel)
        self._darkness.plan(faults)
