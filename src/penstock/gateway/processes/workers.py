"""The workers of a gateway as their parent has them: processes that are started, told, asked, ended, and started again
when they die.

Each is the same program with a socket to the parent; it ends when that closes. What is told to all is encoded once.
"""

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from penstock.config.addresses import show_address
from penstock.config.schema import Settings
from penstock.core.events import Invalidated
from penstock.core.shares import Shares
from penstock.gateway.processes.channel import Channel
from penstock.gateway.processes.words import (
    Answer,
    Ask,
    Begin,
    Halt,
    Learnt,
    Ready,
    Report,
    Settle,
    Shared,
    Snapshot,
    Told,
    Trouble,
    Up,
)

log = logging.getLogger("penstock.gateway")

START_S = 60.0
"""How long a worker may take until it listens: imports on a busy machine."""
ASK_S = 2.0
BACKOFF_S = (0.1, 5.0)
"""Before one that died is started again: at first, and at most."""
WELL_S = 10.0
"""One that has lived for so long may be started again at once."""
GRACE_S = 0.25
"""Once a worker has died its connections are closed; engines get so long to see it before others have its seats."""
MOVE_S = 0.01
"""Shares are moved at most this often."""
TURN_S = 0.5
"""And looked at this often where nobody reports."""
LATE_S = 5.0
"""How long a worker may take to end beyond what its answers were given."""
MODULE = "penstock.gateway.processes.worker"


class Home(Protocol):
    """The parent, as its workers need it."""

    def begin(self, worker: int) -> Begin:
        """The first word to a worker."""
        ...

    def known(self) -> list[Learnt | Invalidated]:
        """What a worker that is new must be told of the fleet."""
        ...

    def lost(self, snapshot: Snapshot) -> None:
        """A worker has ended; this is what it showed last."""
        ...

    def ended(self, worker: int, killed: bool) -> None:
        """A worker has ended, and engines have had time to see it. `killed`: it had no time to say what it had used."""
        ...


class One:
    """One life of a worker."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: Channel[Up] | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()
        """It has ended, and was buried."""
        self.report = Report(0, 0, {}, {})
        self.snapshot: Snapshot | None = None
        self.since = asyncio.get_running_loop().time()
        self.questions: dict[int, asyncio.Future[bytes | None]] = {}

    def tell(self, message: object) -> None:
        """Send it a word."""
        if self.channel is not None:
            self.channel.tell(message)

    def send(self, frame: bytes) -> None:
        """Send it a word that is framed."""
        if self.channel is not None:
            self.channel.send(frame)


class Workers:
    """All of them."""

    def __init__(self, count: int, home: Home, clock: Callable[[], float]) -> None:
        self.count = count
        self._home = home
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.shares = Shares()
        self.living: dict[int, One] = {}
        """By number, from 1 on."""
        self.restarts = 0
        self._failures: dict[int, int] = {}
        """Short lives in a row."""
        self._settle: Settle | None = None
        self._facts: list[Learnt | Invalidated] = []
        self._numbers = 0
        self._lives = 0
        self._stopping = False
        self._halt: Halt | None = None
        self._moving: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._frame = Channel[Up](Up, _nothing, _nothing).framed

    # ===== life =====

    async def start(self) -> None:
        """Start all, and wait until they listen. Raises OSError where one cannot."""
        try:
            ones = [await self._spawn(number) for number in range(1, self.count + 1)]
            async with asyncio.timeout(START_S):
                await asyncio.gather(*(one.ready for one in ones))
        except TimeoutError:
            self.kill()
            raise OSError(f"the workers do not listen after {START_S:g} s") from None
        except OSError:
            self.kill()
            raise
        self._tick()

    async def stop(self, within_s: float) -> None:
        """Let all end: answers may take so long to finish."""
        self._stopping = True
        self._halt = Halt(within_s)
        self._broadcast(self._halt)
        await self._all_gone(within_s + LATE_S)
        self.kill()
        await self._all_gone(LATE_S)

    async def _all_gone(self, within_s: float) -> None:
        made = [one for one in self.living.values() if one.process is not None]  # else there could be no process
        waiting = [asyncio.create_task(one.gone.wait()) for one in made]
        if waiting:
            await asyncio.wait(waiting, timeout=within_s)
        for wait in waiting:
            wait.cancel()

    def kill(self) -> None:
        """End at once whoever is left."""
        self._stopping = True
        for timer in (self._moving, self._ticker):
            if timer is not None:
                timer.cancel()
        for one in self.living.values():
            if one.process is not None and one.process.poll() is None:
                log.warning("worker %d did not end by itself, and is killed", one.number)
                one.process.kill()

    async def _spawn(self, number: int) -> One:
        """A new life for a worker. Raises OSError where there can be no more processes."""
        self._lives += 1
        one = self.living[number] = One(number, f"{number}.{self._lives}")
        ours, theirs = socket.socketpair()
        with theirs:
            one.process = _process(theirs)
        one.channel = await Channel[Up].over(
            ours, Up, lambda message: self._heard(one, message), lambda: self._run(self._bury(one))
        )
        self.shares.join(one.name)
        one.tell(self._home.begin(number))
        if self._settle is not None:
            one.tell(self._settle)
        facts = self._home.known()
        if facts:
            one.tell(Told([*facts]))
        if self._halt is not None:  # all were told to end while it was being made
            one.tell(self._halt)
        self._move_soon()
        return one

    async def _bury(self, one: One) -> None:
        """A worker's socket has closed: it has ended, or soon will have."""
        process = one.process
        assert process is not None
        try:
            status = await self._loop.run_in_executor(None, process.wait, LATE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = await self._loop.run_in_executor(None, process.wait)
        for question in one.questions.values():
            if not question.done():
                question.set_result(None)
        if one.snapshot is not None:
            self._home.lost(one.snapshot)
            one.snapshot = None
        if not one.ready.done():
            one.ready.set_exception(OSError(f"worker {one.number} ended with {status} before it listened"))
            one.ready.exception()
        if self._stopping:
            self._home.ended(one.number, status != 0)
            one.gone.set()
            return
        one.gone.set()
        log.error("worker %d has ended with %d: its connections are lost, another is started", one.number, status)
        await asyncio.sleep(GRACE_S)  # noqa: TID251 - engines notice closed connections in their own time
        self.shares.leave(one.name)
        self._home.ended(one.number, status != 0)
        self._move_soon()
        await self._again(one)

    async def _again(self, one: One) -> None:
        """Start another in its place, for ever."""
        number = one.number
        if self._loop.time() - one.since > WELL_S:
            self._failures[number] = 0
        while True:
            pause_s = min(BACKOFF_S[1], BACKOFF_S[0] * 2.0 ** min(10, self._failures.get(number, 0)))
            self._failures[number] = self._failures.get(number, 0) + 1
            await asyncio.sleep(pause_s)  # noqa: TID251 - one that dies at once must not take the CPU
            if self._stopping:
                return
            try:
                await self._spawn(number)
            except OSError as wrong:
                log.error("worker %d cannot be started: %s", number, wrong)
            else:
                self.restarts += 1
                return

    def _run(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ===== what they are told =====

    def settle(self, settings: Settings, scaled: Iterable[str], flows: Iterable[str]) -> None:
        """These settings hold from now on, with the fleet as it should be."""
        number = 1 if self._settle is None else self._settle.number + 1
        self._settle = Settle(number, settings, tuple(scaled), tuple(flows))
        self.shares.fleet(settings.replicas)
        self._broadcast(self._settle)
        self._move_soon()

    async def settled(self, within_s: float) -> bool:
        """Wait until the last settings hold with all; False: not in time."""
        end = self._loop.time() + within_s
        while self.lagging:
            if self._loop.time() > end:
                return False
            await asyncio.sleep(0.005)  # noqa: TID251 - a few times, while somebody waits for the answer
        return True

    @property
    def lagging(self) -> bool:
        """Whether the last settings do not hold with all yet."""
        number = 0 if self._settle is None else self._settle.number
        return any(one.report.settled < number for one in self.living.values())

    def learnt(self, fact: Learnt | Invalidated) -> None:
        """All are to know this."""
        if not self._facts:
            self._loop.call_soon(self._tell_facts)
        self._facts.append(fact)

    def _tell_facts(self) -> None:
        facts, self._facts = self._facts, []
        self._broadcast(Told(facts))

    def _broadcast(self, message: object) -> None:
        frame = self._frame(message)
        for one in self.living.values():
            one.send(frame)

    def _move_soon(self) -> None:
        if self._moving is None and not self._stopping:
            self._moving = self._loop.call_later(MOVE_S, self._move)

    def _move(self) -> None:
        self._moving = None
        names = {one.name: one for one in self.living.values()}
        for name, (number, seats) in self.shares.moves(self._clock()).items():
            if name in names:
                names[name].tell(Shared(number, seats))

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TURN_S, self._tick)
        self._move_soon()

    # ===== what they tell =====

    def _heard(self, one: One, message: Up) -> None:
        match message:
            case Report():
                one.report = message
                self.shares.told(one.name, message.shared, message.busy, message.waiting)
                self._move_soon()
            case Answer():
                question = one.questions.pop(message.number, None)
                if question is not None and not question.done():
                    question.set_result(message.body)
            case Ready():
                if not one.ready.done():
                    one.ready.set_result(None)
            case Trouble():
                if not one.ready.done():
                    one.ready.set_exception(OSError(message.text))
                    one.ready.exception()
                log.error("worker %d cannot begin: %s", one.number, message.text)

    async def ask(self, what: Any, **more: Any) -> list[tuple[One, bytes]]:
        """Ask all; what came in time."""
        return [
            (one, body)
            for one, body in await asyncio.gather(*(self._ask(one, what, more) for one in self.ready()))
            if body is not None
        ]

    def ready(self) -> Sequence[One]:
        """Those that listen."""
        return [one for one in self.living.values() if one.ready.done() and not one.gone.is_set()]

    async def _ask(self, one: One, what: Any, more: dict[str, Any]) -> tuple[One, bytes | None]:
        self._numbers += 1
        number = self._numbers
        question = one.questions[number] = self._loop.create_future()
        one.tell(Ask(number, what, **more))
        try:
            async with asyncio.timeout(ASK_S):
                return one, await question
        except TimeoutError:
            return one, None
        finally:
            one.questions.pop(number, None)


def _process(theirs: socket.socket) -> "subprocess.Popen[bytes]":
    """A worker's, with this end. It takes the time of a fork and no more."""
    handle = theirs.fileno()
    return subprocess.Popen([sys.executable, "-m", MODULE, str(handle)], pass_fds=[handle], stdin=subprocess.DEVNULL)


def _nothing(*_: object) -> None:
    """Nobody listens."""


def reserved(address: tuple[str, int]) -> list[socket.socket]:
    """Sockets that hold an address for all workers without listening. Raises OSError that names it.

    Who else listens there is found out first: later, sockets of one user that share a port are told apart by nobody.
    """
    host, port = address
    held: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            where = (where[0], held[0].getsockname()[1] if held else port, *where[2:])
            if where[1]:
                with socket.socket(family, kind, protocol) as other:
                    _bind(other, where, socket.SO_REUSEADDR)
            held.append(socket.socket(family, kind, protocol))
            _bind(held[-1], where, socket.SO_REUSEPORT)
    except OSError as error:
        for sock in held:
            sock.close()
        raise OSError(error.errno, f"cannot listen on {show_address(address)}: {error.strerror or error}") from None
    return held


def _bind(sock: socket.socket, where: Any, option: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, option, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(where)
