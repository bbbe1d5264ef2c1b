"""`penstock serve`: the gateway, from a file, from URLs, or as a demo over emulated replicas."""

import ctypes
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from msgspec.structs import replace

from penstock import __version__
from penstock.base.errors import ConfigError
from penstock.base.nouns import Replica
from penstock.config.addresses import is_loopback, parse_listen, show_address
from penstock.config.load import from_urls, load_file
from penstock.config.schema import Settings
from penstock.core.spec import PoolSpec

DEMO_MODEL = "demo"
DEMO_SPEEDS = (1.0, 1.0, 0.5)
DEMO_PORTS = (18001, 18002, 18003)
DEMO_SEATS = 32


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
    over those servers. With neither it starts three emulated replicas, one of them half as fast, and balances over
    them.
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
        with emulated() as ports:
            settings = over(demo(ports), listen, admin)
            run(settings, None, None, ports)


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
    settings: Settings, read: Callable[[], Settings] | None, file: Path | None, demo_ports: list[int] | None = None
) -> None:
    """Serve until a signal; exit 1 with a clear line where an address or a file cannot be had."""
    # imported here, so that `penstock --help` does not wait for the event loop and the HTTP libraries
    from penstock.gateway.build import serve_forever

    def started(bound: Settings) -> None:
        say(bound, [] if demo_ports is None else demo_hints(bound, demo_ports))

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload that comes before the gateway listens to it
    try:
        serve_forever(settings, read, file, started)
    except OSError as wrong:
        typer.echo(f"penstock: {wrong}{_way_out(settings, wrong)}", err=True)
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


# ===== the demo =====


def demo(ports: list[int]) -> Settings:
    """One pool over emulated replicas on these ports."""
    base = from_urls([f"http://127.0.0.1:{port}" for port in ports])
    pool = PoolSpec(name="demo", models=(DEMO_MODEL,))
    replicas = tuple(
        Replica(
            id=f"emulated-{number}", url=f"http://127.0.0.1:{port}", pool="demo", engine="vllm",
            max_concurrent_requests=DEMO_SEATS,
        )
        for number, port in enumerate(ports, 1)
    )  # fmt: skip
    server = replace(base.server, log=replace(base.server.log, format="text"))
    return replace(base, server=server, gate=replace(base.gate, pools=(pool,)), replicas=replicas, access={})


def demo_hints(settings: Settings, ports: list[int]) -> list[str]:
    """Commands that work as they are printed."""
    data, me = f"http://{show_address(settings.server.listen)}", command()
    chat = '{"model": "demo", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20, "stream": true}'
    fleet = (
        "" if settings.server.admin is None else f"  curl -s http://{show_address(settings.server.admin)}/admin/fleet\n"
    )
    return [
        f"  replicas: emulated vLLMs on ports {', '.join(map(str, ports))}; the last one is half as fast",
        "Try next, in another terminal:\n"
        f"  curl -N {data}/v1/chat/completions -H 'content-type: application/json' -d {shlex.quote(chat)}\n"
        f"  {me} load --url {data} --limit 200 --speed 2\n{fleet}"
        "Ctrl-C stops it.",
    ]


def command() -> str:
    """How the user can call us in another terminal."""
    ours = Path(sys.argv[0])
    if shutil.which("penstock") or ours.name != "penstock":
        return "penstock"
    try:
        return str(ours.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(ours)


@contextmanager
def emulated() -> Iterator[list[int]]:
    """Three emulated replicas in a process of their own, for as long as the block runs."""
    before = signal.signal(signal.SIGTERM, _leave)  # until the gateway takes it, lest the replicas outlive us
    try:
        with _emulators() as ports:
            yield ports
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(0)


def _end_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies, however it does: PR_SET_PDEATHSIG of prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@contextmanager
def _emulators() -> Iterator[list[int]]:
    ports = [port if is_free(port) else free_port() for port in DEMO_PORTS]
    wanted = [word for port in ports for word in ("--port", str(port))]
    wanted += [word for speed in DEMO_SPEEDS for word in ("--speed", str(speed))]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "penstock",
            "emulate",
            "--model",
            DEMO_MODEL,
            "--max-num-seqs",
            str(DEMO_SEATS),
            *wanted,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal is for the gateway; it drains while the replicas still answer
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    try:
        yield ports
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # we are ending already
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def is_free(port: int) -> bool:
    """Whether this port can be listened on at 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that the system says is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
