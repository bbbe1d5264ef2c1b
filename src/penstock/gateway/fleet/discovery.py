"""Asks sources of replicas, each at its own pace, and hands what is believed of their answers to the roster.

One task a source, never per replica. Every look has its time limit; a failing source is asked again after one second,
then two, four…, up to its interval. Log lines come only when something changes.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from penstock.adapters.discovery.registry import interval_of, source_of, trust_of
from penstock.adapters.discovery.settle import Settled
from penstock.base.nouns import Found, SourceView
from penstock.base.ports import Source
from penstock.config.schema import Discovered, SourceConf
from penstock.gateway.fleet.roster import SourceKey, key_of

log = logging.getLogger("penstock.gateway")

LEAST_S = 1.0
"""Between two looks, however short a TTL is."""


class _Watch:
    """One source that is asked."""

    def __init__(self, key: SourceKey, spec: SourceConf, settled: Settled | None) -> None:
        self.key = key
        self.spec = spec
        self.source: Source = source_of(spec)
        self.settled = settled or Settled(trust_of(spec))
        self.settled.spec = trust_of(spec)
        self.task: asyncio.Task[None] | None = None


class Discovery:
    """All sources of all pools."""

    def __init__(
        self, tell: Callable[[Mapping[SourceKey, tuple[Found, ...]]], None], clock: Callable[[], float],
        least_s: float = LEAST_S,
    ) -> None:  # fmt: skip
        """`tell` hears what is believed of all sources, whenever that has changed."""
        self._tell = tell
        self._clock = clock
        self._least_s = least_s
        self._watches: dict[SourceKey, _Watch] = {}
        self._told: dict[SourceKey, tuple[Found, ...]] = {}
        self._running = False

    def apply(self, sources: tuple[Discovered, ...]) -> None:
        """From now on these are asked. What is known of one that stays is kept, even where its settings changed."""
        wanted = {key_of(source): source.spec for source in sources}
        for key in [key for key in self._watches if key not in wanted]:
            self._stop(self._watches.pop(key))
        for key, spec in wanted.items():
            old = self._watches.get(key)
            if old is not None and old.spec == spec:
                continue
            if old is not None:
                self._stop(old)
            self._watches[key] = _Watch(key, spec, None if old is None else old.settled)
            if self._running:
                self._start(self._watches[key])

    def start(self) -> None:
        """Begin to ask."""
        self._running = True
        for watch in self._watches.values():
            self._start(watch)

    def close(self) -> None:
        """Ask no more."""
        self._running = False
        for watch in self._watches.values():
            self._stop(watch)

    def _start(self, watch: _Watch) -> None:
        watch.task = asyncio.get_running_loop().create_task(self._ask_on(watch))

    def _stop(self, watch: _Watch) -> None:
        if watch.task is not None:
            watch.task.cancel()

    async def _ask_on(self, watch: _Watch) -> None:
        while True:
            try:
                lasts_s = await self.look(watch)
            except Exception as bug:  # the next look may do better
                log.error("discovery of %s failed: a bug", " ".join(watch.key), exc_info=bug)
                lasts_s = None
            await asyncio.sleep(self._pause_s(watch, lasts_s))  # noqa: TID251 - a name says nothing when it changes

    def _pause_s(self, watch: _Watch, lasts_s: float | None) -> float:
        interval_s = interval_of(watch.spec)[0]
        if watch.settled.failing:
            return max(self._least_s, min(interval_s, self._least_s * 2.0 ** min(20, watch.settled.failing - 1)))
        return max(self._least_s, interval_s if lasts_s is None else min(interval_s, lasts_s))

    async def look(self, watch: _Watch) -> float | None:
        """Ask once; for how long the answer lasts, where the source says so."""
        settled = watch.settled
        failing, before = settled.error, settled.found()
        try:
            sighting = await watch.source.look(interval_of(watch.spec)[1])
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError
            settled.failed((str(error) or "no answer in time")[:300], self._clock())
            lasts_s = None
        else:
            settled.saw(sighting.found, self._clock())
            lasts_s = sighting.lasts_s
        self._say(watch, failing, before)
        found = self.found()
        if found != self._told:
            self._tell(found)
            self._told = found  # only now: what a bug has kept from the roster is told once more
        return lasts_s

    def found(self) -> dict[SourceKey, tuple[Found, ...]]:
        """What is believed of every source."""
        return {key: watch.settled.found() for key, watch in self._watches.items()}

    def _say(self, watch: _Watch, failing: str, before: tuple[Found, ...]) -> None:
        settled, who = watch.settled, f"pool {watch.key[0]}, {watch.key[1]}"
        if settled.error and not failing:
            kept = len(settled.found())
            log.warning("discovery (%s) fails: %s; the %d replicas known stay", who, settled.error, kept)
        elif failing and not settled.error:
            log.info("discovery (%s) works again", who)
        old, new = {one.address for one in before}, {one.address for one in settled.found()}
        for sign, addresses in (("found", new - old), ("gave up", old - new)):
            if addresses:
                shown = ", ".join(sorted(addresses)[:20])
                log.info("discovery (%s) %s %d: %s", who, sign, len(addresses), shown)

    def views(self) -> list[SourceView]:
        """Every source as it stands."""
        return [self._view(watch) for watch in self._watches.values()]

    def _view(self, watch: _Watch) -> SourceView:
        settled, now = watch.settled, self._clock()
        return SourceView(
            pool=watch.key[0], source=watch.key[1], found=[one.address for one in settled.found()],
            missing=settled.missing(now), looked_s=_ago(settled.looked_at, now), good_s=_ago(settled.good_at, now),
            error=settled.error, looks=settled.looks, failures=settled.failures,
        )  # fmt: skip


def _ago(at: float | None, now: float) -> float | None:
    return None if at is None else max(0.0, now - at)
