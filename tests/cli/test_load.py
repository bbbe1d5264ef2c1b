"""`penstock load` from its options to its tables and exit status, against a real server on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from penstock.cli.load import load
from tests.loadgen.scripted import Script, always, in_thread, plain, stream

ROWS = b"at_s,prompt_tokens,output_tokens\n0,5,2\n0,9,2\n0.01,5,2\n"
GOOD = always(stream("a", "b", headers=b"x-penstock-replica: r1\r\n"))


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the machine that runs the tests go nowhere."""
    monkeypatch.delenv("PENSTOCK_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """A trace of three small requests."""
    (tmp_path / "t.csv").write_bytes(ROWS)
    return str(tmp_path / "t.csv")


def typed(*words: str) -> Result:
    """The result of `penstock load` with these words."""
    app = typer.Typer()
    app.command()(load)
    return CliRunner().invoke(app, list(words))


def loaded(script: Script, *words: str) -> Result:
    """The result against a server with this script."""
    return in_thread(script, lambda url: typed("--url", url, *words))


def noted() -> tuple[threading.Event, Script]:
    """An engine that answers well, and when it first has."""
    seen = threading.Event()

    async def script(request: object, writer: object) -> None:
        await GOOD(request, writer)  # type: ignore[arg-type]
        if request.path.endswith("completions"):  # type: ignore[attr-defined]
            seen.set()

    return seen, script


def test_table(trace: str) -> None:
    """A run ends with 0 and in tables of what was sent, its times, its goodput and each replica's load."""
    result = loaded(GOOD, "--trace", trace)
    assert result.exit_code == 0
    for part in ("3 sent of 3, 3 ok, 0 failed", "model tiny", "100.0% good", "time to first token", "r1"):
        assert part in result.stdout


def test_json_to_stdout(trace: str) -> None:
    """With --json - standard output is JSON and nothing else; the tables go to standard error."""
    result = loaded(GOOD, "--trace", trace, "--json", "-", "--limit", "2", "--slo-ttft", "none", "--slo-e2e", "5s")
    report = json.loads(result.stdout)
    assert (report["ok"], report["planned"]) == (2, 2)
    assert report["slo"] == {"ttft_s": None, "itl_s": 0.1, "e2e_s": 5.0}
    assert "Load" in result.stderr


def test_json_to_a_file(trace: str, tmp_path: Path) -> None:
    """With --json FILE the file holds the report, and the tables stay on standard output."""
    result = loaded(GOOD, "--trace", trace, "--json", str(tmp_path / "r.json"), "--closed", "2", "--no-stream")
    assert "closed loop, users: 2, no streaming" in result.stdout
    assert json.loads((tmp_path / "r.json").read_text())["sent"] == 3


def test_key_of_the_environment(trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key comes from --key, else from the environment, ours before OpenAI's; and is nowhere shown."""
    keys: list[str] = []

    async def script(request: object, writer: object) -> None:
        keys.append(request.headers["authorization"])  # type: ignore[attr-defined]
        await GOOD(request, writer)  # type: ignore[arg-type]

    monkeypatch.setenv("OPENAI_API_KEY", "sk-theirs")
    assert loaded(script, "--trace", trace).exit_code == 0
    monkeypatch.setenv("PENSTOCK_API_KEY", "sk-ours")
    result = loaded(script, "--trace", trace)
    assert loaded(script, "--trace", trace, "--key", "sk-typed").exit_code == 0
    assert list(dict.fromkeys(keys)) == ["Bearer sk-theirs", "Bearer sk-ours", "Bearer sk-typed"]
    assert "sk-" not in result.output


def test_keys_of_many_tenants(trace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --keys requests go with the keys of the file alone, which are nowhere shown, and tenants have a table."""
    keys: list[str] = []

    async def script(request: object, writer: object) -> None:
        keys.append(request.headers["authorization"])  # type: ignore[attr-defined]
        await GOOD(request, writer)  # type: ignore[arg-type]

    monkeypatch.setenv("OPENAI_API_KEY", "sk-theirs")
    (tmp_path / "keys.yaml").write_text("search: sk-1\nbatch: {key: sk-2, share: 1000}\n")
    result = loaded(script, "--trace", trace, "--keys", str(tmp_path / "keys.yaml"), "--seed", "1")
    assert set(keys) == {"Bearer sk-1", "Bearer sk-2"}
    assert "Per tenant" in result.stdout
    assert "batch" in result.stdout
    assert "sk-" not in result.output
    (tmp_path / "keys.yaml").write_text("search: 5")
    wrong = typed("--trace", trace, "--keys", str(tmp_path / "keys.yaml"))
    assert wrong.exit_code == 2
    assert "search: Expected `object`" in " ".join(wrong.stderr.replace("│", " ").split())


def test_fail_on_error(trace: str) -> None:
    """Errors are part of a run; with --fail-on-error they make it fail, and without where nothing succeeded."""
    busy = always(plain(429, b'{"error":{"code":"queue_full","message":"The queue is full."}}'))
    served = count(1)

    async def mixed(request: object, writer: object) -> None:
        await (busy if next(served) % 3 else GOOD)(request, writer)  # type: ignore[arg-type]

    result = loaded(mixed, "--trace", trace)
    assert result.exit_code == 0
    assert "429 queue_full" in result.stdout
    assert "The queue is full." in result.stdout
    assert loaded(mixed, "--trace", trace, "--fail-on-error").exit_code == 1
    assert loaded(busy, "--trace", trace).exit_code == 1


def test_nobody_there() -> None:
    """A target that does not answer is refused in words, with status 1."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = typed("--url", url)
    assert result.exit_code == 1
    assert f"{url} does not answer (refused)" in result.stderr


def test_workload_file(tmp_path: Path) -> None:
    """A workload file is sent like a trace, and its mistakes end with 2."""
    path = tmp_path / "w.yaml"
    path.write_text("workload: {kind: synthetic, arrivals: {kind: constant, rate: 100}, requests: 3}")
    assert "3 sent of 3, 3 ok" in loaded(GOOD, "--trace", str(path), "--seed", "1").stdout
    path.write_text("workload: {kind: trace}")
    result = typed("--trace", str(path))
    assert result.exit_code == 2
    assert "workload.file" in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trace", "none.csv"], "none.csv: No such file"),
        (["--url", "localhost:80"], "write http://HOST:PORT"),
        (["--slo-ttft", "fast"], "is not a duration"),
        (["--timeout", "0s"], "is not a time above 0"),
        (["--repeat"], "needs --limit or --duration"),
        (["--json", "/no/such/folder/r.json"], "cannot write"),
        (["--url", "https://127.0.0.1", "--ca", __file__], "not a file of PEM"),
        (["--key", "a\nb"], "the key has characters"),
        (["--speed", "0"], "--speed"),
    ],
)
def test_mistakes(words: list[str], said: str) -> None:
    """A mistake in the options ends with 2 before anything is sent, and says what is wanted."""
    result = typed(*words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C ends a run at once and cleanly: the table of what was done, and status 130."""
    (tmp_path / "t.csv").write_bytes(ROWS + b"1000,5,2\n")
    seen, script = noted()

    def press() -> None:
        assert seen.wait(50)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    presser = threading.Thread(target=press)
    presser.start()
    result = loaded(script, "--trace", str(tmp_path / "t.csv"), "--model", "tiny")
    presser.join(50)
    assert result.exit_code == 130
    assert "stopped early" in result.stdout


@pytest.mark.slow
def test_interrupted_again(tmp_path: Path) -> None:
    """Signals that follow the first one, as `timeout` sends them, do not cost the tables of what was done."""
    (tmp_path / "t.csv").write_bytes(ROWS + b"1000,5,2\n")
    seen, script = noted()

    def stopped(url: str) -> str:
        words = ("load", "--url", url, "--trace", str(tmp_path / "t.csv"), "--model", "tiny")
        with subprocess.Popen([sys.executable, "-m", "penstock", *words], stdout=subprocess.PIPE, text=True) as run:
            assert seen.wait(50)
            while run.poll() is None:
                run.send_signal(signal.SIGINT)
                threading.Event().wait(0.002)
            return run.communicate()[0]

    assert "stopped early" in in_thread(script, stopped)
