"""`penstock pressure --live`: the pressure tests that fit one machine, against a gateway that starts real processes.

Each test is a gateway of its own on loopback over a pool of emulated replicas that it runs by itself, and load from
this process, in open loop. How much is sent follows from what such a first fleet was measured to serve.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from math import ceil
from pathlib import Path
from typing import NamedTuple

import uvloop
from msgspec import Struct

from penstock.base.errors import ConfigError
from penstock.cli.admin import AdminError
from penstock.cli.house import LOOK_S, POOL, SEATS, WAIT_S, House, opened, pause
from penstock.config.scenarios import Expect
from penstock.loadgen.answer import Answer
from penstock.loadgen.client import Client, Target
from penstock.loadgen.exchange import Timeouts
from penstock.loadgen.run import Plan, Replay, raise_file_limit
from penstock.loadgen.tally import Kept, percentile
from penstock.loadgen.traces import open_trace
from penstock.workload.request import Request

FULL_S = 6.0
"""For so long the first fleet is kept full, to see what it can serve."""
AFTER_S = 60.0
"""What fails so long after an event counts as its failures."""

Numbers = dict[str, float]


class Live(NamedTuple):
    """One test."""

    number: int
    told: str
    first: int
    """Replicas that are there at the beginning, and the least; and the most."""
    most: int
    load: float
    """Requests a second at the top, as a multiple of what the first fleet (of one where that is none) serves."""
    rises_s: float
    top_s: float
    rules: tuple[Expect, ...]
    event: str = ""
    """What happens in the middle of the top: kill, interrupt; empty: nothing."""
    at_once: int = 0
    """Instead of a rate: so many requests within a second."""


def _at_most(metric: str, most: float) -> Expect:
    return Expect(metric=metric, at_most=most)


LIVE = (
    Live(1, "0 to three times what the first fleet serves, in 30 s", 2, 8, 3.0, 30.0, 30.0,
         (_at_most("latency_p95_s", 3.0), _at_most("failed_share", 0.01), _at_most("first_scale_s", 60.0))),
    Live(2, "half of the replicas die", 4, 6, 0.6, 5.0, 60.0,
         (_at_most("failover_s", 10.0), _at_most("storm_failed_share", 0.05), _at_most("capacity_back_s", 300.0)),
         event="kill"),
    Live(5, "from none", 0, 4, 0.8, 1.0, 20.0,
         (_at_most("first_answer_s", 30.0), _at_most("failed_share", 0.01))),
    Live(6, "80 % of the spot replicas are taken back at once", 5, 12, 0.6, 5.0, 40.0,
         (_at_most("failed", 0.0), _at_most("latency_p95_s", 3.0)), event="interrupt"),
    Live(8, "10,000 requests at once", 2, 8, 0.0, 0.0, 0.0,
         (_at_most("failed", 0.0), _at_most("first_scale_s", 60.0)), at_once=10_000),
)  # fmt: skip
"""In the order of their numbers, which are those of the simulated ones. The others need more than one machine."""


class Verdict(Struct, frozen=True, kw_only=True):
    """A criterion and what came of it."""

    metric: str
    value: float
    expected: str
    holds: bool


class Lived(Struct, frozen=True, kw_only=True):
    """What came out of one test."""

    number: int
    told: str
    requests: int
    capacity_rps: float
    """What the first fleet was measured to serve."""
    verdicts: list[Verdict]

    @property
    def passed(self) -> bool:
        """Every criterion."""
        return all(one.holds for one in self.verdicts)


def chosen(only: str | None) -> list[Live]:
    """The tests of these numbers. Raises ConfigError."""
    if only is None:
        return list(LIVE)
    known = {str(one.number): one for one in LIVE}
    asked = [part.strip() for part in only.split(",")]
    if unknown := [part for part in asked if part not in known]:
        raise ConfigError(
            [f"--only: {part!r} is no test that runs live: there are {', '.join(known)}" for part in unknown]
        )
    return [one for one in LIVE if str(one.number) in asked]


def quicker(live: Live) -> Live:
    """A small size of a test."""
    return live._replace(rises_s=live.rises_s / 3, top_s=live.top_s / 3, at_once=live.at_once // 20)


def lived(live: Live, seed: int) -> Lived:
    """Run a test. Raises OSError where a gateway cannot be started."""
    raise_file_limit()
    with (
        tempfile.TemporaryDirectory(prefix="penstock-live-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_play(live, seed, Path(folder)))


# ===== what is seen =====


class Watch:
    """How the fleet stands over time."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.seen: list[tuple[float, int, int]] = []
        """When, ready replicas, wanted replicas."""

    async def run(self) -> None:
        """Look until it is cancelled."""
        while True:
            try:
                view = await self._house.view()
                self.seen.append((time.perf_counter(), view["states"]["ready"], view["wanted"] or 0))
            except AdminError:
                pass  # too busy to answer in time: the next look tells more
            await pause(LOOK_S)


def numbers_of(
    answers: Iterable[Answer], lost: int, seen: list[tuple[float, int, int]], first: int, began: float,
    event_at: float | None,
) -> Numbers:  # fmt: skip
    """The criteria's numbers. `lost` requests got no answer at all; one that failed counts as one that took as long as
    the whole test. Times in seconds on one clock; what never happened is as late as the end."""
    rows = list(answers)
    end = max([began, *(one.ended_at for one in rows)])
    failed = [one for one in rows if one.error]
    latencies = sorted([end - began] * (len(failed) + lost) + [one.e2e_s for one in rows if not one.error])
    firsts = [one.first_content_at for one in rows if one.first_content_at is not None]
    count = len(rows) + lost
    grown = [at for at, _, wanted in seen if at >= began and wanted > first]
    found = {
        "failed": float(len(failed) + lost), "failed_share": (len(failed) + lost) / max(1, count),
        "latency_p95_s": percentile(latencies, 0.95) if latencies else 0.0,
        "first_answer_s": min(firsts, default=end) - began, "first_scale_s": min(grown, default=end) - began,
        "ready_peak": float(max((ready for _, ready, _ in seen), default=0)),
    }  # fmt: skip
    if event_at is not None:
        found |= _after(rows, failed, seen, first, event_at, end)
    return found


def _after(
    rows: list[Answer], failed: list[Answer], seen: list[tuple[float, int, int]], first: int, event_at: float,
    end: float,
) -> Numbers:  # fmt: skip
    late = [one.ended_at for one in failed if one.ended_at >= event_at]
    storm = [
        one for one in rows if event_at - AFTER_S <= one.started_at <= event_at + AFTER_S and one.ended_at >= event_at
    ]
    short = next((at for at, ready, _ in seen if at >= event_at and ready < first), None)
    back = None if short is None else next((at for at, ready, _ in seen if at > short and ready >= first), end)
    return {
        "failover_s": max(late, default=event_at) - event_at,
        "storm_failed_share": sum(bool(one.error) for one in storm) / max(1, len(storm)),
        "capacity_back_s": 0.0 if back is None else back - event_at,
    }


# ===== a test =====


async def _play(live: Live, seed: int, folder: Path) -> Lived:
    capacity = await _capacity(folder / "first", live, seed) if live.load else 0.0
    async with opened(folder / "test", live.first, live.most, spot=live.event == "interrupt") as house:
        requests = _requests(live, capacity, seed, folder)
        tally, watch = Kept(), Watch(house)
        client = Client(Target("127.0.0.1", house.data_port), timeouts=Timeouts(total_s=WAIT_S))
        replay = Replay(requests, Plan(model=POOL, seed=seed, concurrency=20_000), client, tally)
        looking = asyncio.create_task(watch.run())
        began = time.perf_counter()
        event = asyncio.create_task(_happen(house, live)) if live.event else None
        try:
            await replay.run()
            event_at = None if event is None else await event
        finally:
            looking.cancel()
        lost = tally.not_sent + tally.cut
        numbers = numbers_of(tally.answers, lost, watch.seen, live.first, began, event_at)
    return judged(live, len(requests), capacity, numbers)


def judged(live: Live, requests: int, capacity_rps: float, numbers: Numbers) -> Lived:
    """The numbers held against the test's criteria."""
    verdicts = [
        Verdict(
            metric=rule.metric, value=numbers[rule.metric], holds=rule.holds(numbers[rule.metric]),
            expected=rule.said(),
        )
        for rule in live.rules
    ]  # fmt: skip
    return Lived(
        number=live.number, told=live.told, requests=requests, capacity_rps=capacity_rps, verdicts=verdicts
    )  # fmt: skip


async def _capacity(folder: Path, live: Live, seed: int) -> float:
    """Requests a second that the first fleet (one replica, where that is none) serves to twice as many users as it has
    seats. It is another one, so that the test meets a fleet that has seen nothing."""
    first = max(1, live.first)
    users = 2 * SEATS * first
    async with opened(folder, first, first) as house:
        requests = _of(f"{{kind: constant, rate: {100 * users}}}", f"requests: {100 * users}", seed, house.folder)
        tally = Kept()
        client = Client(Target("127.0.0.1", house.data_port), timeouts=Timeouts(total_s=WAIT_S))
        await Replay(requests, Plan(model=POOL, closed=users, duration_s=FULL_S, seed=seed + 1), client, tally).run()
    done = sorted(one.ended_at for one in tally.answers if not one.error)
    half = done[len(done) // 2 :]  # they all begin at once
    if len(half) < 2:
        raise OSError("the first fleet answers nothing")
    return (len(half) - 1) / (half[-1] - half[0])


def _requests(live: Live, capacity_rps: float, seed: int, folder: Path) -> list[Request]:
    if live.at_once:
        return _of(f"{{kind: constant, rate: {live.at_once}}}", f"requests: {live.at_once}", seed, folder)
    top = live.load * capacity_rps
    whole_s = live.rises_s + live.top_s
    points = f"[[0, 0], [{live.rises_s}, {top}], [{whole_s}, {top}]]"
    return _of(f"{{kind: profile, points: {points}}}", f"duration: {whole_s}s", seed, folder)


def _of(arrivals: str, length: str, seed: int, folder: Path) -> list[Request]:
    file = folder / "workload.yaml"
    sizes = (
        "{kind: independent, prompt: {kind: uniform, low: 20, high: 200}, output: {kind: uniform, low: 8, high: 40}}"
    )
    file.write_text(f"workload: {{kind: synthetic, arrivals: {arrivals}, {length}, sizes: {sizes}}}\n")
    return open_trace(str(file), seed)


async def _happen(house: House, live: Live) -> float:
    """The event, in the middle of the top. When it was."""
    await pause(live.rises_s + live.top_s / 2)
    events: dict[str, Callable[[House], None]] = {"kill": _kill_half, "interrupt": _interrupt}
    await asyncio.to_thread(events[live.event], house)
    return time.perf_counter()


def _kill_half(house: House) -> None:
    found = list(house.numbers().values())
    for number in found[: len(found) // 2]:
        os.kill(number, signal.SIGKILL)


def _interrupt(house: House) -> None:
    names = list(house.numbers())
    house.notices.write_text("".join(f"{name}\n" for name in names[: ceil(0.8 * len(names))]))
