"""`penstock top`: the fleet, its queues and rates, live in the terminal; plain lines where there is none."""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from typing import Annotated, TextIO, cast

import msgspec
import typer
from rich.live import Live

from penstock.base.nouns import PoolView, ReplicaView
from penstock.base.units import parse_seconds
from penstock.cli.admin import DEFAULT, Admin, AdminError, AdminKey, AdminUrl, admin_at
from penstock.cli.key_options import one_of
from penstock.cli.plain import plain_console
from penstock.cli.rates import Look, Rates, between, look
from penstock.cli.screen import SORTS, Screen, Sort, draw

FAILED, MISTAKE = 1, 2
TICK_S = 0.2
"""How often keys and the window's size are looked at."""

Interval = Annotated[str, typer.Option(metavar="TIME", help="Between two looks.")]
Once = Annotated[bool, typer.Option("--once", help="One interval's numbers, then end.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a look.")]
SortBy = Annotated[str, typer.Option("--sort", metavar=f"[{'|'.join(SORTS)}]", help="Which replicas come first.")]


def top(
    admin: AdminUrl = DEFAULT, interval: Interval = "1s", sort: SortBy = "state", once: Once = False,
    as_json: Json = False, key: AdminKey = None,
) -> None:  # fmt: skip
    """The fleet, its queues and rates, live in the terminal. `q` or Ctrl-C ends it, `s` sorts by something else.

    Without a terminal it prints a page an interval. Exit status: 0 ended by you, 1 no gateway is there at the start,
    2 a mistake in the options or the key. A gateway that goes later is waited for.
    """
    try:
        every_s = parse_seconds(interval)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--interval") from None
    if not 0.1 <= every_s <= 3600:
        raise typer.BadParameter("is a time from 100ms to 1h", param_hint="--interval")
    one_of(sort, SORTS, "--sort")
    desk = admin_at(admin, key)
    watch = Watch(desk, cast("Sort", sort))
    try:
        watch.see()
    except AdminError as error:
        desk.close()
        typer.echo(f"penstock top: {error}", err=True)
        raise typer.Exit(MISTAKE if error.status in (400, 401, 403) else FAILED) from None
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(desk):
        if once or as_json or not sys.stdout.isatty():
            _lines(watch, every_s, once, as_json)
        else:
            _live(watch, every_s)


class Watch:
    """The last look and the one before it."""

    def __init__(self, desk: Admin, sort: Sort = "state") -> None:
        self._desk = desk
        self.sort: Sort = sort
        self.now: Look | None = None
        self.rates: Rates | None = None
        self.trouble = ""
        self._since: float | None = None

    def see(self) -> None:
        """Look again. Raises AdminError; what was seen before stays."""
        desk = self._desk
        try:
            replicas = msgspec.json.decode(desk.page("/admin/fleet"), type=list[ReplicaView])
            pools = msgspec.json.decode(desk.page("/admin/queues"), type=list[PoolView])
            seen = look(time.monotonic(), replicas, pools, desk.page("/metrics"))
        except ValueError as error:  # msgspec's are ValueErrors too
            raise AdminError(f"what answers at {desk.url} cannot be read: {error}") from None
        self.rates = between(self.now, seen) if self.now is not None else None
        self.now = seen

    def see_again(self) -> None:
        """Look again, and where that fails say so rather than end."""
        try:
            self.see()
            self.trouble, self._since = "", None
        except AdminError as error:
            self._since = time.monotonic() if self._since is None else self._since
            gone_s = time.monotonic() - self._since
            self.trouble = f"{error}; for {gone_s:.0f} s, trying again"

    def screen(self, keys: bool = False) -> Screen:
        """What is shown now."""
        seen = self.now or Look(at=0.0, replicas=[], pools=[])
        return Screen(
            url=self._desk.url, look=seen, rates=self.rates, sort=self.sort, trouble=self.trouble, keys=keys
        )  # fmt: skip

    def press(self, key: str) -> bool:
        """A key was pressed; whether that ends it."""
        if key in ("s", "S"):
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        return key in ("q", "Q", "\x03", "\x04")


def _lines(watch: Watch, every_s: float, once: bool, as_json: bool) -> None:
    console = plain_console()
    while True:
        time.sleep(every_s)
        watch.see_again()
        if as_json:
            screen = watch.screen()
            typer.echo(msgspec.json.encode(screen).decode())
        else:
            console.print(draw(watch.screen(), None))
            if not once:
                console.print()
        sys.stdout.flush()
        if once:
            if watch.trouble:
                raise typer.Exit(FAILED)
            return


def _live(watch: Watch, every_s: float) -> None:
    console = plain_console()
    stop = _signals()
    with _keys(sys.stdin) as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        due = time.monotonic() + every_s
        size = None
        changed = True
        while True:
            if changed or size != console.size:
                size = console.size
                live.update(draw(watch.screen(keys is not None), size.height), refresh=True)
            changed = False
            pressed = _pressed(keys, min(TICK_S, max(0.0, due - time.monotonic())))
            if stop:
                return
            if pressed:
                if watch.press(pressed):
                    return
                changed = True
            if time.monotonic() >= due:
                watch.see_again()
                due = time.monotonic() + every_s
                changed = True


def _signals() -> list[int]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt, and are in this list as well: where the exception meets code that
    swallows it (a finaliser), the next turn still ends."""
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return seen


@contextlib.contextmanager
def _keys(stdin: TextIO) -> Iterator[TextIO | None]:
    """Keys as they are pressed, without Enter; None where nobody can press any."""
    if not stdin.isatty():
        yield None
        return
    before = termios.tcgetattr(stdin)
    try:
        tty.setcbreak(stdin)
        yield stdin
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _pressed(keys: TextIO | None, within_s: float) -> str:
    """The key that is pressed within this time; empty: none."""
    if keys is None:
        time.sleep(within_s)
        return ""
    ready, _, _ = select.select([keys], [], [], within_s)
    return os.read(keys.fileno(), 1).decode("latin-1") if ready else ""
