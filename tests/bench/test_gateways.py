"""The peers' configurations are what their programs accept, as far as they are installed here."""

import subprocess
from pathlib import Path

import pytest

from bench import gateways
from bench.scenarios import FAST_STREAM, PLAIN, body
from penstock.config.schema import File


@pytest.fixture(autouse=True)
def _work_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configurations are written to a folder of the test."""
    monkeypatch.setattr(gateways, "WORK", tmp_path)


def installed(name: str) -> gateways.Gateway:
    """The gateway, or a skipped test."""
    try:
        return gateways.make(name)
    except gateways.Missing as missing:
        pytest.skip(str(missing))


def test_nginx_takes_its_configuration() -> None:
    """nginx accepts the configuration that we write for it."""
    command = [*installed("nginx").command, "-t", "-q"]
    assert subprocess.run(command, timeout=20, check=False, capture_output=True).returncode == 0


@pytest.mark.slow
def test_envoy_takes_its_configuration() -> None:
    """Envoy accepts the configuration that we write for it."""
    command = [*installed("envoy").command, "--mode", "validate"]
    assert subprocess.run(command, timeout=60, check=False, capture_output=True).returncode == 0


def test_penstock_is_started_like_a_user_does() -> None:
    """We are measured from the outside, with a file that says so."""
    command = gateways.make("penstock").command
    assert command[1:5] == ["-m", "penstock", "serve", "--config"]
    text = Path(command[5]).read_text()
    assert "max_concurrent_requests: 10000" in text
    assert set(File.__struct_encode_fields__) >= {"listen", "admin", "metrics", "keys", "log", "pools"}


def test_unknown_gateway() -> None:
    """A gateway that nobody knows is a mistake at once."""
    with pytest.raises(KeyError):
        gateways.make("traefik")


def test_bodies() -> None:
    """A plain request has the size that the README says; a stream carries what steers the upstream in a message."""
    assert 440 <= len(PLAIN) <= 500
    assert b" chunks=64 delay=0" in FAST_STREAM
    assert b'"stream": true' in body(stream=True)
