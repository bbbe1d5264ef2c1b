"""Real llama-servers for tests, with a tiny model of random weights: only where somebody has such a binary."""

import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers import tiny_gguf
from tests.helpers.processes import Child, Process, end_with_parent, environment, until

NAMED_BY = "PENSTOCK_LLAMA_SERVER"
SLOTS = 2


def binary() -> str:
    """The program; skips the test where none is named."""
    found = os.environ.get(NAMED_BY, "")
    if not found:
        pytest.skip(f"needs the path of a llama-server in {NAMED_BY}")
    return found


def free_port() -> int:
    """A port that is free now: llama-server does not say which one the system would choose."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


def _spawned(arguments: Sequence[str], out: Path, err: Path) -> Child:
    with out.open("ab") as saying, err.open("ab") as logging:
        return subprocess.Popen(
            [binary(), *arguments], stdin=subprocess.DEVNULL, stdout=saying, stderr=logging, env=environment(),
            start_new_session=True, preexec_fn=end_with_parent,
        )  # fmt: skip


class LlamaServer(Process):
    """One llama-server that serves `tiny`."""

    def __init__(self, folder: Path, *more: str, name: str = "llama", port: int = 0, aliases: str = "tiny") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / "tiny.gguf"
        if not model.exists():
            tiny_gguf.write(model)
        self.port = port or free_port()
        words = ["--model", str(model), "--alias", aliases, "--metrics", "--parallel", str(SLOTS), "--threads", "1"]
        words += ["--ctx-size", str(SLOTS * tiny_gguf.CONTEXT), "--host", "127.0.0.1", "--port", str(self.port)]
        super().__init__(folder, name, *words, *more, spawn=_spawned)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, bytes]:
        """One of its pages: status and body; 0: nobody listens."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()
        except OSError:
            return 0, b""

    def await_ready(self) -> "LlamaServer":
        """Wait until its model is loaded."""
        until(lambda: self.get("/health")[0] == 200, 30.0, lambda: f"{self.name} to be ready:\n{self.log()}")
        return self
