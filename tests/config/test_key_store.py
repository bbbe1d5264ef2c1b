"""The keys file's contents: changes by playbook, and what becomes of them in a configuration."""

import re

import pytest

from penstock.config import key_store
from penstock.config.diff import changes
from penstock.config.key_store import (
    KeyChange,
    KeyStore,
    NoSuchKey,
    StoredHash,
    StoredKey,
    changed,
    created,
    digests_of,
    end_of,
    moment,
    parse,
    revoked,
    rotated,
    seconds,
    without,
    written,
)
from penstock.config.load import load
from penstock.config.schema import KeyTerms
from penstock.core.limits.spec import AllowanceSpec
from tests.config.support import POOL, load_text, mistakes_of

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
NOW_S = 1_800_000_000.0
NOW = "2027-01-15T08:00:00Z"
CONFIG = POOL + "keys_file: keys.json\n"


def key(name: str, digest: str = A, **more: object) -> StoredKey:
    """A key that was made now."""
    return StoredKey(name=name, made=NOW, hashes=(StoredHash(hash=f"sha256:{digest}", made=NOW),), **more)  # type: ignore[arg-type]


def store_of(*keys: StoredKey) -> KeyStore:
    """A store of these keys."""
    return KeyStore(keys=keys)


# ===== times =====


@pytest.mark.parametrize(
    "text, end",
    [
        ("30d", "2027-02-14T08:00:00Z"),
        ("1h30m", "2027-01-15T09:30:00Z"),
        ("2027-03-31", "2027-04-01T00:00:00Z"),
        ("2027-03-31T18:00:00+01:00", "2027-03-31T17:00:00Z"),
        ("2027-03-31 18:00", "2027-03-31T18:00:00Z"),
    ],
)
def test_an_end_is_a_span_a_day_or_a_time(text: str, end: str) -> None:
    """All become moments of UTC; a day is meant with its last hour."""
    assert end_of(text, NOW_S) == end
    assert moment(seconds(end)) == end


@pytest.mark.parametrize("text", ["", "30", "soon", "2026-01-01", "0d", "99999999d", "2027-02-30", "9999-12-31"])
def test_an_end_that_is_none_says_so(text: str) -> None:
    """Numbers without a unit, words, the past, and what no calendar has, are refused."""
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        end_of(text, NOW_S)


# ===== text =====


def test_what_is_written_is_read_again() -> None:
    """A key a line, and nothing is lost."""
    limits = AllowanceSpec(requests_per_minute=5, wait_s=2.0)
    store = store_of(key("a", tenant="t", limits=limits, models=("m",), expires=NOW), key("b", B))
    text = written(store)
    assert parse(text) == store
    assert [line.count('"name"') for line in text.splitlines()] == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "not what `penstock keys` writes"),
        ('{"version": 2}', "version"),
        ('{"keys": [{"name": "a", "made": "today"}]}', "made"),
        ('{"keys": [{"name": "a", "made": "2027-13-01T00:00:00Z"}]}', "month"),
        (f'{{"keys": [{{"name": "a", "made": "{NOW}"}}, {{"name": "a", "made": "{NOW}"}}]}}', "two keys 'a'"),
        (written(store_of(key("a", revoked=NOW))), "revoked and has hashes"),
        (written(store_of(key("a", "sk-plain-key"))), "hash"),
    ],
)
def test_a_file_of_something_else_is_refused(text: str, words: str) -> None:
    """The mistake says where, and never repeats what stands where a hash should."""
    with pytest.raises(ValueError, match=words) as wrong:
        parse(text)
    assert "sk-plain" not in str(wrong.value)


# ===== changes =====


def test_names_are_given_once() -> None:
    """A name that holds, here or in the configuration, is not given again; that of a revoked key is."""
    store = created(KeyStore(), key("a"), {})
    with pytest.raises(KeyChange, match="rotate it for a new secret"):
        created(store, key("a", B), {})
    with pytest.raises(KeyChange, match=r"'b' already, keys\[0\]; choose another name"):
        created(store, key("b", B), {"b": "keys[0]"})
    again = created(revoked(store, "a", NOW_S), key("a", B), {})
    assert digests_of(again) == (B,)
    assert len(again.keys) == 1


def test_a_revoked_key_has_no_secret_left() -> None:
    """Its name and when it ended stay; it is neither rotated nor revoked again, and unknown ones say so."""
    store = revoked(store_of(key("a"), key("b", B)), "a", NOW_S)
    assert digests_of(store) == (B,)
    found = store.find("a")
    assert found is not None
    assert (found.revoked, found.state(NOW_S)) == (NOW, "revoked")
    with pytest.raises(KeyChange, match=f"'a' was revoked on {NOW}"):
        rotated(store, "a", C, NOW_S, 60.0)
    with pytest.raises(KeyChange, match="no key 'x'"):
        revoked(store, "x", NOW_S)


def test_of_revoked_keys_the_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What people may look back at is bounded; keys that hold are never dropped."""
    monkeypatch.setattr(key_store, "MOST_REVOKED", 2)
    store = store_of(*(key(name, digit * 64) for name, digit in zip("abcd", "0123", strict=True)))
    for at, name in enumerate("abc"):
        store = revoked(store, name, NOW_S + at)
    assert [one.name for one in store.keys] == ["b", "c", "d"]


def test_a_key_that_is_revoked_is_remembered_though_the_clock_went_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others were revoked later by the clock; who revokes one now can still be told about it."""
    monkeypatch.setattr(key_store, "MOST_REVOKED", 2)
    store = store_of(*(key(name, digit * 64) for name, digit in zip("abc", "012", strict=True)))
    for at, name in enumerate("abc"):
        store = revoked(store, name, NOW_S - 60 * at)
    assert [one.name for one in store.keys] == ["a", "c"]


def test_a_rotated_key_has_two_secrets_for_a_while() -> None:
    """The old one ends with the overlap, at its own end where that comes first, and goes at the change after that."""
    store = rotated(store_of(key("a")), "a", B, NOW_S, 3600.0)
    (found,) = store.keys
    assert [one.until for one in found.hashes] == ["2027-01-15T09:00:00Z", None]
    assert [found.state(NOW_S + at_s) for at_s in (0, 3599, 3600)] == ["rotating", "rotating", "active"]
    (found,) = rotated(store, "a", C, NOW_S + 60, 7200.0).keys
    assert [one.until for one in found.hashes] == ["2027-01-15T09:00:00Z", "2027-01-15T10:01:00Z", None]
    assert digests_of(rotated(store, "a", C, NOW_S + 3600, 60.0)) == (B, C)
    assert digests_of(rotated(store, "a", C, NOW_S, 0.0)) == (C,)


def test_secrets_of_one_key_are_bounded() -> None:
    """A script that rotates more often than overlaps end is told, with the way out."""
    store = store_of(key("a"))
    for at in range(key_store.MOST_HASHES - 1):
        store = rotated(store, "a", f"{at:064x}", NOW_S + at, 86400.0)
    with pytest.raises(KeyChange, match=r"16 secrets of 'a' hold at once.*a shorter overlap"):
        rotated(store, "a", B, NOW_S + 60, 86400.0)
    assert len(digests_of(rotated(store, "a", B, NOW_S + 60, 0.0))) == 1


def test_settings_change_and_secrets_stay() -> None:
    """What is named is another then, None as usual; the rest, the secrets and other keys stay as they were."""
    store = store_of(key("a", models=("m",), tier="free", expires=NOW), key("b", B))
    after = changed(store, "a", {"models": None, "tenant": "t", "expires": "2028-01-01T00:00:00Z"})
    a, b = after.keys
    assert (a.models, a.tenant, a.tier, a.expires) == (None, "t", "free", "2028-01-01T00:00:00Z")
    assert (a.hashes, a.made, b) == (store.keys[0].hashes, NOW, store.keys[1])
    assert parse(written(after)) == after
    with pytest.raises(NoSuchKey, match="no key 'x'"):
        changed(store, "x", {"tier": "free"})
    with pytest.raises(KeyChange, match="'a' was revoked"):
        changed(revoked(store, "a", NOW_S), "a", {"tier": "free"})


def test_an_expired_key_is_rotated_with_a_new_end_only() -> None:
    """Else its new secret would be refused from the beginning."""
    store = store_of(key("a", expires=NOW))
    assert store.keys[0].state(NOW_S) == "expired"
    with pytest.raises(KeyChange, match=r"expired on .*expires: 30d"):
        rotated(store, "a", B, NOW_S, 60.0)
    (found,) = rotated(store, "a", B, NOW_S, 60.0, "2028-01-01T00:00:00Z").keys
    assert (found.expires, found.state(NOW_S)) == ("2028-01-01T00:00:00Z", "rotating")


# ===== in a configuration =====


def test_stored_keys_count_like_written_ones() -> None:
    """Names, terms and limits; both secrets of a rotated key have its name and limits, the older one its own end."""
    limits = AllowanceSpec(requests_per_minute=5)
    held = key("a", tenant="t", limits=limits, models=("m",), expires="2028-01-01T00:00:00Z", priority_ceiling="low")
    store = rotated(store_of(held), "a", B, NOW_S, 60.0)
    settings = load_text(CONFIG + "tenants: [{name: t, tier: free}]", {}, {"keys.json": written(store)})
    server = settings.server
    assert server.key_names == {A: "a", B: "a"}
    terms = KeyTerms(ceiling="low", tier="free", tenant="t", models=("m",), expires_at=seconds("2028-01-01T00:00:00Z"))
    assert server.key_terms == {A: terms, B: terms} | {
        A: KeyTerms(ceiling="low", tier="free", tenant="t", models=("m",), expires_at=NOW_S + 60)
    }
    assert (server.keys_file, server.stored_keys, server.open) == ("keys.json", (A, B), False)
    assert settings.gate.limits is not None
    assert settings.gate.limits.keys == {"a": limits}


def test_a_gateway_with_a_keys_file_is_never_open() -> None:
    """Without the file, with an empty one, and when its last key was revoked, nobody may call, not everybody."""
    (said,) = load_text(CONFIG).warnings
    assert said == "keys_file: keys.json is not there (yet): `penstock keys create NAME` makes it, with its first key"
    assert load_text(CONFIG).server.stored_keys is None
    empty = load_text(CONFIG + "listen: 0.0.0.0:80\nauth: keys", {}, {"keys.json": written(KeyStore())})
    for settings in (load_text(CONFIG), empty):
        assert (settings.server.open, settings.server.key_names) == (False, {})
    assert "leave out one of the two" in mistakes_of(CONFIG + "auth: none")[0]


@pytest.mark.parametrize(
    "stored, words",
    [
        ("{", ["keys_file (line 2): keys.json cannot be read (this is not what `penstock keys` writes"]),
        (written(store_of(key("a", tenant="tt"))), ["keys[0].tenant ('a' in keys.json): found 'tt'", "mean `t`"]),
        (written(store_of(key("a", tenant="t", tier="free"))), ["keys[0].tier ('a' in keys.json): the tenant 't' has"]),
        (written(store_of(key("a"), key("b"))), ["keys[1].hash ('b' in keys.json): this key is that of 'a' already"]),
    ],
)
def test_mistakes_name_the_key_and_its_file(stored: str, words: list[str]) -> None:
    """What is wrong in the keys file is told like what is wrong in the configuration, once."""
    (said,) = mistakes_of(CONFIG + "tenants: [{name: t}]", {}, {"keys.json": stored})
    for word in words:
        assert word in said


def test_it_stands_beside_the_configuration() -> None:
    """A relative path is seen from the configuration's folder, and an absolute one stays."""
    asked: list[str] = []

    def read_file(path: str) -> str:
        asked.append(path)
        return written(KeyStore())

    for name in ("keys.json", "/srv/keys.json"):
        load(POOL + f"keys_file: {name}", {}, read_file, "/etc/penstock")
    assert asked == ["/etc/penstock/keys.json", "/srv/keys.json"]


def test_revoked_keys_are_taken_out_alone() -> None:
    """Without a key of the keys file that is gone from it, the rest of the settings stands; without such a key, all."""
    store = store_of(key("a"), key("b", B, tier="free"))
    old = load_text(CONFIG + f"keys: [{{name: own, hash: 'sha256:{C}'}}]", {}, {"keys.json": written(store)})
    assert without(old.server, store) is old.server
    server = without(old.server, revoked(store, "b", NOW_S))
    assert (server.key_names, server.key_terms, server.stored_keys) == ({C: "own", A: "a"}, {}, (A,))
    new = load_text(
        CONFIG + f"keys: [{{name: own, hash: 'sha256:{C}'}}]", {}, {"keys.json": written(store_of(key("a")))}
    )
    assert changes(old, new) == ["keys: b removed"]
