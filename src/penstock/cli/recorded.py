"""`penstock simulate --from-journal`: a journal replayed exactly, or its traffic under other policies."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import typer

from penstock import __version__
from penstock.base.errors import ConfigError
from penstock.core.effects import Effect
from penstock.core.events import Event
from penstock.drive.journal import Gap, Header, Place, Turn, parts, read_placed
from penstock.sim.recorded import Recorded
from penstock.sim.replay import Difference, NotReplayable, Replayed, replay

DIFFERENT = 1


def replay_journal(path: Path, json: str | None) -> None:
    """Replay it and tell what came out. Raises typer.Exit with 1 at a difference, and ConfigError for no journal."""
    try:
        found = replay(_lines(path), __version__)
    except (NotReplayable, ValueError, OSError) as error:
        raise _unusable(path, error) from None
    if json is not None:
        write(json, msgspec.json.encode(found).decode())
    if json != "-":
        for line in told(path, found):
            typer.echo(line)
    if found.difference is not None:
        raise typer.Exit(DIFFERENT)


def open_recorded(path: Path) -> Recorded:
    """The traffic in a journal. Raises ConfigError where it is none that can be used."""
    try:
        found = Recorded(_lines(path), __version__)
        for _ in found.requests(0):
            break
    except (NotReplayable, ValueError, OSError) as error:
        raise _unusable(path, error) from None
    if not found.visits:
        raise ConfigError([f"{path}: no call of pool {found.pool.name!r} is in it"])
    return found


def _lines(path: Path) -> Iterator[tuple[Place, Header | Gap | Turn[Any, Any]]]:
    for part in parts(path):
        yield from read_placed(part, Event, Effect)


def _unusable(path: Path, error: Exception) -> ConfigError:
    if isinstance(error, OSError):
        return ConfigError([f"{path}: cannot be read ({error.strerror or error})"])
    text = str(error)
    return ConfigError([text if text.startswith(str(path)) else f"{path}: {text}"])


def write(target: str, text: str) -> None:
    """To a file, or to stdout."""
    if target == "-":
        sys.stdout.write(text + "\n")
    else:
        Path(target).write_text(text + "\n", encoding="utf-8")


def moment(seconds: float) -> str:
    """A time since the epoch for people."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


# ===== what a replay found =====


def told(path: Path, found: Replayed) -> Iterator[str]:
    """In lines."""
    for life in found.lives:
        line = f"process of {moment(life.began)}: " if life.began else "process without a fact: "
        line += f"{life.facts:,} facts, {life.orders:,} orders"
        if life.missing:
            line += f"; {life.missing:,} turns were not written, for the disk was too slow"
        if life.skipped:
            why = "are behind the gap" if life.missing else "are of a process whose first file is gone"
            line += f"; {life.skipped:,} facts {why}, and cannot be replayed"
        yield line
    if found.difference is not None:
        yield from _told_difference(found.difference)
    elif found.facts:
        yield f"identical: {found.facts:,} facts gave the same {found.orders:,} orders again"
    else:
        yield "nothing could be replayed"


def _told_difference(found: Difference) -> Iterator[str]:
    yield f"DIFFERENT: {found.place}, at {moment(found.now)} ({found.now:.6f})"
    yield f"  fact:     {_text(found.fact)}"
    yield f"  recorded: {_text(found.recorded)}"
    yield f"  replayed: {_text(found.replayed)}"


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


# ===== what was recorded =====


def described(path: Path, found: Recorded) -> list[str]:
    """What comes, and what is guessed or left out of it, in lines."""
    first, last = found.visits[0].at, found.visits[-1].at
    lines = [f"{path.name}: {len(found.visits):,} calls of pool {found.pool.name}, {moment(first)} to {moment(last)}."]
    left, gone = found.left, []
    if found.unknown:
        lines.append(f"{found.unknown:,} of them did not end: how long their answers are is drawn from the others'.")
    if whole := sum(not visit.call.stream for visit in found.visits):
        lines.append(f"{whole:,} were not streamed: TTFT is their whole time where it was recorded; here all stream.")
    if left.mistakes:
        gone.append(f"{left.mistakes:,} that were wrong in themselves or beyond a limit")
    if left.elsewhere:
        gone.append(f"{left.elsewhere:,} of other pools")
    if left.missing:
        gone.append(f"{left.missing:,} turns that the disk was too slow for")
    if gone:
        lines.append(f"Left out: {', '.join(gone)}.")
    if left.fleets:
        lines.append(f"Replicas came or went {left.fleets:,} times: what is simulated is the last fleet.")
    return lines
