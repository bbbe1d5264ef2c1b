"""`penstock serve`: the gateway, from a file, from URLs, or as a demo over emulated replicas."""

import os
import signal
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from penstock import __version__
from penstock.base.errors import ConfigError
from penstock.cli.demo import demo, hints
from penstock.cli.main import said
from penstock.config.addresses import is_loopback, parse_listen, show_address
from penstock.config.load import from_urls, load_file
from penstock.config.schema import Settings


def serve(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="PENSTOCK_CONFIG", help="YAML file; `penstock check FILE` explains it."),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(
            "--url", help="A replica's base URL, without a file; repeat it for more. Engines and models are discovered."
        ),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="host:port of the data port, instead of the configured one.")
    ] = None,
    admin: Annotated[
        str | None, typer.Option(help="host:port of the admin API, instead of the configured one.")
    ] = None,
) -> None:
    """Serve one OpenAI-compatible endpoint over many replicas.

    With --config it serves what the file says and reloads it when it changes (or on SIGHUP). With --url it balances
    over those servers. With neither it starts three emulated replicas, and up to six under load.
    SIGTERM or Ctrl-C lets streams finish (30 s at most) and exits with 0; a second one ends at once.
    """
    if config is not None and url:
        raise typer.BadParameter("give --config or --url, not both: the file names its replicas itself")
    if config is not None:
        path = config

        def read() -> Settings:
            return over(load_file(path, os.environ), listen, admin)

        run(read(), read, path)
    elif url:
        run(from_urls(url, os.environ, listen=listen, admin=admin), None, None)
    else:
        with demo() as settings:
            run(over(settings, listen, admin), None, None, hints)


def over(settings: Settings, listen: str | None, admin: str | None) -> Settings:
    """Settings with the addresses of the command line laid over them. Raises ConfigError."""
    server = settings.server
    if listen is not None:
        address = _address("--listen", listen)
        if server.open and is_loopback(server.listen[0]) and not is_loopback(address[0]):
            raise ConfigError([f"--listen {listen}: beyond loopback the configuration needs `keys`, or `auth: none`"])
        server = replace(server, listen=address)
    if admin is not None:
        address = _address("--admin", admin)
        if server.admin_key_hash is None and not is_loopback(address[0]):
            raise ConfigError([f"--admin {admin}: beyond loopback the configuration needs an `admin_key`"])
        server = replace(server, admin=address)
    return replace(settings, server=server)


def _address(option: str, text: str) -> tuple[str, int]:
    try:
        return parse_listen(text)
    except ValueError as wrong:
        raise ConfigError([f"{option} {text!r} is not host:port: {wrong}"]) from None


def run(
    settings: Settings,
    read: Callable[[], Settings] | None,
    file: Path | None,
    hinted: Callable[[Settings], list[str]] | None = None,
) -> None:
    """Serve until a signal; exit 1 with a clear line where an address or a file cannot be had."""
    # imported here, so that `penstock --help` does not wait for the event loop and the HTTP libraries
    from penstock.gateway.forever import serve_forever

    def started(bound: Settings) -> None:
        say(bound, [] if hinted is None else hinted(bound))

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload that comes before the gateway listens to it
    try:
        serve_forever(settings, read, file, started)
    except OSError as wrong:
        typer.echo(f"penstock: {said(wrong)}{_way_out(settings, wrong)}", err=True)
        raise typer.Exit(1) from None
    finally:
        signal.signal(signal.SIGHUP, before)


def _way_out(settings: Settings, wrong: OSError) -> str:
    tls = settings.server.tls
    if isinstance(wrong, ssl.SSLError) and tls is not None:
        return f"\nLook at the files under `tls`: {tls.cert} and {tls.key}."
    if "cannot listen" in str(wrong):
        return "\nChoose another address with --listen or --admin, or stop what has it."
    return ""


def say(settings: Settings, hints: list[str]) -> None:
    """Where it serves and what to try next."""
    server = settings.server
    scheme = "https" if server.tls else "http"
    doors = "open to everybody who can reach it" if server.open else f"{len(server.key_names)} API key(s)"
    typer.echo(f"Penstock {__version__} serves on {scheme}://{show_address(server.listen)}/v1 ({doors})")
    if server.admin is not None:
        typer.echo(f"  admin API and metrics: http://{show_address(server.admin)}/admin/fleet and /metrics")
    for pool in settings.gate.pools:
        count = sum(replica.pool == pool.name for replica in settings.replicas)
        sources = sum(source.pool == pool.name for source in settings.sources)
        more = f" and {sources} source(s) of more" if sources else ""
        for scaled in settings.scaled:
            more += f", {scaled.spec.min} to {scaled.spec.max} of its own" if scaled.pool == pool.name else ""
        strategy = pool.strategy.__struct_config__.tag
        typer.echo(
            f"  pool {pool.name}: {count} replica(s){more}, {strategy}, {', '.join(pool.models) or 'models as listed'}"
        )
    for warning in settings.warnings:
        typer.echo(f"  warning: {warning}")
    for hint in hints:
        typer.echo(hint)
    sys.stdout.flush()
