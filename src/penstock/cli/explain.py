"""`penstock explain`: why a request went where it went, and what it waited for, from a running gateway."""

import json
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.cli.admin import DEFAULT, Admin, AdminError, AdminKey, AdminUrl, admin_at, quoted
from penstock.cli.plain import plain_console, understood
from penstock.cli.pools import tell
from penstock.telemetry.explained import Choice, Explanation, Short
from penstock.telemetry.story import seconds

FAILED, MISTAKE = 1, 2
MOST_SHOWN = 16
"""Candidates in a table; the JSON has all."""

Id = Annotated[
    str | None,
    typer.Argument(metavar="[REQUEST_ID]", help="What the header x-request-id of the answer says; none: list calls."),
]
Last = Annotated[bool, typer.Option("--last", help="Explain the last call that has ended.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many calls to list.")]
Model = Annotated[str | None, typer.Option(help="Only calls for this model.")]
Tenant = Annotated[str | None, typer.Option(help="Only calls of this tenant (a key's name).")]
Replica = Annotated[str | None, typer.Option(help="Only calls that ended at this replica.")]
Outcome = Annotated[str | None, typer.Option(help="Only calls that ended so: ok, queue_full, …; error: all but ok.")]
Pool = Annotated[str | None, typer.Option("--pool", metavar="NAME", help="Why a pool has as many replicas as it has.")]
Json = Annotated[bool, typer.Option("--json", help="Print the admin API's JSON.")]


def explain(
    request_id: Id = None, last: Last = False, count: Count = 20, model: Model = None, tenant: Tenant = None,
    replica: Replica = None, outcome: Outcome = None, pool: Pool = None, admin: AdminUrl = DEFAULT,
    key: AdminKey = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Why did this request go there, and what did it wait for: from the gateway's memory of the last 10,000 calls.

    The id is what the header x-request-id of the answer says; the one that the client chose works as well. Without an
    id the last calls are listed; with --pool, the last decisions of a pool that scales itself. Exit status: 0 done,
    1 the call is not known or the gateway not there, 2 a mistake.
    """
    wanted = {"model": model, "tenant": tenant, "replica": replica, "outcome": outcome}
    filters = {name: value for name, value in wanted.items() if value is not None}
    if request_id is not None and (last or filters):
        raise typer.BadParameter("is for one call: leave out --last and the filters", param_hint="REQUEST_ID")
    if pool is not None and (request_id is not None or last or filters):
        raise typer.BadParameter("is for one pool: leave out the request and the filters", param_hint="--pool")
    desk = admin_at(admin, key)
    try:
        if pool is not None:
            tell(desk, pool, count, as_json)
            return
        if last:
            request_id = _newest(desk, filters)
        if request_id is None:
            _list(desk, count, filters, as_json)
        else:
            _one(desk, request_id, as_json)
    except AdminError as error:
        typer.echo(f"penstock explain: {error}", err=True)
        raise typer.Exit(MISTAKE if error.status in (400, 401, 403) else FAILED) from None
    finally:
        desk.close()


def _newest(desk: Admin, filters: dict[str, str]) -> str:
    found = desk.read(f"/admin/explain?{urlencode({'last': 1, **filters})}")
    if not found:
        raise AdminError("no call has ended yet that could be explained" + (" (with these filters)" if filters else ""))
    return str(found[0]["id"])


def _list(desk: Admin, count: int, filters: dict[str, str], as_json: bool) -> None:
    found = desk.read(f"/admin/explain?{urlencode({'last': count, **filters})}")
    if as_json:
        typer.echo(json.dumps(found))
        return
    calls = understood(found, list[Short])
    plain_console().print(table_of(calls) if calls else "No call has ended yet that could be explained.")


def _one(desk: Admin, request_id: str, as_json: bool) -> None:
    found = desk.read(f"/admin/explain/{quoted(request_id)}")
    if as_json:
        typer.echo(json.dumps(found))
        return
    show(understood(found, Explanation), plain_console())


# ===== one call =====


def show(found: Explanation, console: Console) -> None:
    """A call's explanation for people."""
    client = f" (the client's {found.client_id})" if found.client_id else ""
    console.print(Text(f"{found.id}{client}", style="bold"))
    console.print(_facts(found))
    console.print()
    console.print(found.summary)
    for choice in found.choices:
        by = f", picker {choice.picker}" if choice.picker else ""
        title = f"Attempt {choice.attempt}: {choice.replica} in {choice.pool} ({choice.strategy}{by})"
        console.print()
        console.print(Text(title, style="bold"))  # not the table's own: it would be broken to that one's width
        console.print(_choice(choice))
        left = [f"{one.replica} ({one.reason})" for one in choice.left_out[:MOST_SHOWN]]
        if left:
            more = choice.left_out_count - len(left)
            console.print(f"Left out: {', '.join(left)}{f' and {more:,} more' if more > 0 else ''}")
    console.print()
    console.print(_timeline(found))


def _facts(found: Explanation) -> str:
    profile = found.profile
    when = datetime.fromtimestamp(found.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    ttft = "" if found.ttft_s is None else f", first byte after {seconds(found.ttft_s)}"
    limit = "" if profile.latency_s is None else f", can wait {seconds(profile.latency_s)}"
    session = f", session {profile.session}" if profile.session else ""
    return (
        f"{found.model or '(no model)'} for {found.tenant}, {when}: {found.outcome}, status {found.status},"
        f" {seconds(found.latency_s)}{ttft}\n"
        f"profile: about {profile.prompt_tokens:,} prompt and {profile.output_tokens:,} output tokens, complexity"
        f" {profile.complexity}, priority {profile.priority}, tier {profile.tier}"
        f"{', streamed' if profile.stream else ''}{limit}{session}"
    )


def _choice(choice: Choice) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("replica", overflow="fold")
    if choice.scorers:
        table.add_column("total", justify="right")
    for scorer in choice.scorers:
        table.add_column(f"{scorer.name} × {scorer.weight:g}", justify="right")
    shown = choice.candidates[:MOST_SHOWN]
    if all(not one.chosen for one in shown):
        shown += [one for one in choice.candidates if one.chosen]
    for one in shown:
        numbers = [f"{one.scores[scorer.name]:.3f}" if scorer.name in one.scores else "-" for scorer in choice.scorers]
        total = [] if not choice.scorers else ["-" if one.total is None else f"{one.total:.3f}"]
        mark = "→ " if one.chosen else "  "
        table.add_row(mark + one.replica, *total, *numbers, style="bold" if one.chosen else "")
    if len(choice.candidates) > len(shown):
        table.add_row(f"  and {len(choice.candidates) - len(shown):,} more")
    return table


def _timeline(found: Explanation) -> Table:
    table = Table(title="Timeline", title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for moment in found.timeline:
        table.add_row(f"+{seconds(moment.at_s)}", moment.text)
    return table


# ===== many calls =====


def table_of(calls: list[Short]) -> Table:
    """The last calls, one a line."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("id", "when", "model", "tenant", "replica", "outcome"):
        table.add_column(name, overflow="fold")
    for name in ("tries", "queue", "ttft", "whole"):
        table.add_column(name, justify="right")
    for call in calls:
        table.add_row(
            call.id, datetime.fromtimestamp(call.at, UTC).strftime("%H:%M:%S"), call.model, call.tenant,
            call.replica or "-", call.outcome, str(call.attempts), seconds(call.queue_s),
            "-" if call.ttft_s is None else seconds(call.ttft_s), seconds(call.latency_s),
        )  # fmt: skip
    return table
