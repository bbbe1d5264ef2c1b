"""A replica that is added at run time."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

from pathlib import Path
from typing import Any

import pytest

from penstock.base.errors import ConfigError
from penstock.config.assemble import parse_replica


def test_a_replica_is_made_like_one_of_the_file() -> None:
    """Units, defaults and the id are the same."""
    raw = {"pool": "p", "url": "http://h:1/", "models": ["m"], "api_key": "k", "headers": {"A": "b"}}
    replica, access = parse_replica(raw)
    assert (replica.id, replica.url, replica.pool, replica.models) == ("h:1", "http://h:1", "p", {"m": "m"})
    assert (access.api_key, access.headers) == ("k", (("A", "b"),))


@pytest.mark.parametrize(
    "raw, mistakes",
    [
        ([], ["the replica: found a list, expected a mapping with `pool` and `url`"]),
        ({}, ["url: missing, expected http(s)://host:port, a base path allowed", "pool: missing, expected the name of the pool that it joins"]),
        ({"pool": "p", "url": "h:1", "wieght": 3}, ["wieght: there is no such field here; did you mean `weight`?", "url: found 'h:1', expected http(s)://host:port, a base path allowed; did you mean http://h:1?"]),
        ({"pool": "p", "url": "http://h", "api_key": "file:/etc/shadow"}, ["api_key: the file '/etc/shadow' cannot be read (no files are read for the admin API)"]),
    ],
)  # fmt: skip
def test_wrong_replicas_are_told(raw: Any, mistakes: list[str]) -> None:
    """All at once, with paths from the replica on."""
    with pytest.raises(ConfigError) as caught:
        parse_replica(raw)
    assert caught.value.mistakes == mistakes


def test_variables_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may add a replica cannot have the environment sent to him."""
    monkeypatch.setenv("SECRET", "s")
    assert parse_replica({"pool": "p", "url": "http://h", "api_key": "${SECRET}"})[1].api_key == "${SECRET}"


def test_a_ca_file_is_looked_at(tmp_path: Path) -> None:
    """A CA is public, so it may be named; it must be there."""
    ca = tmp_path / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    raw = {"pool": "p", "url": "https://h", "tls": {"ca": str(ca)}}
    assert parse_replica(raw)[1].tls.ca == str(ca)
    ca.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_replica(raw)
