"""The keys file: API keys that `penstock keys` makes, changes and takes back, as hashes with their settings.

A machine writes it, so that nobody's comments are lost. What stands in it counts like entries of the configuration's
own `keys`, whose rules it is held against. Pure over its arguments: files are read by a function that the caller gives.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from penstock.base.nouns import Priority, Tier
from penstock.base.units import parse_seconds
from penstock.config.keys import ReadFile, why
from penstock.config.mistakes import Mistakes, Place
from penstock.config.schema import File, KeyConf, ServerSpec
from penstock.config.strict import Strict
from penstock.core.limits.spec import AllowanceSpec

MOST_HASHES = 16
"""Keys of one name that hold at the same time."""
MOST_REVOKED = 1000
"""Revoked keys that are remembered for people, the last ones."""
_AFTER_FILE = 1 << 30
"""Order of mistakes: those of the keys file come after those of the configuration's lines."""
_FORM = "%Y-%m-%dT%H:%M:%SZ"
_DAY_S = 86_400

Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
"""A time, UTC, to the second. Of two the earlier one is the smaller text."""


class KeyChange(Exception):
    """What was asked for cannot be done with this key; the text says why, and what can."""


class NoSuchKey(KeyChange):
    """Nor with any other of that name: there is none."""


class StoredHash(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """One secret of a key."""

    hash: Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
    made: Moment
    until: Moment | None = None
    """When it ceases to hold, as another took its place; None: it is the key's newest."""


class StoredKey(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """One key; its fields mean what those of `keys` mean."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    made: Moment
    hashes: Annotated[tuple[StoredHash, ...], Meta(max_length=MOST_HASHES)] = ()
    """The newest last."""
    tenant: str | None = None
    tier: Tier | None = None
    priority_ceiling: Priority | None = None
    limits: AllowanceSpec | None = None
    models: tuple[str, ...] | None = None
    expires: Moment | None = None
    revoked: Moment | None = None
    """Then it has no hashes any more."""

    def state(self, now_s: float) -> str:
        """active, rotating (an older secret still holds), expired, revoked."""
        now = moment(now_s)
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        holding = [one for one in self.hashes if one.until is None or one.until > now]
        return "rotating" if len(holding) > 1 else "active"


class KeyStore(Strict, frozen=True, kw_only=True):
    """What the file holds."""

    version: Literal[1] = 1
    keys: tuple[StoredKey, ...] = ()

    def find(self, name: str) -> StoredKey | None:
        """The key of this name, revoked ones included."""
        return next((key for key in self.keys if key.name == name), None)


def moment(at_s: float) -> str:
    """Seconds since 1970 as the file has them."""
    return datetime.fromtimestamp(at_s, UTC).strftime(_FORM)


def seconds(at: str) -> float:
    """A moment in seconds since 1970. Raises ValueError where there is no such day."""
    return datetime.fromisoformat(at).timestamp()


def end_of(text: str, now_s: float) -> str:
    """When a key shall end: 30d or 12h from now, a day (its end, UTC), or a time. Raises ValueError, with the forms."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at_s = now_s + _span_s(text)
    else:
        at_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        at_s += 0 if "T" in text or " " in text else _DAY_S
    if at_s <= now_s:
        raise ValueError(f"{text!r} has passed")
    try:
        return moment(at_s)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is further away than calendars go") from None


def _span_s(text: str) -> float:
    try:
        if not text.strip()[-1:].isalpha():
            raise ValueError(text)
        return parse_seconds(text)
    except ValueError:
        forms = "30d or 12h from now, a day like 2027-03-31, or a time like 2027-03-31T18:00:00Z"
        raise ValueError(f"{text!r} is none of these: {forms}") from None


# ===== the file's text =====


def parse(text: str) -> KeyStore:
    """What a keys file says. Raises ValueError; the text of the error holds nothing that a key could be seen by."""
    try:
        store = msgspec.json.decode(text, type=KeyStore)
    except msgspec.DecodeError as error:
        raise ValueError(f"this is not what `penstock keys` writes: {error}") from None
    names: set[str] = set()
    for key in store.keys:
        if key.name in names:
            raise ValueError(f"there are two keys {key.name!r}")
        names.add(key.name)
        if key.revoked is not None and key.hashes:
            raise ValueError(f"the key {key.name!r} is revoked and has hashes")
        for at in (key.made, key.expires, key.revoked, *(one.until for one in key.hashes)):
            if at is not None:
                seconds(at)
    return store


def written(store: KeyStore) -> str:
    """The file's text: a key a line, so that a person finds one and a difference shows one."""
    lines = ",\n".join(msgspec.json.encode(key).decode() for key in store.keys)
    return f'{{"version": {store.version}, "keys": [\n{lines}\n]}}\n'


# ===== changes =====


def created(store: KeyStore, key: StoredKey, taken: Mapping[str, str]) -> KeyStore:
    """With a new key. `taken`: names that stand elsewhere -> where. Raises KeyChange."""
    there = store.find(key.name)
    if key.name in taken:
        raise KeyChange(f"there is a key {key.name!r} already, {taken[key.name]}; choose another name")
    if there is not None and there.revoked is None:
        raise KeyChange(
            f"there is a key {key.name!r} already: rotate it for a new secret, change its settings, or revoke it first"
        )
    return replace(store, keys=(*(one for one in store.keys if one is not there), key))


def revoked(store: KeyStore, name: str, now_s: float) -> KeyStore:
    """Without the secrets of a key; that it was there stays written. Raises KeyChange."""
    key = _there(store, name)
    gone = replace(key, hashes=(), revoked=moment(now_s))
    keys = [gone if one is key else one for one in store.keys]
    # this one is the last, whatever the clock says: it may have gone back
    past = sorted((one for one in keys if one.revoked), key=lambda one: (one is gone, one.revoked))[:-MOST_REVOKED]
    return replace(store, keys=tuple(one for one in keys if one not in past))


def rotated(
    store: KeyStore, name: str, digest: str, now_s: float, overlap_s: float, expires: str | None = None
) -> KeyStore:
    """With a new secret for a key; those before it hold for the overlap at most. Raises KeyChange."""
    key, now = _there(store, name), moment(now_s)
    if expires is None and key.expires is not None and key.expires <= now:
        raise KeyChange(f"the key {name!r} expired on {key.expires}; say until when it shall hold now (expires: 30d)")
    end = moment(now_s + overlap_s)
    older = [replace(one, until=min(one.until or end, end)) for one in key.hashes]
    older = [one for one in older if (one.until or end) > now]
    if len(older) >= MOST_HASHES:
        first = min(one.until or end for one in older)
        raise KeyChange(
            f"{MOST_HASHES} secrets of {name!r} hold at once, and more may not: the next ends on {first}; "
            "a shorter overlap ends them sooner"
        )
    fresh = StoredHash(hash=f"sha256:{digest}", made=now)
    new = replace(key, hashes=(*older, fresh), expires=expires or key.expires)
    return replace(store, keys=tuple(new if one is key else one for one in store.keys))


def changed(store: KeyStore, name: str, terms: Mapping[str, Any]) -> KeyStore:
    """With other settings of a key, field -> value; those that are not named stay. Raises KeyChange."""
    key = _there(store, name)
    new = replace(key, **terms)
    return replace(store, keys=tuple(new if one is key else one for one in store.keys))


def _there(store: KeyStore, name: str) -> StoredKey:
    key = store.find(name)
    if key is None:
        raise NoSuchKey(f"there is no key {name!r}")
    if key.revoked is not None:
        raise KeyChange(f"the key {name!r} was revoked on {key.revoked}; a new one may be created under that name")
    return key


# ===== into the configuration =====


def joined(file: File, store: KeyStore, place: str, mistakes: Mistakes) -> File:
    """The configuration with these keys behind its own; `place` is the keys file, for mistakes."""
    entries: list[KeyConf] = []
    for key in store.keys:
        for one in key.hashes:
            path = ("keys", len(file.keys) + len(entries))
            mistakes.places[path] = Place(_AFTER_FILE + len(entries), f"{key.name!r} in {place}")
            if key.tier is not None:
                mistakes.places[*path, "tier"] = mistakes.places[path]
            ends = [at for at in (key.expires, one.until) if at is not None]
            entries.append(KeyConf(
                name=key.name, hash=one.hash, tenant=key.tenant, tier=key.tier or "standard", limits=key.limits,
                priority_ceiling=key.priority_ceiling or "critical", models=key.models,
                expires=min(ends, default=None),
            ))  # fmt: skip
    return replace(file, keys=(*file.keys, *entries))


def with_stored(
    file: File, folder: str, mistakes: Mistakes, read_file: ReadFile
) -> tuple[File, str | None, tuple[str, ...] | None, list[str]]:
    """The configuration with the keys of its keys file; where that is; their digests, None where it is not there; and
    warnings."""
    if file.keys_file is None:
        return file, None, None, []
    path = str(FilePath(folder) / file.keys_file)
    try:
        store = parse(read_file(path))
    except FileNotFoundError:
        said = f"keys_file: {path} is not there (yet): `penstock keys create NAME` makes it, with its first key"
        return file, path, None, [said]
    except (OSError, ValueError) as error:
        mistakes.say(("keys_file",), f"{path} cannot be read ({why(error)})")
        mistakes.broken(("keys",))
        return file, path, None, []
    return joined(file, store, path, mistakes), path, digests_of(store), []


def digests_of(store: KeyStore) -> tuple[str, ...]:
    """SHA-256, hex, of every secret in it."""
    return tuple(one.hash.removeprefix("sha256:") for key in store.keys for one in key.hashes)


def without(server: ServerSpec, store: KeyStore) -> ServerSpec:
    """The server's spec without keys that came from the keys file and that it does not hold any more."""
    holding = set(digests_of(store))
    gone = {digest for digest in server.stored_keys or () if digest not in holding}
    if not gone:
        return server

    def kept(found: Mapping[str, Any]) -> dict[str, Any]:
        return {digest: value for digest, value in found.items() if digest not in gone}

    return replace(
        server, key_names=kept(server.key_names), key_terms=kept(server.key_terms),
        stored_keys=tuple(digest for digest in server.stored_keys or () if digest not in gone),
    )  # fmt: skip
