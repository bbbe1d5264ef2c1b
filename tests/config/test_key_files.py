"""The keys file on disk: found whatever else is wrong, replaced as a whole, changed by one at a time."""

import fcntl
import os
import stat
from multiprocessing import get_context
from pathlib import Path

import pytest

from penstock.base.errors import ConfigError
from penstock.config import key_files
from penstock.config.key_files import change, change_checked, mistakes_in, read_store, where
from penstock.config.key_store import KeyStore, StoredHash, StoredKey, changed, created, revoked, rotated, written

NOW = "2027-01-15T08:00:00Z"


def key(name: str, digest: str = "a" * 64, **more: object) -> StoredKey:
    """A key."""
    return StoredKey(name=name, made=NOW, hashes=(StoredHash(hash=f"sha256:{digest}", made=NOW),), **more)  # type: ignore[arg-type]


def add(path: Path, name: str, digest: str = "a" * 64) -> None:
    """Change the file: one key more."""
    change(path, lambda store: created(store, key(name, digest), {}))


def test_it_is_found_though_the_rest_is_wrong(tmp_path: Path) -> None:
    """Nothing else of the configuration is looked at: not its mistakes, not variables that only the gateway has."""
    config = tmp_path / "penstock.yaml"
    config.write_text("nonsense: ${NOWHERE}\nkeys_file: ${DIR:-store}/keys.json\nkeys:\n- {name: own, key: $NOWHERE}\n")
    found = where(config, {})
    assert found.file == tmp_path / "store" / "keys.json"
    assert found.written == {"own": f"keys[0] of {config} (line 4)"}
    assert where(config, {"PENSTOCK__KEYS_FILE": "/srv/k.json"}).file == Path("/srv/k.json")
    config.write_text("pools: []\nkeys: 5\n")
    assert where(config, {}).file is None


@pytest.mark.parametrize("text", ["a: [", "keys_file: ${NOWHERE}", None])
def test_where_it_is_cannot_be_told(tmp_path: Path, text: str | None) -> None:
    """No YAML, a variable of its own name that is missing, and no file at all are mistakes."""
    config = tmp_path / "penstock.yaml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(ConfigError):
        where(config, {})


def test_a_change_replaces_the_file(tmp_path: Path) -> None:
    """It is made for its owner alone; later the mode that it was given stays; nothing else is left in the folder."""
    path = tmp_path / "keys.json"
    assert read_store(path) == KeyStore()
    add(path, "a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    before = path.stat().st_ino
    add(path, "b", "b" * 64)
    assert [one.name for one in read_store(path).keys] == ["a", "b"]
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_ino != before) == (0o640, True)
    assert list(tmp_path.iterdir()) == [path]


def test_what_one_that_was_killed_left_hinders_nobody(tmp_path: Path) -> None:
    """Half a file by a process of the same number, as all have in containers, is put aside; a link that somebody put
    there is not followed."""
    path, other = tmp_path / "keys.json", tmp_path / f".keys.json.{os.getpid()}.new"
    other.write_text("half")
    add(path, "a")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    other.symlink_to(elsewhere)
    add(path, "b", "b" * 64)
    assert [one.name for one in read_store(path).keys] == ["a", "b"]
    assert elsewhere.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [elsewhere, path]


def test_the_next_change_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the file is replaced, whose turn is next locks the new one and begins to write under the same name: who was
    there before takes nothing away from it."""
    file, replaced = tmp_path / "keys.json", Path.replace

    def replace(self: Path, target: Path) -> Path:
        done = replaced(self, target)
        self.write_text("the next one's")
        return done

    monkeypatch.setattr(Path, "replace", replace)
    add(file, "a")
    assert [other.read_text() for other in tmp_path.glob(".keys.json.*.new")] == ["the next one's"]


def test_a_change_is_held_against_the_configuration(tmp_path: Path) -> None:
    """What would be a mistake by it is not written. One that was there before does not hinder, though by the change its
    entry is another one; it is counted."""
    config, path = tmp_path / "penstock.yaml", tmp_path / "keys.json"
    config.write_text("pools: [{name: p, models: [m], replicas: [{url: 'http://a:1'}]}]\nkeys_file: keys.json\n")
    add(path, "a")
    place = where(config, {})
    with pytest.raises(ConfigError, match="no pool serves a model 'x'"):
        change_checked(place, path, {}, lambda store: changed(store, "a", {"models": ("x",)}))
    assert read_store(path).keys[0].models is None
    assert change_checked(place, path, {}, lambda store: changed(store, "a", {"models": ("m",)}))[1] == 0
    change(path, lambda store: created(store, key("b", "b" * 64, models=("x",)), {}))
    after, before = change_checked(place, path, {}, lambda store: rotated(store, "a", "c" * 64, 1.9e9, 60.0))
    assert (len(after.keys[0].hashes), before) == (2, 1)
    assert read_store(path) == after


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file that it leads to is changed."""
    real, link = tmp_path / "real.json", tmp_path / "keys.json"
    link.symlink_to(real)
    add(link, "a")
    assert link.is_symlink()
    assert [one.name for one in read_store(real).keys] == ["a"]


def test_what_cannot_be_done_changes_nothing(tmp_path: Path) -> None:
    """A change that is refused, and one that cannot be written, leave the file as it was."""
    path = tmp_path / "keys.json"
    add(path, "a")
    before = path.read_bytes(), path.stat().st_ino

    def refuse(store: KeyStore) -> KeyStore:
        raise LookupError

    with pytest.raises(LookupError):
        change(path, refuse)
    change(path, lambda store: store)
    assert (path.read_bytes(), path.stat().st_ino) == before
    with pytest.raises(FileNotFoundError):
        add(tmp_path / "nowhere" / "keys.json", "a")
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        add(path, "b")
    assert path.read_text() == "{"


def test_it_grows_no_larger_than_gateways_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the key that is one too many would cost all the others."""
    path = tmp_path / "keys.json"
    add(path, "a")
    monkeypatch.setattr(key_files, "MOST_READ", len(path.read_text()) + 100)
    with pytest.raises(ConfigError, match="more than"):
        add(path, "b", "b" * 64)
    assert [one.name for one in read_store(path).keys] == ["a"]


def test_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody else changes it, a change waits, and gives up in the end; that of the first key as well."""
    monkeypatch.setattr(key_files, "TRIES", 2)
    monkeypatch.setattr(key_files, "TRY_S", 0.001)
    path = tmp_path / "keys.json"
    for locked in (tmp_path, path):
        handle = os.open(locked, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="somebody else is changing"):
            add(path, locked.name)
        os.close(handle)
        add(path, locked.name)


def test_who_may_not_read_the_file_hinders_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody who sees a folder can lock it: a key must be revocable all the same. The file is opened, and so locked,
    by those only who may read it."""
    monkeypatch.setattr(key_files, "TRIES", 1)
    monkeypatch.setattr(key_files, "TRY_S", 0.001)
    path = tmp_path / "keys.json"
    add(path, "a")
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    change(path, lambda store: revoked(store, "a", 1.9e9))
    os.close(handle)
    assert read_store(path).keys[0].revoked is not None


def test_a_file_that_is_replaced_while_it_is_waited_for_is_locked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """The lock of a file that is gone is nobody's: the change is made to the one that is there."""
    path, seen = tmp_path / "keys.json", 0
    add(path, "a")
    real = fcntl.flock

    def slow(handle: int, how: int) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:  # another change comes first
            add(path, "b", "b" * 64)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    add(path, "c", "c" * 64)
    assert [one.name for one in read_store(path).keys] == ["a", "b", "c"]


def _adds(path: Path, names: list[str]) -> None:
    for name in names:
        add(path, name, name.encode().hex().rjust(64, "0"))


@pytest.mark.slow
def test_no_change_is_lost(tmp_path: Path) -> None:
    """Several processes that make keys at the same time: every key is there afterwards."""
    path = tmp_path / "keys.json"
    context = get_context("spawn")
    names = [[f"{who}{number}" for number in range(8)] for who in "abc"]
    processes = [context.Process(target=_adds, args=(path, part)) for part in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(one.name for one in read_store(path).keys) == sorted(name for part in names for name in part)


def test_mistakes_are_known_before_they_are_made(tmp_path: Path) -> None:
    """A configuration is held against keys that are not written yet."""
    config = tmp_path / "penstock.yaml"
    config.write_text("pools: [{name: p, replicas: [{url: 'http://h:1'}]}]\nkeys_file: keys.json\n")
    path = tmp_path / "keys.json"
    assert mistakes_in(config, {}, path, KeyStore(keys=(key("a"),))) == []
    (said,) = mistakes_in(config, {}, path, KeyStore(keys=(key("a", tenant="t"),)))
    assert said.startswith(f"keys[0].tenant ('a' in {path}): found 't'")
    path.write_text(written(KeyStore(keys=(key("a", tenant="t"),))))
    assert mistakes_in(config, {}, path, KeyStore()) == []
