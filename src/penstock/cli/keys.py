"""`penstock keys`: make, change, rotate and revoke API keys, and tell who may use what and what is used of it.

A key is shown once, when it is made, on standard output; whatever else is said then goes to standard error, so that
`KEY=$(penstock keys create search)` is all that a script needs.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
import yaml

from penstock.base.errors import ConfigError
from penstock.base.nouns import AccountView
from penstock.cli.admin import Admin, AdminError, admin_at
from penstock.cli.key_options import (
    Ceiling,
    Expires,
    Limits,
    Models,
    Tenant,
    TierName,
    end_given,
    one_of,
    overlap_given_s,
    terms_given,
)
from penstock.cli.key_tables import limits_table, models_text, rows_table, state_text
from penstock.cli.plain import WIDE_WIDTH, plain_console, understood
from penstock.config.addresses import show_address
from penstock.config.key_files import Where, change, change_checked, read_store, where
from penstock.config.key_orders import SETTINGS, key_of, new_secret, plain, settings_of
from penstock.config.key_rows import Row, rows_of
from penstock.config.key_store import (
    KeyChange,
    KeyStore,
    StoredKey,
    changed,
    created,
    moment,
    revoked,
    rotated,
)
from penstock.config.keys import sha256
from penstock.config.load import load_file
from penstock.config.mistakes import did_you_mean
from penstock.config.schema import Settings

FAILED, MISTAKE = 1, 2
ASK_S = 3.0

keys = typer.Typer(
    name="keys", invoke_without_command=True, add_completion=False, rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)  # fmt: skip

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="PENSTOCK_CONFIG", help="The configuration, YAML.", show_default=True)
]
Name = Annotated[str, typer.Argument(help="The key's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AdminUrl = Annotated[
    str | None,
    typer.Option(
        "--admin", envvar="PENSTOCK_ADMIN", metavar="URL",
        help="Admin address of the gateway that tells what is used; else the one that the configuration names.",
    ),
]  # fmt: skip
AdminKey = Annotated[
    str | None, typer.Option("--admin-key", envvar="PENSTOCK_ADMIN_KEY", show_envvar=True, help="Its admin key.")
]
USUAL = Path("penstock.yaml")


@keys.callback()
def _group(context: typer.Context, config: Config = USUAL) -> None:
    """Make, change, rotate and revoke API keys, and tell who may use what.

    Keys that are made here stand in the configuration's `keys_file`, as hashes; a gateway that runs takes a change
    within a second. Those of the configuration's own `keys` are listed as well. Without a command: list.
    Exit status: 0 done, 1 the file cannot be written, 2 a mistake in what you gave.
    """
    if context.invoked_subcommand is None:
        list_(config)


@keys.command()
def create(
    name: Name, config: Config = USUAL, tenant: Tenant = None, tier: TierName = None, model: Models = None,
    expires: Expires = None, limits: Limits = None, priority_ceiling: Ceiling = None,
    print_entry: Annotated[
        bool, typer.Option("--print-entry", help="Write nothing: print the entry for `keys:` of the configuration.")
    ] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Make a key, and print it once.

    It is random (256 bits) and begins with sk-penstock-; only its hash is kept. Standard output has the key and nothing
    else.
    """
    now_s, key = time.time(), new_secret()
    terms = terms_given(now_s, tenant, tier, model, expires, limits, priority_ceiling)
    try:
        made = key_of(name, key, now_s, terms)
    except ConfigError as wrong:
        raise typer.BadParameter(wrong.mistakes[0], param_hint="NAME") from None
    if print_entry:
        _entry(made, key, as_json)
        return
    place, file = _place(config)
    _changed(place, file, lambda store: created(store, made, place.written), checked=True)
    if as_json:
        typer.echo(json.dumps({"name": name, "key": key, "keys_file": str(file), **plain(made)}))
        return
    typer.echo(key)
    ends = "" if made.expires is None else f" It holds until {made.expires}."
    text = f"The key {name!r} is shown this once: {file} keeps its hash only.{ends}"
    typer.echo(f"{text} A gateway that runs takes it within a second.", err=True)


@keys.command()
def rotate(
    name: Name,
    config: Config = USUAL,
    overlap: Annotated[str, typer.Option(help="How long the key that it had goes on working; 0: not at all.")] = "24h",
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Give a key a new secret, and print it once; the old one works until the overlap ends.

    Both are the same key: name, tenant, limits and what is used of them are shared.
    """
    now_s = time.time()
    overlap_s = overlap_given_s(overlap, now_s)
    key, end = new_secret(), end_given(expires, now_s)
    place, file = _place(config)
    _known(place, file, name)
    after = _changed(
        place, file, lambda store: rotated(store, name, sha256(key), now_s, overlap_s, end), checked=True
    )  # fmt: skip
    now = after.find(name)
    ends = max((one.until or "" for one in (now.hashes if now else ())), default="")
    if as_json:
        typer.echo(json.dumps({"name": name, "key": key, "keys_file": str(file), "old_until": ends or None}))
        return
    typer.echo(key)
    old = f"What it was before works until {ends}." if ends else "What it was before is refused."
    typer.echo(f"The new key of {name!r} is shown this once. {old}", err=True)


@keys.command("set")
def set_(
    name: Name, config: Config = USUAL, tenant: Tenant = None, tier: TierName = None, model: Models = None,
    expires: Expires = None, limits: Limits = None, priority_ceiling: Ceiling = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(help=f"As usual again; repeat it. One of {', '.join(SETTINGS)}."),
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Change settings of a key; those that are not named stay, and so do its secrets.

    What is named is replaced as a whole: all models, all limits. `--clear models` allows all models, `--clear limits`
    takes its own limits away, `--clear expires` lets it hold for ever.
    """
    terms = terms_given(time.time(), tenant, tier, model, expires, limits, priority_ceiling)
    for one in clear or ():
        one_of(one, SETTINGS, "--clear")
        if terms.setdefault(one, None) is not None:
            raise typer.BadParameter(f"{one} is set and cleared at once", param_hint="--clear")
    if not terms:
        raise typer.BadParameter(
            "says nothing to change; `penstock keys set --help` tells what can be", param_hint=name
        )
    place, file = _place(config)
    _known(place, file, name)
    now = _changed(place, file, lambda store: changed(store, name, terms), checked=True).find(name)
    settings = {} if now is None else settings_of(now)
    if as_json:
        typer.echo(json.dumps({"name": name, "keys_file": str(file), **settings}))
        return
    told = ", ".join(f"{one} {'as usual' if settings[one] is None else json.dumps(settings[one])}" for one in terms)
    typer.echo(f"The key {name!r} has changed: {told}. A gateway that runs takes it within a second.")


@keys.command()
def revoke(name: Name, config: Config = USUAL, as_json: Json = False) -> None:
    """Take a key back, with all its secrets: a gateway that runs refuses it within a second.

    Answers that are under way are finished.
    """
    now_s = time.time()
    place, file = _place(config)
    _known(place, file, name)
    _changed(place, file, lambda store: revoked(store, name, now_s), checked=False)
    if as_json:
        typer.echo(json.dumps({"name": name, "revoked": moment(now_s), "keys_file": str(file)}))
    else:
        typer.echo(f"The key {name!r} is revoked: a gateway that runs refuses it within a second.")


@keys.command("list")
def list_(
    config: Config = USUAL, admin: AdminUrl = None, admin_key: AdminKey = None, as_json: Json = False,
) -> None:  # fmt: skip
    """All keys: whose they are, what they may use and until when, their state, and what is used of their limits."""
    settings = load_file(config, os.environ)
    rows, remark = _rows(settings, admin, admin_key)
    if as_json:
        _print_json({"keys": rows, "remark": remark or None})
        return
    if settings.server.open:
        typer.echo("No keys: everybody may call.")
    elif not rows:
        typer.echo("There are no keys yet: nobody may call. `penstock keys create NAME` makes one.")
    else:
        plain_console(WIDE_WIDTH).print(rows_table(rows))
    if remark and rows:
        typer.echo(remark, err=True)


@keys.command()
def show(
    name: Name, config: Config = USUAL, admin: AdminUrl = None, admin_key: AdminKey = None, as_json: Json = False,
) -> None:  # fmt: skip
    """One key, with all its limits and what is used of them."""
    settings = load_file(config, os.environ)
    all_rows, remark = _rows(settings, admin, admin_key)
    rows = [row for row in all_rows if row.name == name]
    if not rows:
        _unknown(name, {row.name for row in all_rows}, str(config))
    if as_json:
        _print_json({"keys": rows, "remark": remark or None})
        return
    for row in rows:
        _print_row(row, settings)
    if remark and any(row.limits for row in rows):
        typer.echo(remark, err=True)


# ===== what is told =====


def _rows(settings: Settings, url: str | None, key: str | None) -> tuple[list[Row], str]:
    """All keys, and a remark where nobody tells what is used."""
    file = settings.server.keys_file
    store = KeyStore() if file is None else read_store(Path(file))
    accounts, remark = _accounts(settings, url, key)
    return rows_of(settings, store, accounts, time.time()), remark


def _accounts(settings: Settings, url: str | None, key: str | None) -> tuple[list[AccountView] | None, str]:
    if url is None and settings.server.admin is None:
        return None, "The configuration has no admin API: what is used of the limits is not known."
    if url is None:
        host, port = settings.server.admin or ("", 0)
        usual = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
        url = f"http://{show_address((usual.get(host, host), port))}"
    admin_at(url, key).close()  # a mistake in the address is one of who gave it
    desk = Admin(url, key, ASK_S)
    try:
        return understood(desk.read("/admin/tenants"), list[AccountView]), ""
    except AdminError as error:
        return None, f"What is used of the limits is not known: {error}."
    finally:
        desk.close()


def _print_row(row: Row, settings: Settings) -> None:
    place = settings.server.keys_file if row.place == "keys_file" else "the configuration's `keys`"
    told = {
        "key": row.name, "state": state_text(row), "tenant": row.tenant, "tier": row.tier,
        "priority up to": row.priority_ceiling, "models": models_text(row.models), "made": row.made,
        "expires": row.expires or "never", "stands in": place,
        "hash begins": ", ".join(
            f"{one.hash_begins} (until {one.until})" if one.until else one.hash_begins for one in row.secrets
        ),
    }  # fmt: skip
    for what, text in told.items():
        if text:
            typer.echo(f"{what:>15}  {text}")
    if row.limits:
        plain_console(WIDE_WIDTH).print(limits_table(row.limits))
    elif row.state != "revoked":
        typer.echo(f"{'limits':>15}  none")


def _print_json(found: Any) -> None:
    typer.echo(msgspec.json.encode(found).decode())


def _entry(made: StoredKey, key: str, as_json: bool) -> None:
    entry = {"name": made.name, "hash": made.hashes[0].hash, **plain(made)}
    del entry["made"]
    if as_json:
        typer.echo(json.dumps({"key": key, "entry": entry}))
        return
    typer.echo(f"# The key. It is not kept anywhere, and cannot be shown again:\n{key}\n# Its entry, under `keys:`:")
    typer.echo(yaml.safe_dump([entry], sort_keys=False, default_flow_style=None, width=200), nl=False)


# ===== changes =====


def _place(config: Path) -> tuple[Where, Path]:
    place = where(config, os.environ)
    if place.file is None:
        _fail(
            f"{config} names no `keys_file`, so keys have nowhere to stand; write `keys_file: keys.json` into it, "
            "or make an entry for its `keys:` with `penstock keys create NAME --print-entry`"
        )
    return place, place.file


def _known(place: Where, file: Path, name: str) -> None:
    """It stands in the keys file, where it can be changed."""
    store = read_store(file)
    if store.find(name) is not None:
        return
    if name in place.written:
        _fail(
            f"the key {name!r} stands in {place.written[name]}, and that file is yours: change it there; "
            f"`penstock keys` changes those in {file}"
        )
    _unknown(name, {key.name for key in store.keys}, str(file))


def _changed(place: Where, file: Path, edit: Callable[[KeyStore], KeyStore], *, checked: bool) -> KeyStore:
    """The keys file changed. `checked`: see `change_checked`."""
    before = 0
    try:
        if checked:
            after, before = change_checked(place, file, os.environ, edit)
        else:
            after = change(file, edit)
    except KeyChange as wrong:
        _fail(str(wrong))
    except OSError as wrong:
        _fail(f"{file} cannot be written ({wrong.strerror or wrong}); nothing has changed", FAILED)
    if before:
        typer.echo(
            f"{place.config} has {before} mistake(s) as seen from here (`penstock check {place.config}` tells): a "
            "gateway for which it has them takes no new key before they are put right.", err=True,
        )  # fmt: skip
    return after


def _unknown(name: str, known: set[str], where_: str) -> NoReturn:
    hint = did_you_mean(name, sorted(known)) or "`penstock keys list` shows all"
    _fail(f"there is no key {name!r} in {where_}; {hint}")


def _fail(text: str, status: int = MISTAKE) -> NoReturn:
    typer.echo(f"penstock keys: {text}", err=True)
    raise typer.Exit(status)
