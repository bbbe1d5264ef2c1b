"""`penstock keys`: made, rotated, revoked and told, with what is used of limits where a gateway tells it."""

import json
import re
import stat
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from penstock.base.errors import ConfigError
from penstock.cli.main import app
from penstock.config.key_files import read_store
from penstock.config.keys import sha256
from penstock.config.load import load_file
from penstock.config.schema import ServerSpec
from tests.helpers.desk import desk as running

POOL = """\
# by hand, and nobody else's
pools: [{name: p, models: [tiny], replicas: [{url: 'http://a:1'}]}]
tenants: [{name: acme, tier: premium}]
tiers: {}
admin: null
keys:
  - {name: own, key: sk-own}
"""
KEY = re.compile(r"sk-penstock-[\w-]{43}")


class Desk:
    """A folder with a configuration, and the command in it."""

    def __init__(self, folder: Path, text: str = POOL + "keys_file: keys.json\n") -> None:
        self.config = folder / "penstock.yaml"
        self.file = folder / "keys.json"
        self.config.write_text(text)

    def run(self, *arguments: str) -> Result:
        """The command's result."""
        return CliRunner().invoke(app, ["keys", *arguments, "--config", str(self.config)], env={"COLUMNS": "200"})

    def said(self, *arguments: str) -> str:
        """What it says where it does what it shall."""
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.stdout

    def refused(self, *arguments: str) -> str:
        """What it says where it cannot; the keys file has not changed then."""
        before = self.file.read_bytes() if self.file.exists() else None
        result = self.run(*arguments)
        assert (before, result.exit_code) == (self.file.read_bytes() if self.file.exists() else None, 2)
        return result.stderr

    def server(self) -> ServerSpec:
        """What a gateway would hold."""
        return load_file(self.config, {}).server


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A configuration with a keys file that is still to be made."""
    return Desk(tmp_path)


# ===== making and changing =====


def test_settings_change_and_the_key_stays(desk: Desk) -> None:
    """What is named is replaced, what is cleared is as usual, the rest and the secret are what they were."""
    limits = "requests_per_minute: 20, wait: 1s"
    key = desk.said("create", "a", "--model", "tiny", "--tier", "free", "--limits", limits).strip()
    said = desk.said("set", "a", "--tenant", "acme", "--clear", "models", "--clear", "tier", "--expires", "2099-12-31")
    assert "'a' has changed: " in said
    assert 'tenant "acme", expires "2100-01-01T00:00:00Z", models as usual, tier as usual' in said
    terms = desk.server().key_terms[sha256(key)]
    assert (terms.tenant, terms.tier, terms.models, terms.expires_at) == ("acme", "premium", None, 4102444800.0)
    told = json.loads(desk.said("set", "a", "--limits", "concurrency: 2", "--clear", "expires", "--json"))
    assert (told["limits"], told["expires"], told["tenant"]) == ({"concurrency": 2}, None, "acme")
    assert desk.server().key_terms[sha256(key)].expires_at is None


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("a",), ["says nothing to change", "penstock keys set --help"]),
        (("a", "--clear", "tenants"), ["'tenants' is none of tenant, tier", "did you mean `tenant`?"]),
        (("a", "--tier", "free", "--clear", "tier"), ["tier is set and cleared at once"]),
        (("b", "--tier", "free"), ["no key 'b' in "]),
        (("own", "--tier", "free"), ["'own' stands in keys[0] of ", "change it there"]),
        (("a", "--limits", "wait: soon"), []),
        (("a", "--model", "huge"), []),
    ],
)
def test_settings_that_cannot_be_change_nothing(desk: Desk, arguments: tuple[str, ...], words: list[str]) -> None:
    """A change of nothing, unknown words, keys that stand elsewhere, and what the configuration would refuse."""
    desk.said("create", "a")
    before = desk.file.read_bytes()
    result = desk.run("set", *arguments)
    said = re.sub(r"[\s│]+", " ", result.stderr)
    assert result.exit_code == (2 if words else 1)
    assert bool(words) != isinstance(result.exception, ConfigError)
    assert not [word for word in words if word not in said]
    assert desk.file.read_bytes() == before


def test_a_new_key_opens_what_it_was_made_for(desk: Desk) -> None:
    """Standard output is the key and nothing else; the gateway has it on its terms, and no file has the key itself."""
    before = desk.config.read_bytes()
    key = desk.said("create", "search", "--tenant", "acme", "--model", "tiny", "--expires", "2099-12-31").rstrip("\n")
    assert KEY.fullmatch(key)
    server = desk.server()
    assert server.key_names[sha256(key)] == "search"
    terms = server.key_terms[sha256(key)]
    assert (terms.tenant, terms.tier, terms.models, terms.expires_at) == ("acme", "premium", ("tiny",), 4102444800.0)
    assert desk.config.read_bytes() == before
    assert key not in desk.file.read_text()
    assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600
    assert desk.said("create", "other") != key


def test_limits_of_a_key_are_given_as_in_the_file(desk: Desk) -> None:
    """Every field of `limits`, with units; what is wrong with them is told with its place, and nothing is written."""
    desk.said("create", "a", "--limits", "requests_per_minute: 20, over_limit: queue, wait: 1m")
    (key,) = read_store(desk.file).keys
    assert key.limits is not None
    assert (key.limits.requests_per_minute, key.limits.over_limit, key.limits.wait_s) == (20, "queue", 60.0)
    wrong = desk.run("create", "b", "--limits", "{request_per_minute: 20}").exception
    assert isinstance(wrong, ConfigError)
    assert "request_per_minute (--limits, line 1)" in wrong.mistakes[0]
    assert "did you mean `requests_per_minute`?" in wrong.mistakes[0]


def test_a_rotated_key_is_two_for_a_while(desk: Desk) -> None:
    """Old and new open the same account, the old one until the overlap ends; without an overlap it is gone."""
    old = desk.said("create", "a", "--limits", "requests_per_minute: 20").strip()
    result = desk.run("rotate", "a", "--overlap", "1h")
    new = result.stdout.strip()
    assert KEY.fullmatch(new)
    assert "before works until" in result.stderr
    server = desk.server()
    assert [server.key_names[sha256(key)] for key in (old, new)] == ["a", "a"]
    assert server.key_terms[sha256(new)].expires_at is None
    assert server.key_terms[sha256(old)].expires_at is not None
    assert re.search(r"a +a +standard +critical +all +never +rotating: an older one until", desk.said("list"))
    last = desk.said("rotate", "a", "--overlap", "0").strip()
    assert [key in desk.server().key_names for key in map(sha256, (old, new, last))] == [False, False, True]


def test_a_revoked_key_is_gone(desk: Desk) -> None:
    """With all its secrets, though the configuration has mistakes or lacks variables; it stays in the list."""
    key = desk.said("create", "a").strip()
    text = desk.config.read_text()
    desk.config.write_text(text + "nonsense: ${NOWHERE}\n")
    desk.said("revoke", "a")
    desk.config.write_text(text)
    assert sha256(key) not in desk.server().key_names
    assert re.search(r"a +a .* revoked 20", desk.said("list"))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("create", "a"), ["'a' already", "rotate it"]),
        (("create", "own"), ["'own' already, keys[0] of ", "(line 7)"]),
        (("revoke", "own"), ["'own' stands in keys[0] of ", "change it there"]),
        (("rotate", "abcc"), ["no key 'abcc' in ", "keys.json", "did you mean `abc`?"]),
        (("revoke", "something-else"), ["no key 'something-else'", "`penstock keys list` shows all"]),
        (("show", "b"), ["no key 'b'"]),
        (("create", "x", "--tier", "gold"), ["'gold' is none of free, standard"]),
        (("create", "x", "--expires", "30"), ["30d or 12h from now"]),
        (("create", "x", "--expires", "2020-01-01"), ["has passed"]),
        (("rotate", "a", "--overlap", "24"), ["'24' has no unit"]),
        (("create", ""), ["1 to 128 printable characters"]),
    ],
)
def test_mistakes_say_what_where_and_the_way_out(desk: Desk, arguments: tuple[str, ...], words: list[str]) -> None:
    """Whatever cannot be done is told on standard error, and changes nothing."""
    desk.said("create", "a")
    desk.said("create", "abc")
    said = re.sub(r"[\s│]+", " ", desk.refused(*arguments))
    for word in words:
        assert word in said


def test_what_the_configuration_refuses_is_not_written(desk: Desk) -> None:
    """A tenant or a model that there is not: the mistake is told as `penstock check` tells it."""
    result = desk.run("create", "a", "--tenant", "acmee", "--model", "huge")
    assert isinstance(result.exception, ConfigError)
    assert [text.split(":")[0] for text in result.exception.mistakes] == [
        f"keys[1].tenant ('a' in {desk.file})", f"keys[1].models[0] ('a' in {desk.file})",
    ]  # fmt: skip
    assert not desk.file.exists()


def test_mistakes_that_were_there_before_do_not_hinder(desk: Desk) -> None:
    """They are told: a gateway takes nothing new until they are put right."""
    desk.config.write_text(desk.config.read_text() + "nonsense: 5\n")
    result = desk.run("create", "a")
    assert (result.exit_code, KEY.fullmatch(result.stdout.strip()) is not None) == (0, True)
    assert "has 1 mistake(s)" in result.stderr


def test_without_a_keys_file_an_entry_can_be_made(tmp_path: Path) -> None:
    """`create` says what to write, or prints an entry that opens what it says, once it stands in the configuration."""
    desk = Desk(tmp_path, POOL)
    assert "names no `keys_file`" in desk.refused("create", "a")
    made = ("create", "a", "--print-entry", "--model", "tiny", "--expires", "2099-12-31")
    said = desk.said(*made)
    (key,) = re.findall(rf"^{KEY.pattern}$", said, re.MULTILINE)
    (entry,) = yaml.safe_load(said.split("under `keys:`:\n")[1])
    desk.config.write_text(yaml.safe_dump({"keys": [entry], "pools": yaml.safe_load(POOL)["pools"]}))
    assert desk.server().key_names == {sha256(key): "a"}
    assert desk.server().key_terms[sha256(key)].models == ("tiny",)
    assert json.loads(desk.said(*made, "--json"))["entry"]["name"] == "a"


def test_a_file_that_cannot_be_written_says_so(desk: Desk) -> None:
    """Its path and the system's reason; exit status 1."""
    desk.config.write_text(POOL + "keys_file: nowhere/keys.json\n")
    result = desk.run("create", "a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nowhere/keys.json cannot be written (No such file or directory); nothing has changed" in result.stderr


# ===== telling =====


def test_keys_are_listed_without_a_secret(desk: Desk) -> None:
    """Those of the configuration and those of the keys file, and of a hash no more than tells it from others."""
    key = desk.said("create", "chat", "--tenant", "acme", "--model", "tiny").strip()
    said = desk.said("list")
    assert re.search(r"own +own +standard +critical +all +never +active", said)
    assert re.search(rf"chat +acme +premium +critical +tiny +never +active +{sha256(key)[:12]}", said)
    for secret in (key, sha256(key), "sk-own", sha256("sk-own")):
        assert secret not in said
    assert CliRunner().invoke(app, ["keys", "--config", str(desk.config)], env={"COLUMNS": "200"}).stdout == said


def test_who_may_call_without_keys_is_said(tmp_path: Path) -> None:
    """Everybody without keys and keys file; nobody with an empty keys file."""
    head = POOL.split("keys:")[0]
    assert "everybody may call" in Desk(tmp_path, head).said("list")
    assert "nobody may call" in Desk(tmp_path, head + "keys_file: keys.json\n").said("list")


def test_json_of_all_commands(desk: Desk) -> None:
    """One object each, with the same names."""
    made = json.loads(desk.said("create", "a", "--json", "--tier", "free", "--expires", "2099-12-31"))
    assert KEY.fullmatch(made.pop("key"))
    assert made.pop("made")
    assert made == {"name": "a", "keys_file": str(desk.file), "tier": "free", "expires": "2100-01-01T00:00:00Z"}
    turned = json.loads(desk.said("rotate", "a", "--json"))
    assert KEY.fullmatch(turned["key"])
    found = json.loads(desk.said("list", "--json"))
    own, a = found["keys"]
    assert "no admin API" in found["remark"]
    assert (own["name"], own["place"], own["secrets"][0]["until"]) == ("own", "config", None)
    assert (a["name"], a["place"], a["tier"], a["state"]) == ("a", "keys_file", "free", "rotating")
    assert [secret["until"] for secret in a["secrets"]] == [turned["old_until"], None]
    (shown,) = json.loads(desk.said("show", "a", "--json"))["keys"]
    assert shown == a
    assert json.loads(desk.said("revoke", "a", "--json"))["name"] == "a"
    assert json.loads(desk.said("list", "--json"))["keys"][1]["state"] == "revoked"


def test_limits_are_shown_without_a_gateway(desk: Desk) -> None:
    """What is used is not known then, and that is said; the limits stand in the configuration."""
    desk.said("create", "a", "--limits", "requests_per_minute: 20, concurrency: 2")
    result = desk.run("show", "a")
    assert "what is used of the limits is not known" in result.stderr
    assert re.search(r"this key +all models +requests per minute +20 *\n", result.stdout)
    assert re.search(r"this key +all models +calls at once +2 *\n", result.stdout)
    assert re.search(r"its tenant +all models +tokens per day +100,000 *\n", result.stdout)


def test_a_gateway_tells_what_is_used(desk: Desk) -> None:
    """Of key and tenant; what it does not mention is unused; the list shows the limit of which the least is left."""
    desk.said("create", "a", "--limits", "requests_per_minute: 20, concurrency: 2")
    gauge = {"what": "requests per minute", "limit": 20.0, "used": 18.0, "held": 1.0, "left": 2.0, "free_s": 3.0}
    account = {"kind": "key", "name": "a", "model": "", "in_flight": 1, "waiting": 0, "concurrency": 2}
    with running() as gateway:
        gateway.pages["/admin/tenants"] = [
            {**account, "limits": [gauge]},
            {**account, "name": "b", "limits": [{**gauge, "left": 0.0}]},
        ]
        address = gateway.url.removeprefix("http://")
        desk.config.write_text(desk.config.read_text().replace("admin: null", f"admin: {address}"))
        listed, shown = desk.run("list"), desk.run("show", "a", "--admin", gateway.url)
    assert listed.stderr == shown.stderr == ""
    assert re.search(r"a +a .*active +18 of 20 requests per minute", listed.stdout)
    assert re.search(r"this key +all models +requests per minute +20 +18 +2 *\n", shown.stdout)
    assert re.search(r"this key +all models +calls at once +2 +1 +1 *\n", shown.stdout)
    assert re.search(r"its tenant +all models +requests per minute +60 +0 +60 *\n", shown.stdout)
    assert "no gateway answers at" in desk.run("list").stderr
