"""The actuator that runs replicas as processes on this machine [A7].

They are sessions of their own with their output in log files, so they outlive the gateway; the next one finds them
again. Linux only. The blocking work is done by one thread a pool, one thing at a time.
"""

import asyncio
import os
import secrets
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from penstock.adapters.actuators import kernel, limits
from penstock.adapters.actuators.kernel import Mark
from penstock.adapters.actuators.ledger import NAME, Entry, Ledger, running_in
from penstock.base.nouns import Purchase, Unit
from penstock.base.units import Bytes, Seconds

HOST = "127.0.0.1"
DIRECTORY = ".penstock"
VARIABLE = "PENSTOCK_UNIT"
"""In the environment of each, with a value of its own."""
PLACES = ("{port}", "{slot}", "{unit}", "{pool}", "{purchase}")
MOST_TOLD = 200
"""Characters of a log's last line in the reason of an end."""

Result = TypeVar("Result")

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Processes that this one is the parent of, by number: only it can tell their exit status, whoever looks after them."""


def _doc(text: str) -> Meta:
    return Meta(description=text)


class ProcessSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="process", tag_field="kind"):
    """Replicas are processes on this machine. They outlive the gateway, and the next one finds them again."""

    command: Annotated[
        str,
        Meta(min_length=1),
        _doc(
            "what to run, in words as a shell splits them, without a shell. {port} is where it must listen on"
            " 127.0.0.1; {slot} is the smallest number from 0 that no other replica of the pool has, for a GPU;"
            " {unit} its name; {purchase} is spot or on_demand"
        ),
    ]
    env: Annotated[dict[str, str], _doc("variables beside the gateway's own; {port}, {slot} and {unit} as above")] = (
        field(default_factory=dict)
    )
    cwd: Annotated[str | None, _doc("folder to run it in; none: the gateway's")] = None
    directory: Annotated[
        str, _doc("where logs stand, and what must survive a restart of the gateway; relative to the gateway's folder")
    ] = DIRECTORY
    stop_s: Annotated[Seconds, _doc("from SIGTERM to SIGKILL")] = field(default=30.0, name="stop")
    at_exit: Annotated[
        Literal["keep", "stop"], _doc("when the gateway stops: keep them, for the next one to find; or stop them too")
    ] = "keep"
    nice: Annotated[int, Meta(ge=0, le=19), _doc("how much they leave the CPU to others")] = 0
    cpus: Annotated[
        tuple[str, ...],
        _doc("CPUs that they may use, like 0-7 or 0,2,4: one entry for all, or one a {slot}; empty: all of them"),
    ] = ()
    memory_bytes: Annotated[
        Bytes | None,
        _doc("a replica whose processes hold more together (PSS) is ended; looked at every `look`; none: no bound"),
    ] = field(default=None, name="memory")
    open_files: Annotated[
        Annotated[int, Meta(ge=16)] | None, _doc("files and sockets that a process may have open; none: the gateway's")
    ] = None
    log_bytes: Annotated[Bytes, _doc("a replica's log is cut when it is longer")] = field(default=16 << 20, name="log")
    logs: Annotated[int, Meta(ge=0, le=10_000), _doc("logs that are kept of replicas that are gone")] = 10


def filled(text: str, places: dict[str, str]) -> str:
    """A text with its places filled in; other braces stay."""
    for place, value in places.items():
        text = text.replace(place, value)
    return text


class Processes:
    """The blocking half. Its methods are called by one thread at a time."""

    def __init__(self, spec: ProcessSpec, pool: str) -> None:
        """Raises OSError where the folder cannot be had, or another gateway has it."""
        self.spec = spec
        self.pool = pool
        self.folder = Path(spec.directory).absolute() / quote(pool, safe="")
        self.ledger = Ledger(self.folder, pool, kernel.boot())
        self._kill_at: dict[str, float] = {}
        self._because: dict[str, str] = {}
        """Why one was ended by us that nobody told to end."""

    # ===== orders =====

    def start(self, unit: str, purchase: Purchase = "on_demand") -> None:
        """Begin a process. Raises OSError."""
        units = self.ledger.units
        if unit in units:
            return
        entry = Entry(port=free_port(), slot=_slot(units), token=secrets.token_hex(16), purchase=purchase)
        units[unit] = entry
        try:
            self.ledger.save()  # before there is a process: what is not written down is never looked for
            child = self._spawn(unit, entry)
        except OSError:
            del units[unit]
            self.ledger.unsaved = True
            raise
        _children[child.pid] = child
        mark = kernel.mark_of(child.pid)
        entry.pid, entry.started = child.pid, 0 if mark is None else mark.started
        self._save()

    def _spawn(self, unit: str, entry: Entry) -> "subprocess.Popen[bytes]":
        places = dict(zip(PLACES, (str(entry.port), str(entry.slot), unit, self.pool, entry.purchase)))
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        given = {name: filled(value, places) for name, value in self.spec.env.items()}
        words = [filled(word, places) for word in shlex.split(self.spec.command)]
        self._prune()
        limits.check(self.spec.open_files)
        with self.log_of(unit).open("ab") as log, limits.pinned(self.spec.cpus, entry.slot):
            child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.spec.cwd,
                env={**ours, **given, VARIABLE: entry.token}, start_new_session=True,
            )  # fmt: skip
        try:
            limits.bind(child.pid, self.spec.nice, self.spec.open_files)
        except OSError:
            child.kill()
            child.wait()
            raise
        return child

    def stop(self, unit: str) -> None:
        """Ask a process to end, or forget one that has. Raises OSError."""
        entry = self.ledger.units.get(unit)
        if entry is None or (entry.stopping and not entry.ended):
            return
        if entry.ended:
            self._forget(unit)
        else:
            entry.stopping = True
            self._kill_at[unit] = time.monotonic() + self.spec.stop_s
            kernel.send(Mark(entry.pid, entry.started), signal.SIGTERM)
        self.ledger.save()

    # ===== looks =====

    def look(self) -> tuple[Unit, ...]:
        """All there is, after seeing who has ended and ending who did not when asked. Raises OSError."""
        changed = self.ledger.unsaved
        for unit, entry in list(self.ledger.units.items()):
            changed = self._watch(unit, entry) or changed
        if changed:
            self.ledger.save()
        return tuple(self._shown(unit, entry) for unit, entry in self.ledger.units.items())

    def _watch(self, unit: str, entry: Entry) -> bool:
        """Whether something changed."""
        if entry.ended:
            return False
        if not entry.pid and not self._found_again(unit, entry):
            return True
        mark = Mark(entry.pid, entry.started)
        if kernel.lives(mark):
            now = time.monotonic()
            if entry.stopping and now >= self._kill_at.setdefault(unit, now + self.spec.stop_s):
                self._kill(mark)
            self._cut(unit)
            self._bound(unit, entry, mark)
            return False
        self._kill(mark)  # what it left behind
        child = _children.pop(entry.pid, None)
        status = None if child is None else child.wait()
        if entry.stopping:
            self._forget(unit)
        else:
            entry.ended = self._why(unit, status)
        return True

    def _bound(self, unit: str, entry: Entry, leader: Mark) -> None:
        """End one that holds more memory than it may."""
        most = self.spec.memory_bytes
        if most is None or entry.stopping or unit in self._because:
            return
        held = sum(limits.memory_bytes(mark.pid) for mark in kernel.session(leader))
        if held > most:
            self._because[unit] = f"its processes held {held >> 20} MiB, more than the {most >> 20} MiB that they may"
            self._kill(leader)

    def _found_again(self, unit: str, entry: Entry) -> bool:
        """A gateway died between writing it down and knowing its number: look for its token."""
        mark = kernel.with_variable(VARIABLE, entry.token)
        if mark is None:
            self._forget(unit)
            return False
        entry.pid, entry.started = mark
        return True

    def _shown(self, unit: str, entry: Entry) -> Unit:
        url, purchase = f"http://{HOST}:{entry.port}", entry.purchase
        if entry.ended:
            return Unit(id=unit, state="ended", url=url, detail=entry.ended, purchase=purchase)
        return Unit(id=unit, state="stopping" if entry.stopping else "running", url=url, purchase=purchase)

    def _why(self, unit: str, status: int | None) -> str:
        because = self._because.pop(unit, "")
        if because:
            return because
        if status is None:
            how = "its process is gone"
        elif status < 0:
            how = f"its process was ended by {_name_of(-status)}"
        else:
            how = f"its process ended with status {status}"
        last = _last_line(self.log_of(unit))
        return f"{how}; its log ends with: {last}" if last else how

    @staticmethod
    def _kill(leader: Mark) -> None:
        for mark in kernel.session(leader):
            kernel.send(mark, signal.SIGKILL)

    def _forget(self, unit: str) -> None:
        self.ledger.units.pop(unit, None)
        self._kill_at.pop(unit, None)
        self._because.pop(unit, None)

    def _save(self) -> None:
        """Write down what happened already; where the disk will not take it, the next look tries again."""
        try:
            self.ledger.save()
        except OSError:
            pass  # `unsaved` is set

    # ===== logs =====

    def log_of(self, unit: str) -> Path:
        """Where a replica's output goes."""
        return self.folder / f"{quote(unit, safe='')}.log"

    def _cut(self, unit: str) -> None:
        """Keep a log from growing for ever: its writers append, so it may be emptied under them."""
        path = self.log_of(unit)
        try:
            if path.stat().st_size <= self.spec.log_bytes:
                return
            with path.open("r+b") as file:
                file.seek(-min(self.spec.log_bytes // 2, path.stat().st_size), os.SEEK_END)
                path.with_suffix(".log.1").write_bytes(file.read())
                file.truncate(0)
        except OSError:
            pass  # a log that cannot be cut stops nobody

    def _prune(self) -> None:
        kept = {self.log_of(unit).name for unit in self.ledger.units}
        old = [path for path in self.folder.glob("*.log") if path.name not in kept]
        old.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in old[self.spec.logs :]:
            path.unlink(missing_ok=True)
            path.with_suffix(".log.1").unlink(missing_ok=True)

    def close(self, end: bool) -> None:
        """Let the next gateway have them, or tell all to end."""
        try:
            for unit in list(self.ledger.units) if end else ():
                self.stop(unit)
        finally:
            self.ledger.close()


class ProcessActuator:
    """See `base.ports.Actuator`: the same, off the loop."""

    def __init__(self, spec: ProcessSpec, pool: str) -> None:
        """Raises OSError where the folder cannot be had."""
        self.processes = Processes(spec, pool)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-processes")

    def respec(self, spec: ProcessSpec) -> bool:
        """New settings for what is started from now on; whether all of them hold: the folder stays what it was."""
        held = self.processes.spec.directory
        self.processes.spec = replace(spec, directory=held)
        return spec.directory == held

    async def look(self, timeout_s: float) -> tuple[Unit, ...]:
        """All there is."""
        async with asyncio.timeout(timeout_s):
            return await self._do(self.processes.look)

    async def start(self, unit: str, purchase: Purchase = "on_demand") -> None:
        """Begin a process."""
        await self._do(lambda: self.processes.start(unit, purchase))

    async def stop(self, unit: str) -> None:
        """Ask a process to end, or forget one that has."""
        await self._do(lambda: self.processes.stop(unit))

    async def drain(self, unit: str, drain: bool) -> None:
        """Nobody else ends them."""

    async def _do(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self, end: bool = False) -> None:
        """Let the next gateway have them, or tell all to end."""
        self._thread.submit(self.processes.close, end)
        self._thread.shutdown(wait=True)


def left_in(directory: str, pools: frozenset[str]) -> Iterator[str]:
    """A line for each pool that is not among these, and whose replicas still run from this folder."""
    for path in sorted(Path(directory).absolute().glob(f"*/{NAME}")):
        pool, running = running_in(path, kernel.boot())
        if pool not in pools:
            numbers = ", ".join(f"{unit} ({mark.pid})" for unit, mark in running.items() if kernel.lives(mark))
            if numbers:
                yield f"pool {pool} does not scale itself here, and its processes still run: {numbers}"


def free_port() -> int:
    """A port that the system says is free."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _slot(units: dict[str, Entry]) -> int:
    taken = {entry.slot for entry in units.values()}
    return next(slot for slot in range(len(taken) + 1) if slot not in taken)


def _name_of(number: int) -> str:
    """A signal's; real-time ones have none but their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    told = [line.strip() for line in lines if line.strip()]
    return told[-1][-MOST_TOLD:] if told else ""
