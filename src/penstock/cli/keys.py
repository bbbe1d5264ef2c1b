"""`penstock keys`: the API keys that a configuration knows, and new ones. A key is shown once, when it is made."""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from penstock.cli.plain import WIDE_WIDTH, plain_console
from penstock.config.keys import sha256
from penstock.config.load import load_file
from penstock.config.schema import KeyTerms, ServerSpec

SHOWN_DIGITS = 12
"""Of a hash: enough to find it in the file."""
KEY_BYTES = 32

File = Annotated[Path, typer.Argument(envvar="PENSTOCK_CONFIG", help="The configuration, YAML.", show_default=True)]
New = Annotated[str | None, typer.Option("--new", metavar="NAME", help="Make a key of this name, and its entry.")]
Tenant = Annotated[str | None, typer.Option(help="With --new: the tenant that it belongs to.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="With --new: a model that it may use; repeat it.")]
Expires = Annotated[str | None, typer.Option(help="With --new: the last day on which it holds, like 2027-03-31.")]


def keys(
    file: File = Path("penstock.yaml"), new: New = None, tenant: Tenant = None, model: Models = None,
    expires: Expires = None,
) -> None:  # fmt: skip
    """List the API keys of a configuration, or make a new one.

    With --new a key is printed once, with the entry for `keys:` that holds its hash; a gateway that runs takes the file
    again when it changes. Two entries of one name are one key that is being changed: add the new one, let the clients
    move, take the old one out. Exit status: 0 done, 2 a mistake.
    """
    if new is None:
        if tenant is not None or model or expires is not None:
            raise typer.BadParameter("say for whom: give --new NAME as well", param_hint="--tenant, --model, --expires")
        _list(load_file(file, os.environ).server)
        return
    key = f"sk-{secrets.token_urlsafe(KEY_BYTES)}"
    entry = {
        "name": new,
        "hash": f"sha256:{sha256(key)}",
        "tenant": tenant,
        "models": model or None,
        "expires": expires,
    }
    given = {name: value for name, value in entry.items() if value is not None}
    typer.echo(f"# The key. It is not kept anywhere, and cannot be shown again:\n{key}\n# Its entry, under `keys:`:")
    typer.echo(yaml.safe_dump([given], sort_keys=False, default_flow_style=False, width=200), nl=False)


def _list(server: ServerSpec) -> None:
    console = plain_console(WIDE_WIDTH)
    console.print(
        table_of(server, datetime.now(UTC).timestamp()) if server.key_names else "No keys: everybody may call."
    )


def table_of(server: ServerSpec, now_s: float) -> Table:
    """Keys, one a line; `now_s` is in seconds since 1970."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("key", "tenant", "tier", "priority up to", "models", "expires", "hash begins"):
        table.add_column(name, overflow="fold")
    for digest, name in server.key_names.items():
        terms = server.key_terms.get(digest, KeyTerms())
        models = "all" if terms.models is None else ", ".join(terms.models) or "none"
        table.add_row(
            name, terms.tenant or name, terms.tier, terms.ceiling, models, _until(terms.expires_at, now_s),
            digest[:SHOWN_DIGITS],
        )  # fmt: skip
    return table


def _until(expires_at: float | None, now_s: float) -> str:
    if expires_at is None:
        return "never"
    at = f"{datetime.fromtimestamp(expires_at, UTC):%Y-%m-%d %H:%M} UTC"
    return f"{at} (has expired)" if expires_at <= now_s else at
