"""`penstock pools`: the pools that start and stop replicas by themselves, and why each has as many as it has."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from penstock.base.units import show_seconds
from penstock.cli.admin import DEFAULT, Admin, AdminError, AdminKey, AdminUrl, admin_at, quoted
from penstock.cli.forecasts import outlook_of, said_of
from penstock.cli.plain import plain_console, understood
from penstock.core.scale.record import Decision, Step
from penstock.core.scale.view import ScaleStory, ScaleView

FAILED, MISTAKE = 1, 2
ROOMY = 120
"""From so many columns on a table has room for a sentence in its last one."""

Name = Annotated[str | None, typer.Argument(metavar="[POOL]", help="One pool, with its replicas; none: all.")]
Json = Annotated[bool, typer.Option("--json", help="Print the admin API's JSON.")]


def pools(name: Name = None, admin: AdminUrl = DEFAULT, key: AdminKey = None, as_json: Json = False) -> None:
    """The pools that scale themselves: how many replicas each has and should have, and what it decided last.

    `penstock explain --pool NAME` tells every decision with its inputs. Exit status: 0 done, 1 no such pool or no
    gateway, 2 a mistake.
    """
    desk = admin_at(admin, key)
    try:
        if name is None:
            _all(desk, as_json)
        else:
            tell(desk, name, 10, as_json)
    except AdminError as error:
        typer.echo(f"penstock pools: {error}", err=True)
        raise typer.Exit(MISTAKE if error.status in (400, 401, 403) else FAILED) from None
    finally:
        desk.close()


def tell(desk: Admin, name: str, last: int, as_json: bool) -> None:
    """One pool, with its last decisions and what happened to its replicas. Raises AdminError."""
    found = desk.read(f"/admin/pools/{quoted(name)}?last={last}")
    if as_json:
        typer.echo(json.dumps(found))
        return
    story = understood(found, ScaleStory)
    console = plain_console()
    console.print(table_of([story.view]))
    if story.view.units:
        console.print(units_of(story.view))
    if story.view.forecast is not None:
        console.print(said_of(story.view.forecast))
        if story.view.forecast.ahead:
            console.print(outlook_of(story.view.forecast))
    console.print(entries_of(story.entries))


def _all(desk: Admin, as_json: bool) -> None:
    found = desk.read("/admin/pools")
    if as_json:
        typer.echo(json.dumps(found))
        return
    views = understood(found, list[ScaleView])
    console = plain_console()
    if not views:
        console.print("No pool scales itself: give one a `scale` block.")
        return
    console.print(*lined_up(views, console.width), sep="\n")


# ===== tables =====


def lined_up(views: list[ScaleView], width: int) -> list[RenderableType]:
    """Pools, one a line; where a line has no room for what was decided last, that stands below the table."""
    if width >= ROOMY:
        return [table_of(views, decisions=True)]
    return [table_of(views, decisions=False), *(Text(f"{view.pool}: {_state(view)}") for view in views)]


def table_of(views: list[ScaleView], decisions: bool = True) -> Table:
    """Pools, one a line, with what each decided last or without."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=not decisions)
    table.add_column("pool", overflow="fold")
    for name in ("ready", "coming", "leaving", "wanted", "min-max", "others", "waiting", "cost/h"):
        table.add_column(name, justify="right")
    if decisions:
        table.add_column("last decision", overflow="fold")
    for view in views:
        told = [_state(view)] if decisions else []
        table.add_row(
            view.pool, str(view.states["ready"]), str(_sum(view, "ordered", "starting", "loading")),
            str(_sum(view, "draining", "stopping")), "-" if view.wanted is None else str(view.wanted),
            f"{view.min}-{view.max}", str(view.others), str(view.queued), _cost(view), *told,
        )  # fmt: skip
    return table


def _sum(view: ScaleView, *states: str) -> int:
    return sum(view.states[state] for state in states)


def _cost(view: ScaleView) -> str:
    most = "" if view.max_hourly_cost is None else f" of {view.max_hourly_cost:g}"
    return f"{view.hourly_cost:g}{most}"


def _state(view: ScaleView) -> str:
    if view.closing:
        return "it does not scale itself any more: its replicas drain"
    if view.blind:
        return f"nothing is ordered: its actuator cannot say what runs ({view.blind})"
    told = "-" if view.last is None else said(view.last)
    told = "".join(f"{note}; " for note in notes(view)) + told
    if view.failures:
        pause = f", the next in {show_seconds(view.start_in_s)}" if view.start_in_s else ""
        told = f"{view.failures} starts in a row failed{pause}; {told}"
    if view.dry_s:
        told = f"spot cannot be had, asked again in {show_seconds(round(view.dry_s))}; {told}"
    return told


def notes(view: ScaleView) -> list[str]:
    """What is unusual just now: a burst, a schedule, a budget that holds it down or is watched."""
    found = ["a burst is met"] if view.panic else []
    found += [f"by schedule {view.schedule}"] if view.schedule else []
    if view.max_monthly_cost is not None:
        enough = "" if view.ration is None or view.ration >= view.max else f", enough for {view.ration}"
        found.append(f"this month {view.month_cost:,.2f} of {view.max_monthly_cost:,.2f}{enough}")
    return found


def units_of(view: ScaleView) -> Table:
    """A pool's replicas, one a line."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("replica", overflow="fold")
    table.add_column("state")
    for name in ("since", "age", "in flight"):
        table.add_column(name, justify="right")
    table.add_column("paid")
    for unit in view.units:
        state = f"{unit.state}, ill" if unit.ill else unit.state
        if unit.gone_in_s is not None:
            state = f"{state}, taken back in {show_seconds(round(unit.gone_in_s))}"
        table.add_row(
            unit.unit, state, show_seconds(unit.since_s), show_seconds(unit.age_s), str(unit.in_flight),
            unit.purchase.replace("_", " "),
        )  # fmt: skip
    return table


def entries_of(entries: list[Decision | Step]) -> Table:
    """What was decided and what happened, the newest first."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("when (UTC)")
    table.add_column("what")
    table.add_column("why", overflow="fold")
    for entry in entries:
        table.add_row(*_row(entry), style="bold" if _changes(entry) else "")
    return table


def _changes(entry: Decision | Step) -> bool:
    return isinstance(entry, Decision) and entry.was != entry.wanted


def _row(entry: Decision | Step) -> tuple[str, str, Text]:
    when = datetime.fromtimestamp(entry.at, UTC).strftime("%H:%M:%S")
    if isinstance(entry, Step):
        way = f"{entry.was} → {entry.now}" if entry.was else entry.now
        return when, f"{entry.unit} {way}", Text(entry.why)
    count = f"{entry.was} → {entry.wanted}" if entry.was != entry.wanted else f"stays at {entry.wanted}"
    times = f" ({entry.times} times since {_clock(entry.since)})" if entry.times > 1 else ""
    return when, f"{count}{times}", Text(f"{why(entry)}{inputs(entry)}")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def said(entry: Decision) -> str:
    """A decision in a few words."""
    count = f"{entry.was} -> {entry.wanted}" if entry.was != entry.wanted else f"stays at {entry.wanted}"
    return f"{count}: {why(entry)}"


def why(entry: Decision) -> str:
    """Its reason, what bounded it, and what a person should look at."""
    bounds = f"; bounded by {', '.join(entry.bounds)}" if entry.bounds else ""
    alarm = f"; ALARM: {entry.alarm}" if entry.alarm else ""
    return f"{entry.reason}{bounds}{alarm}"


def inputs(entry: Decision) -> str:
    """What a decision was made from, on a line of its own."""
    told = [
        f"{one.metric} {'-' if one.value is None else format(one.value, '.3g')}/{one.target:g}"
        f" → {'-' if one.wants is None else one.wants}{f' ({one.missing} missing)' if one.missing else ''}"
        for one in entry.readings
    ]
    counts = f"{entry.ready} ready, {entry.coming} coming, {entry.draining} leaving, {entry.queued} waiting"
    others = f", {entry.others} others" if entry.others else ""
    return f"\n{'; '.join([*told, counts])}{others}"
