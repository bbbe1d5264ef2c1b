"""The other workers, seen from the loop that serves: who leads with a key, and answers from there.

A question costs one round trip to the worker that the key hashes to, and none where that is this one. Whoever is dead,
stopped or slow costs a call a second at most, and then it is sent as if it were alone.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from penstock.config.schema import GatewayTimeouts
from penstock.core.cache.register import NOBODY, Leader, keepers_of
from penstock.core.effects import LookUp, Release
from penstock.core.events import Event, Found, LookedUp
from penstock.gateway.cache.handed import Feed
from penstock.gateway.cache.lending import MOST_LINES, Lending
from penstock.gateway.cache.shelf import Shelf
from penstock.gateway.cache.talk import SILENCE_S, Answering, Have, Hello, Joined, Line, Over, Question, Told, Want

log = logging.getLogger("penstock.cache")

LOOK_S: Final = 1.0
"""Longest wait for other workers, by the calls that wait for them: in the middle of a burst one is slow, not dead."""
ALONE_S: Final = 5.0
"""A worker that did not answer in time is left alone for so long."""
BEAT_S: Final = 0.5
"""A worker that brings an answer says so often that it is."""
DIAL_S: Final = 0.02
"""Between two tries to reach a worker that does not listen (yet); longer and longer, to at most `DIAL_MOST_S`."""
DIAL_MOST_S: Final = 0.5
MOST_TRIES: Final = 8
"""Workers that were named and do not have it; then it is sent."""


class Floor(Protocol):
    """The data plane, as seen from here."""

    shelf: Shelf
    timeouts: GatewayTimeouts
    tell: Callable[[Event], None]


class Look:
    """One question, until it is answered or its time is over."""

    __slots__ = ("call", "feed", "key", "otherwise", "over", "priority", "timer", "tries", "whom", "wrong")

    def __init__(self, order: LookUp, otherwise: Callable[[], None]) -> None:
        self.key, self.call, self.priority = order.key, order.id, order.priority or 0
        self.otherwise = otherwise
        """What is done where nobody has it."""
        self.wrong = NOBODY
        self.whom = 0
        """The worker that is asked now."""
        self.tries = 0
        self.over = False
        self.timer: asyncio.TimerHandle | None = None
        self.feed: Feed | None = None


class Link:
    """The line to another worker, for questions."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.line: Line[Answering] | None = None
        """None: it does not listen."""
        self.alone_until = 0.0
        self.looks: dict[int, Look] = {}
        self.closed = asyncio.Event()


class Beside:
    """All other workers. Made inside a running event loop."""

    def __init__(self, worker: int, workers: int, path_of: Callable[[int], str], floor: Floor) -> None:
        """`path_of`: where a worker listens for the others."""
        self._worker = worker
        self._count = workers
        self._path_of = path_of
        self._floor = floor
        self._loop = asyncio.get_running_loop()
        self._links = {number: Link(number) for number in range(1, workers + 1) if number != worker}
        self.lending = Lending(worker, floor, self._tick)
        """For the others."""
        self._looks: dict[str, Look] = {}
        """By call."""
        self._asked: dict[str, int] = {}
        """Calls for which others were asked, and whose register knows of them."""
        self._feeds: dict[Feed, None] = {}
        self._joined: dict[str, Feed] = {}
        """By call, where the Gate has not decided yet."""
        self._numbers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat: asyncio.TimerHandle | None = None
        self.asked = self.late = self.followed = self.fetched = 0
        """Questions to others; those that were not answered in time; answers that came from there as they were made;
        those that were kept there."""

    # ===== life =====

    async def start(self) -> None:
        """Listen for the others, and call them for as long as it lives. Raises OSError."""
        await self.lending.start(self._path_of(self._worker))
        for link in self._links.values():
            self._spawn(self._dial(link))

    async def close(self) -> None:
        """Be there for nobody any more."""
        if self._beat is not None:
            self._beat.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.lending.close()
        for link in self._links.values():
            if link.line is not None:
                link.line.close()
        for feed in list(self._feeds):
            feed.stop()

    async def _dial(self, link: Link) -> None:
        pause_s = DIAL_S
        while True:
            link.closed.clear()
            line: Line[Answering] = Line(Answering, lambda word: self._told(link, word), link.closed.set)
            try:
                await self._connect(line, link.worker)
            except OSError:
                await asyncio.sleep(pause_s)  # noqa: TID251 - it starts, or is started again
                pause_s = min(DIAL_MOST_S, 1.5 * pause_s)
                continue
            line.tell(Hello(self._worker))
            link.line, pause_s = line, DIAL_S
            await link.closed.wait()
            link.line = None
            looks, link.looks = link.looks, {}
            for look in looks.values():
                if not look.over:
                    self._ask(look)

    async def _connect(self, line: Line[Answering], worker: int) -> None:
        await self._loop.create_unix_connection(lambda: line, self._path_of(worker))

    def _spawn(self, doing: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def linked(self) -> int:
        """Other workers that can be asked."""
        return sum(link.line is not None for link in self._links.values())

    def metrics(self) -> dict[str, float]:
        """Family -> value."""
        return {
            "cache_workers_linked": self.linked, "cache_workers_asked": self.asked, "cache_workers_late": self.late,
            "cache_workers_followed": self.followed, "cache_workers_fetched": self.fetched,
        }  # fmt: skip

    # ===== who leads? =====

    def look_up(self, order: LookUp, otherwise: Callable[[], None]) -> None:
        """Ask others for an answer: the Gate is told within a bounded time; or `otherwise` is done, where the call may
        lead, or nobody answers."""
        look = self._looks[order.id] = Look(order, otherwise)
        self._ask(look)

    def _ask(self, look: Look) -> None:
        now, key = self._loop.time(), look.key
        keeper = next(number for number in keepers_of(key, self._count) if self._reachable(number, now))
        self._asked[look.call] = keeper
        if keeper == self._worker:
            self._answer(look, self.lending.register.ask(key, Leader(keeper, look.call), look.wrong))
            return
        link = self._links[keeper]
        assert link.line is not None
        self._numbers += 1
        self.asked += 1
        link.looks[self._numbers] = look
        self._watch(look, keeper)
        link.line.tell(Question(self._numbers, key, look.call, *look.wrong))

    def _reachable(self, worker: int, now: float) -> bool:
        link = self._links.get(worker)
        return link is None or (link.line is not None and now >= link.alone_until)

    def _watch(self, look: Look, whom: int) -> None:
        look.whom = whom
        if look.timer is None:
            look.timer = self._loop.call_later(LOOK_S, self._too_late, look)

    def _told(self, link: Link, word: Answering) -> None:
        """A register's answer."""
        if isinstance(word, Told):
            look = link.looks.pop(word.number, None)
            if look is not None and not look.over:
                self._answer(look, Leader(word.worker, word.call))

    def _answer(self, look: Look, leader: Leader) -> None:
        worker = leader.worker
        link = self._links.get(worker)
        stuck = link is not None and self._loop.time() < link.alone_until  # who waits for it may wait for ever
        if link is None or stuck or look.tries >= MOST_TRIES or len(self._feeds) >= MOST_LINES:
            self._give_up(look)
        else:
            look.tries += 1
            look.wrong = leader
            self._watch(look, worker)
            self._spawn(self._fetch(look, worker))

    def _give_up(self, look: Look) -> None:
        self._end(look)
        look.otherwise()

    def _end(self, look: Look) -> None:
        look.over = True
        self._looks.pop(look.call, None)
        if look.timer is not None:
            look.timer.cancel()

    def _too_late(self, look: Look) -> None:
        """Nobody has answered in time: it is sent, and who is stuck is left alone for a while."""
        self.late += 1
        link, now = self._links[look.whom], self._loop.time()
        if now >= link.alone_until:
            log.warning("worker %d does not answer in time: it is not asked for %g s", look.whom, ALONE_S)
        link.alone_until = now + ALONE_S
        self._drop(look)
        look.otherwise()

    def _drop(self, look: Look) -> None:
        """What comes of it is not wanted any more."""
        self._end(look)
        for link in self._links.values():
            if link.looks:
                link.looks = {number: other for number, other in link.looks.items() if not other.over}
        if look.feed is not None:
            look.feed.stop()

    def release(self, order: Release) -> None:
        """A call that had asked is over, or another asks in its place."""
        look = self._looks.get(order.id)
        if look is not None:
            self._drop(look)
        keeper = self._asked.pop(order.id, 0)
        if keeper == self._worker:
            self.lending.register.release(order.key, Leader(keeper, order.id), order.kept)
        elif keeper and (line := self._links[keeper].line) is not None:
            line.tell(Over(order.key, order.id, order.kept))

    # ===== an answer of another worker =====

    async def _fetch(self, look: Look, worker: int) -> None:
        """Ask another worker for its answer."""
        line: Line[Answering] = Line(
            Answering, lambda word: self._heard(look, feed, word), lambda: self._fell_silent(look, feed)
        )
        feed = look.feed = Feed(line, self._floor.tell, self._loop.time())
        self._feeds[feed] = None
        try:
            await self._connect(line, worker)
        except OSError:
            self._fell_silent(look, feed)
            return
        if look.over:  # closing before there was a connection closed nothing
            line.close()
            return
        self._tick()
        line.tell(Want(look.key, look.priority))

    def _heard(self, look: Look, feed: Feed, word: Answering) -> None:
        feed.heard_at = self._loop.time()
        if look.feed is not feed or look.over:
            feed.heard(word)
            return
        match word:
            case Joined():
                self._end(look)
                self._follow(look, feed, word)
            case Have():
                self._end(look)
                self._take(look, word)
                feed.stop()
            case _:
                look.feed = None
                feed.stop()
                self._ask(look)

    def _fell_silent(self, look: Look, feed: Feed) -> None:
        self._feeds.pop(feed, None)
        if look.feed is feed and not look.over:
            look.feed = None
            self._ask(look)
        else:
            feed.closed()

    def _follow(self, look: Look, feed: Feed, word: Joined) -> None:
        """What it wants is being made: the Gate says whether it still does."""
        self._asked.pop(look.call, None)
        self._joined[look.call] = feed
        self._floor.tell(LookedUp(look.call, None, word.call, word.mark))
        if self._joined.pop(look.call, None) is not None:
            feed.stop()
        else:
            self.followed += 1

    def joined(self, call: str) -> Feed | None:
        """What brings the answer that this call follows."""
        return self._joined.pop(call, None)

    def _take(self, look: Look, word: Have) -> None:
        self.fetched += 1
        found = self._floor.shelf.found
        found[look.call] = word.kept
        self._floor.tell(LookedUp(look.call, Found(word.kept.size, word.age_s, word.left_s, word.tags, word.mark)))
        found.pop(look.call, None)  # where nobody wanted it any more

    # ===== time =====

    def _tick(self) -> None:
        if self._beat is None:
            self._beat = self._loop.call_later(BEAT_S, self._beats)

    def _beats(self) -> None:
        self._beat = None
        now = self._loop.time()
        lends = self.lending.beat(now)
        for feed in list(self._feeds):
            feed.look(now, SILENCE_S)
        if lends or self._feeds:
            self._tick()
