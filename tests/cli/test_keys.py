"""`penstock keys`: new keys and their entries, and the list of those that a configuration knows."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from penstock.cli.keys import table_of
from penstock.cli.main import app
from penstock.cli.plain import plain_console
from penstock.config.keys import sha256
from penstock.config.load import load, read_text
from penstock.config.schema import KeyTerms, ServerSpec

POOL = "pools: [{name: p, models: [tiny], replicas: [{url: 'http://a:1'}]}]\n"


def ran(*arguments: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(app, ["keys", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_new_key_opens_what_its_entry_says() -> None:
    """The entry, put into a file, admits the key that was printed, on its terms; the key itself is not in it."""
    said = ran("--new", "search", "--model", "tiny", "--expires", "2099-12-31")
    (key,) = re.findall(r"^sk-\S{43}$", said, re.MULTILINE)
    entry = said.split("under `keys:`:\n")[1]
    assert key not in entry
    server = load(POOL + yaml.safe_dump({"keys": yaml.safe_load(entry)}), {}, read_text).server
    assert server.key_names == {sha256(key): "search"}
    assert server.key_terms[sha256(key)].models == ("tiny",)
    assert ran("--new", "search") != said


def test_keys_are_listed_without_a_secret(tmp_path: Path) -> None:
    """Names, tenants and what they may use, and of the hash no more than tells it from others."""
    file = tmp_path / "penstock.yaml"
    file.write_text(POOL + "keys: [{name: chat, key: sk-very-secret, models: [tiny]}, {name: old, key: sk-o}]")
    said = ran(str(file))
    assert re.search(r"chat +chat +standard +critical +tiny +never", said)
    assert re.search(r"old +old +standard +critical +all +never", said)
    assert "sk-very-secret" not in said
    assert sha256("sk-very-secret") not in said
    assert sha256("sk-very-secret")[:12] in said
    file.write_text(POOL)
    assert "everybody may call" in ran(str(file))


def test_who_has_expired_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """The time until which a key holds, and whether it has passed."""
    server = ServerSpec(key_names={"ab" * 32: "one"}, key_terms={"ab" * 32: KeyTerms(expires_at=86400.0, models=())})
    plain_console().print(table_of(server, 86399.0))
    assert re.search(r"none +1970-01-02 00:00 UTC +abab", capsys.readouterr().out)
    plain_console().print(table_of(server, 86400.0))
    assert "1970-01-02 00:00 UTC (has expired)" in capsys.readouterr().out


def test_terms_without_a_new_key_are_a_mistake() -> None:
    """--model alone would change nothing, and says so."""
    assert CliRunner().invoke(app, ["keys", "--model", "tiny"]).exit_code == 2
