"""`penstock cache`: the answers that a running gateway keeps: numbers, some put out of use, filled beforehand."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from penstock.cli.admin import DEFAULT, Admin, AdminError, AdminKey, AdminUrl, admin_at
from penstock.cli.plain import plain_console
from penstock.loadgen.client import Client, Target, check_key, parse_target
from penstock.loadgen.exchange import Timeouts

FAILED, MISTAKE = 1, 2
CHAT = "/v1/chat/completions"
MOST_LINE = 1 << 20
SIMILAR = b"x-penstock-cache: similar\r\n"

cache = typer.Typer(
    name="cache", no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
    help="The answers that a running gateway keeps: numbers, putting some out of use, filling it beforehand.",
)  # fmt: skip

Json = Annotated[bool, typer.Option("--json", help="Print the admin API's JSON.")]
Tag = Annotated[str | None, typer.Option(help="Answers with this tag (header x-penstock-cache-tags).")]
Model = Annotated[str | None, typer.Option(help="Answers of this served model.")]
Tenant = Annotated[str | None, typer.Option(help="Answers for this tenant.")]
All = Annotated[bool, typer.Option("--all", help="All answers.")]


def _asked(desk: Admin, path: str, body: Any = None) -> Any:
    """The admin API's answer; where there is none, the end."""
    try:
        return desk.read(path) if body is None else desk.post(path, body)
    except AdminError as error:
        typer.echo(f"penstock cache: {error}", err=True)
        raise typer.Exit(MISTAKE if error.status in (400, 401, 403) else FAILED) from None
    finally:
        desk.close()


@cache.command()
def stats(admin: AdminUrl = DEFAULT, key: AdminKey = None, as_json: Json = False) -> None:
    """What it holds, and how calls got their answers since the gateway started."""
    found = _asked(admin_at(admin, key), "/admin/cache")
    if as_json:
        typer.echo(json.dumps(found))
        return
    calls = found["calls"]
    ways = [name for name in ("hit", "similar", "coalesced", "miss") if name in calls]
    answered = sum(calls[name] for name in ways)
    table = Table(box=SIMPLE_HEAD, show_header=False)
    for name in ways:
        share = f"{100 * calls[name] / answered:.1f} %" if answered else ""
        table.add_row(name, f"{calls[name]:,}", share)
    table.add_row("bypass", f"{calls['bypass']:,}", "")
    table.add_row("answers kept now", f"{found['entries']:,}", f"{found['bytes'] / 2**20:.1f} MiB")
    for name in ("kept", "evicted", "expired", "invalidated"):
        table.add_row(name, f"{found[name]:,}", "")
    plain_console(80).print(table)


@cache.command()
def clear(
    admin: AdminUrl = DEFAULT, key: AdminKey = None, tag: Tag = None, model: Model = None, tenant: Tenant = None,
    everything: All = False,
) -> None:  # fmt: skip
    """Put answers out of use: by tag, model and tenant (all that is named must match), or all of them."""
    named = {"tag": tag, "model": model, "tenant": tenant}
    if everything == any(name is not None for name in named.values()):
        raise typer.BadParameter("say which: --tag, --model, --tenant, or --all")
    body = {name: text for name, text in named.items() if text is not None} | {"all": everything}
    found = _asked(admin_at(admin, key), "/admin/cache/invalidate", body)
    typer.echo(f"{found['invalidated']:,} answers that were kept in memory are put out of use.")
    if found.get("shared") is False:
        typer.echo("The store that gateways share is away: it is told when it is back.", err=True)
        raise typer.Exit(FAILED)


@cache.command()
def warm(
    file: Annotated[Path, typer.Argument(help="A request's JSON body a line; or {path, body}.", exists=True)],
    url: Annotated[str, typer.Option(help="The gateway's data address.")] = "http://127.0.0.1:8080",
    key: Annotated[
        str | None,
        typer.Option(envvar=["PENSTOCK_API_KEY", "PENSTOCK_KEY"], help="An API key: whose answers they are."),
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=256, help="Requests at the same time.")] = 4,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds for one answer.")] = 300.0,
    similar: Annotated[
        bool, typer.Option("--similar", help="Also for questions in other words (semantic cache).")
    ] = False,
) -> None:
    """Send requests through the gateway, so that their answers are kept before anybody asks.

    Exit status: 0 all were answered, 1 some were not, 2 a mistake in the file.
    """
    try:
        target = parse_target(url)
        if key is not None:
            check_key(key)
        requests = list(_read(file))
    except ValueError as error:
        typer.echo(f"penstock cache: {error}", err=True)
        raise typer.Exit(MISTAKE) from None
    ends = asyncio.run(_send(target, key, requests, at_once, timeout_s, SIMILAR if similar else b""))
    good = ends.pop("", 0)
    typer.echo(f"{good:,} of {len(requests):,} requests were answered.")
    for what, count in ends.most_common():
        typer.echo(f"{count:,}: {what}", err=True)
    if good < len(requests):
        raise typer.Exit(FAILED)


def _read(file: Path) -> Iterator[tuple[str, bytes]]:
    """Paths and bodies. Raises ValueError that names the line."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line[:MOST_LINE])
            except ValueError as error:
                raise ValueError(f"{file}: line {number}: {error}") from None
            if not isinstance(found, dict):
                raise ValueError(f"{file}: line {number}: expected a request's body, or {{path, body}}")
            path = CHAT
            if isinstance(found.get("body"), dict):
                path, found = str(found.get("path", CHAT)), found["body"]
            yield path, json.dumps(found).encode()


async def _send(
    target: Target, key: str | None, requests: list[tuple[str, bytes]], at_once: int, timeout_s: float, headers: bytes
) -> Counter[str]:
    """How many ended how; an empty text: answered."""
    client = Client(target, key=key, timeouts=Timeouts(total_s=timeout_s))
    waiting = iter(requests)
    ends: Counter[str] = Counter()

    async def sender() -> None:
        for path, body in waiting:
            answer = await client.ask("POST", path, body, headers)
            ends[answer.error] += 1

    try:
        async with asyncio.TaskGroup() as senders:
            for _ in range(min(at_once, len(requests))):
                senders.create_task(sender())
    finally:
        client.close()
    return ends
