"""Keys: hashed, told of when plain, never kept."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import hashlib
from datetime import datetime

import pytest

from penstock.config.diff import changes
from penstock.config.schema import KeyTerms
from tests.config.support import POOL, load_text, mistakes_of

HASH = hashlib.sha256(b"sk-demo").hexdigest()


def test_a_plain_key_is_hashed_with_a_warning() -> None:
    """The settings know the SHA-256 only, and the warning shows what to write instead."""
    settings = load_text(POOL + "keys: [{name: demo, key: sk-demo}]")
    assert settings.server.key_names == {HASH: "demo"}
    assert not settings.server.open
    assert settings.warnings == (
        f"keys[0] (demo): the key stands in the file in plain text; write `hash: 'sha256:{HASH}'` instead of `key`",
    )
    assert "sk-demo" not in repr(settings)


@pytest.mark.parametrize(
    "entry",
    [f"hash: 'sha256:{HASH}'", f"hash: 'sha256:{HASH.upper()}'", "key: '${KEY}'", "key: 'file:/run/key'"],
)
def test_a_key_from_elsewhere_needs_no_warning(entry: str) -> None:
    """A hash, a variable and a file are all good places."""
    settings = load_text(POOL + f"keys: [{{name: demo, {entry}}}]", {"KEY": "sk-demo"}, {"/run/key": "sk-demo\n"})
    assert (settings.server.key_names, settings.warnings) == ({HASH: "demo"}, ())


def test_a_key_has_terms_where_they_are_given() -> None:
    """Ceiling and tier are kept by the key's hash; usual ones are left out; words that mean nothing are mistakes."""
    terms = load_text(POOL + f"keys: [{{name: a, hash: 'sha256:{HASH}', priority_ceiling: high, tier: free}}]").server
    assert terms.key_terms == {HASH: KeyTerms(ceiling="high", tier="free")}
    assert load_text(POOL + f"keys: [{{name: a, hash: 'sha256:{HASH}'}}]").server.key_terms == {}
    assert len(mistakes_of(POOL + f"keys: [{{name: a, hash: 'sha256:{HASH}', tier: gold}}]")) == 1


def test_changed_terms_are_told_without_the_key() -> None:
    """A reload says whose terms changed and how, never a hash."""
    old = load_text(POOL + f"keys: [{{name: a, hash: 'sha256:{HASH}'}}]")
    new = load_text(POOL + f"keys: [{{name: a, hash: 'sha256:{HASH}', priority_ceiling: low}}]")
    assert changes(old, new) == ["keys: a: ceiling: critical -> low"]


def test_an_overriding_variable_needs_no_warning() -> None:
    """A key that an override sets does not stand in the file."""
    environment = {"PENSTOCK__KEYS__0__NAME": "demo", "PENSTOCK__KEYS__0__KEY": "sk-demo"}
    settings = load_text(POOL, environment)
    assert (settings.server.key_names, settings.warnings) == ({HASH: "demo"}, ())


def test_two_keys_may_share_a_name() -> None:
    """While a key is changed both the old and the new one hold."""
    assert set(load_text(POOL + "keys: [{name: a, key: k1}, {name: a, key: k2}]").server.key_names.values()) == {"a"}


@pytest.mark.parametrize(
    "entry, mistake",
    [
        ("name: a", "keys[0] (line 2): found neither `key` nor `hash`, expected one of them"),
        (f"name: a, key: k, hash: 'sha256:{HASH}'", "keys[0] (line 2): found both `key` and `hash`, expected one of them"),
        ("name: a, hash: abc", "keys[0].hash (line 2): found a text (not shown), expected 'sha256:' and the 64 hex digits of the key's SHA-256"),
        (f"name: a, key: 'sha256:{HASH}'", "keys[0].key (line 2): found a hash, expected the key itself; did you mean `hash`?"),
        ("name: a, key: 'k k'", "keys[0].key (line 2): found a key that no client could send, expected printable ASCII without spaces"),
        ("name: a, key: ''", "keys[0].key (line 2): found a key that no client could send, expected printable ASCII without spaces"),
        ("name: a, key: 'file:/nope'", "keys[0].key (line 2): the file '/nope' cannot be read (No such file or directory)"),
        ("name: a, key: k}, {name: b, key: k", "keys[1].key (line 2): this key is that of 'a' already"),
    ],
)  # fmt: skip
def test_wrong_keys_are_told(entry: str, mistake: str) -> None:
    """No mistake shows a key."""
    assert mistakes_of(POOL + f"keys: [{{{entry}}}]") == [mistake]


def test_the_admin_key_is_hashed() -> None:
    """Plain with a warning, hashed without."""
    plain = load_text(POOL + "admin_key: sk-demo")
    assert plain.server.admin_key_hash == HASH
    assert plain.warnings == (f"admin_key stands in the file in plain text; write 'sha256:{HASH}' there instead",)
    hashed = load_text(POOL + f"admin_key: 'sha256:{HASH}'")
    assert (hashed.server.admin_key_hash, hashed.warnings) == (HASH, ())


def test_a_wrong_hash_of_the_admin_key_is_told() -> None:
    """'sha256:' with something else behind it is no key by accident."""
    assert mistakes_of(POOL + "admin_key: sha256:abc") == [
        "admin_key (line 2): found a text (not shown), expected 'sha256:' and the 64 hex digits of the key's SHA-256"
    ]


def test_models_of_a_key_and_names_that_lead_to_them() -> None:
    """A key that may use a model may ask for it by its aliases too, through any chain of them, and for nothing else; one
    without a list may use all."""
    text = POOL + f"aliases: {{small: tiny, nano: small}}\nkeys: [{{name: a, hash: 'sha256:{HASH}', models: [%s]}}]"
    assert load_text(text % "tiny").server.key_terms[HASH].models == ("nano", "small", "tiny")
    assert load_text(text % "small").server.key_terms[HASH].models == ("small",)
    assert load_text(text % "").server.key_terms[HASH].models == ()
    (mistake,) = mistakes_of(text.replace("pools: [{", "pools: [{models: [tiny], ") % "tinny")
    assert "keys[0].models[0]" in mistake
    assert "did you mean `tiny`?" in mistake


@pytest.mark.parametrize(
    "expires, at",
    [
        ("2027-03-31", "2027-04-01T00:00:00+00:00"), ("2027-03-31T18:00:00+01:00", "2027-03-31T17:00:00+00:00"),
        ("2027-03-31 18:00", "2027-03-31T18:00:00+00:00"),
    ],
)  # fmt: skip
def test_when_a_key_expires(expires: str, at: str) -> None:
    """A day is meant with its last hour; a time without a zone is UTC."""
    server = load_text(POOL + f"keys: [{{name: a, hash: 'sha256:{HASH}', expires: '{expires}'}}]").server
    assert server.key_terms[HASH].expires_at == datetime.fromisoformat(at).timestamp()


def test_a_date_that_is_none_is_told_and_one_that_has_passed_is_warned_of() -> None:
    """`expires` that cannot be read is a mistake with its forms; an expired key is no mistake, but is said."""
    entry = f"keys: [{{name: a, hash: 'sha256:{HASH}', expires: '%s'}}]"
    (mistake,) = mistakes_of(POOL + entry % "soon")
    assert "keys[0].expires" in mistake
    assert "a day like 2027-03-31" in mistake
    assert load_text(POOL + entry % "2020-01-01").warnings == ("keys[0] (a): it expired, 2020-01-01",)


def test_a_rule_that_leads_past_a_keys_models_is_warned_of() -> None:
    """A rule by host or path names the model for all keys: that is said where a key has not got that model."""
    text = (
        POOL + f"routes: [{{host: h, pool: p, model: tiny}}]\nkeys: [{{name: a, hash: 'sha256:{HASH}', models: [%s]}}]"
    )
    assert load_text(text % "tiny").warnings == ()
    assert "routes[0]: its calls get tiny with every key" in load_text(text % "other").warnings[0]
