"""What `penstock serve` serves without a file: emulated replicas, and hints for whoever sees it for the first time.

On Linux the pool starts and stops them by itself, so that scaling can be watched. Elsewhere, where processes cannot be
found again as that needs, three of them run for as long as the gateway does.
"""

import ctypes
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from penstock.base.nouns import Replica
from penstock.config.addresses import show_address
from penstock.config.load import from_urls, load, read_text
from penstock.config.schema import Settings
from penstock.core.spec import PoolSpec

MODEL = "demo"
SPEEDS = (1.0, 1.0, 0.5)
PORTS = (18001, 18002, 18003)
SEATS = 32
SCALES = sys.platform == "linux"
SCALED = """
log: {{format: text}}
pools:
  - name: demo
    models: [{model}]
    scale:
      min: 3
      max: 6
      interval: 1s
      look: 500ms
      up: {{stabilisation: 2s, period: 5s}}
      down: {{stabilisation: 15s, period: 5s, cooldown: 10s}}
      actuator:
        kind: process
        command: {command}
        directory: {directory}
        at_exit: stop
        stop: 8s
      replica: {{engine: vllm, max_concurrent_requests: {seats}}}
"""
"""Times are short, so that there is something to see; for engines that take minutes to load the defaults are better."""


@contextmanager
def demo() -> Iterator[Settings]:
    """The demo's settings, for as long as its replicas may be needed."""
    if SCALES:
        with tempfile.TemporaryDirectory(prefix="penstock-demo-") as folder:
            yield scaled(folder)
    else:
        with emulated() as ports:
            yield fixed(ports)


def scaled(folder: str) -> Settings:
    """One pool that runs three to six emulated replicas, whose logs stand in this folder."""
    words = [
        sys.executable, "-m", "penstock", "emulate", "--port", "{port}", "--model", MODEL,
        "--max-num-seqs", str(SEATS), "--end-with", str(os.getpid()),
    ]  # fmt: skip
    command, directory = json.dumps(shlex.join(words)), json.dumps(folder)  # a JSON string is one of YAML
    return load(SCALED.format(model=MODEL, command=command, directory=directory, seats=SEATS), {}, read_text)


def fixed(ports: Sequence[int]) -> Settings:
    """One pool over emulated replicas on these ports."""
    base = from_urls([f"http://127.0.0.1:{port}" for port in ports])
    pool = PoolSpec(name="demo", models=(MODEL,))
    replicas = tuple(
        Replica(
            id=f"demo-{number}", url=f"http://127.0.0.1:{port}", pool="demo", engine="vllm",
            max_concurrent_requests=SEATS,
        )
        for number, port in enumerate(ports, 1)
    )  # fmt: skip
    server = replace(base.server, log=replace(base.server.log, format="text"))
    return replace(base, server=server, gate=replace(base.gate, pools=(pool,)), replicas=replicas, access={})


def hints(settings: Settings) -> list[str]:
    """Commands that work as they are printed."""
    data, me = f"http://{show_address(settings.server.listen)}", command()
    admin = settings.server.admin
    chat = '{"model": "demo", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20, "stream": true}'
    desk = "" if admin is None else f" --admin http://{show_address(admin)}"
    fleet = "" if admin is None else f"  {me} top{desk}\n"
    watch = f"  watch -n 1 {me} pools{desk}\n" if admin is not None and settings.scaled else ""
    about = (
        "the pool starts them by itself: three, and up to six under load"
        if settings.scaled
        else "the last one is half as fast"
    )
    return [
        f"  replicas: emulated vLLMs; {about}",
        "Try next, in another terminal:\n"
        f"  curl -N {data}/v1/chat/completions -H 'content-type: application/json' -d {shlex.quote(chat)}\n"
        f"  {me} load --url {data} --limit 200 --speed 2\n"
        + (
            f"  {me} load --url {data} --limit 1000 --speed 3     # more than three replicas can serve\n"
            if watch
            else ""
        )
        + watch
        + fleet
        + "Ctrl-C stops it.",
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


# ===== where pools cannot run processes =====


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


def end_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies, however it does: PR_SET_PDEATHSIG of prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@contextmanager
def _emulators() -> Iterator[list[int]]:
    ports = [port if is_free(port) else free_port() for port in PORTS]
    wanted = [word for port in ports for word in ("--port", str(port))]
    wanted += [word for speed in SPEEDS for word in ("--speed", str(speed))]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "penstock",
            "emulate",
            "--model",
            MODEL,
            "--max-num-seqs",
            str(SEATS),
            *wanted,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal is for the gateway; it drains while the replicas still answer
        preexec_fn=end_with_parent if sys.platform == "linux" else None,
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
