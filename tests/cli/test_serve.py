"""`penstock serve`: what options mean, and how mistakes are told."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from penstock.base.errors import ConfigError
from penstock.cli import serve as command
from penstock.cli.main import app
from penstock.config.load import load, read_text
from penstock.config.schema import Settings, TlsConf

FILE = """
listen: 127.0.0.1:18180
admin: 127.0.0.1:18190
keys: [{name: demo, key: sk-demo}]
pools: [{name: tiny, models: [tiny], replicas: [{url: "http://127.0.0.1:9", engine: vllm}]}]
"""


class Served:
    """What the command would have served."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.read: Any = None
        self.file: Path | None = None
        self.output = ""
        self.status = 0


def serve(monkeypatch: pytest.MonkeyPatch, *arguments: str, fail: Exception | None = None) -> Served:
    """Run the command with a gateway that starts, says so and stops."""
    served = Served()

    def forever(settings: Settings, read: Any, file: Path | None, started: Any) -> None:
        served.settings, served.read, served.file = settings, read, file
        if fail is not None:
            raise fail
        started(settings)

    monkeypatch.setattr("penstock.gateway.forever.serve_forever", forever)
    result = CliRunner().invoke(app, ["serve", *arguments], env={"COLUMNS": "300", "TERM": "dumb"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    served.output, served.status = re.sub(r"[ │]+", " ", result.output), result.exit_code
    return served


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file."""
    path = tmp_path / "penstock.yaml"
    path.write_text(FILE)
    return path


# ===== from a file =====


def test_a_file_is_served_and_can_be_read_again(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """With --config the file's settings are served, and reloading reads the same file with the same options over it."""
    served = serve(monkeypatch, "--config", str(file), "--listen", "127.0.0.1:1234")
    assert (served.status, served.file) == (0, file)
    assert served.settings.server.listen == ("127.0.0.1", 1234)
    assert served.settings.server.admin == ("127.0.0.1", 18190)
    file.write_text(FILE.replace("tiny", "small"))
    again = served.read()
    assert (again.gate.pools[0].name, again.server.listen) == ("small", ("127.0.0.1", 1234))


def test_what_is_said(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """It says where it serves, for whom, over what, and what is unwise; and shows no key."""
    said = serve(monkeypatch, "--config", str(file)).output
    assert "serves on http://127.0.0.1:18180/v1 (1 API key(s))" in said
    assert "http://127.0.0.1:18190/admin/fleet" in said
    assert "pool tiny: 1 replica(s), adaptive, tiny" in said
    assert "warning: keys[0]" in said
    assert "sk-demo" not in said


def test_the_file_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """PENSTOCK_CONFIG stands for --config."""
    monkeypatch.setenv("PENSTOCK_CONFIG", str(file))
    assert serve(monkeypatch).settings.gate.pools[0].name == "tiny"


def test_tls_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """With TLS the address that is shown begins with https."""
    settings = load(FILE, {}, read_text)
    command.say(replace(settings, server=replace(settings.server, tls=TlsConf(cert="c", key="k"))), [])
    assert "https://127.0.0.1:18180/v1" in capsys.readouterr().out


def test_sighup_before_it_listens_is_ignored(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """A reload that is asked for while the gateway starts does not end it, and the terminal's own meaning returns."""
    before = signal.getsignal(signal.SIGHUP)
    seen: list[object] = []

    def forever(*_: object) -> None:
        seen.append(signal.getsignal(signal.SIGHUP))

    monkeypatch.setattr("penstock.gateway.forever.serve_forever", forever)
    assert CliRunner().invoke(app, ["serve", "--config", str(file)]).exit_code == 0
    assert seen == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGHUP) is before


# ===== from URLs =====


def test_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --url it balances over those servers, on the default addresses, and there is nothing to reload."""
    served = serve(monkeypatch, "--url", "http://a:1", "--url", "https://b/v1/")
    assert [replica.url for replica in served.settings.replicas] == ["http://a:1", "https://b/v1"]
    assert served.settings.server.listen == ("127.0.0.1", 8080)
    assert (served.read, served.file) == (None, None)
    assert "pool default: 2 replica(s), adaptive, models as listed" in served.output
    assert "leave /v1 out unless that is meant" in served.output


# ===== mistakes =====


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--url", "http://a:1", "--listen", "nonsense"], "--listen"),
        (["--url", "http://a:1", "--listen", "0.0.0.0:80"], "--listen"),
        (["--url", "http://a:1", "--admin", "0.0.0.0:80"], "--admin"),
        (["--url", "a:1"], "did you mean http://a:1?"),
        (["--url", "http://a:1", "--url", "http://a:1"], "--url (2 of 2)"),
        (["--config", "/nonexistent/penstock.yaml"], "/nonexistent/penstock.yaml: cannot be read"),
    ],
)
def test_mistakes(monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str) -> None:
    """A mistake is told in the words of the command line, before anything is opened."""
    with pytest.raises(ConfigError) as refused:
        serve(monkeypatch, *arguments)
    assert words in str(refused.value)


def test_config_and_url_exclude_each_other(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """A file names its replicas itself; both at once is status 2."""
    served = serve(monkeypatch, "--config", str(file), "--url", "http://a:1")
    assert served.status == 2
    assert "give --config or --url, not both" in served.output


@pytest.mark.parametrize(
    "text, listen, admin, words",
    [
        (FILE.replace("keys", "#"), "0.0.0.0:80", None, "--listen 0.0.0.0:80: beyond loopback"),
        (FILE, None, "0.0.0.0:80", "--admin 0.0.0.0:80: beyond loopback"),
        (FILE, "80", None, "--listen '80' is not host:port: write 127.0.0.1:80"),
        (FILE, None, "http://a:80", "--admin 'http://a:80' is not host:port: leave out the scheme"),
    ],
)
def test_options_open_no_public_door(text: str, listen: str | None, admin: str | None, words: str) -> None:
    """An address of the command line is held to the rules of the file: no open gateway or admin API beyond loopback."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        command.over(load(text, {}, read_text), listen, admin)


def test_options_over_a_file_that_allows_it() -> None:
    """With keys, or where the file was public already, the data port may be anywhere."""
    assert command.over(load(FILE, {}, read_text), "0.0.0.0:80", None).server.listen == ("0.0.0.0", 80)
    public = FILE.replace("keys: [{name: demo, key: sk-demo}]", "auth: none").replace("127.0.0.1:18180", "0.0.0.0:1")
    assert command.over(load(public, {}, read_text), "0.0.0.0:80", None).server.listen == ("0.0.0.0", 80)


@pytest.mark.parametrize(
    "error, hint",
    [
        (OSError(98, "cannot listen on 127.0.0.1:8080: Address already in use"), True),
        (FileNotFoundError(2, "No such file or directory", "/nowhere/journal"), False),
    ],
)
def test_what_the_system_refuses(monkeypatch: pytest.MonkeyPatch, error: OSError, hint: bool) -> None:
    """A taken port is told with a way out, any other refusal in its own words; the status is 1."""
    served = serve(monkeypatch, "--url", "http://a:1", fail=error)
    assert served.status == 1
    assert (error.strerror or "") in served.output
    assert "Errno" not in served.output
    assert ("Choose another address" in served.output) == hint
