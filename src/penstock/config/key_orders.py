"""What may be asked for of a key, by the command and by the admin API: the same settings, checks and words.

Secrets are made here, and go to who asked; what is kept of them is a hash.
"""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import field

from penstock.base.errors import ConfigError
from penstock.base.nouns import Priority, Tier
from penstock.base.units import Seconds
from penstock.config.key_store import StoredHash, StoredKey, end_of, moment
from penstock.config.keys import sha256
from penstock.config.mistakes import Mistakes, clip
from penstock.config.shape import Shape
from penstock.config.strict import Strict
from penstock.core.limits.spec import AllowanceSpec

PREFIX = "sk-penstock-"
"""By which scanners for secrets, and people, know a key of ours."""
KEY_BYTES = 32
MOST_NAME = 128


class KeySettings(Strict, frozen=True, kw_only=True):
    """What a key has beside its name and its secrets, as people write it; the fields mean what those of `keys` mean."""

    tenant: str | None = None
    tier: Tier | None = None
    priority_ceiling: Priority | None = None
    limits: AllowanceSpec | None = None
    models: tuple[str, ...] | None = None
    expires: str | None = None


class Rotation(Strict, frozen=True, kw_only=True):
    """How a key gets a new secret."""

    overlap_s: Seconds = field(default=86_400.0, name="overlap")
    """How long what it had goes on working."""
    expires: str | None = None
    """Until when the key holds from now on; None: as before."""


SETTINGS: tuple[str, ...] = KeySettings.__struct_fields__


def new_secret() -> str:
    """A key that nobody has: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def terms_of(tree: Mapping[str, Any], now_s: float, what: str = "the key") -> dict[str, Any]:
    """Settings from plain data, as the keys file has them: those that are named, None for null. Raises ConfigError with
    all mistakes."""
    given = _read(KeySettings, tree, now_s, what)
    return {name: getattr(given, name) for name in tree}


def rotation_of(tree: Any, now_s: float) -> Rotation:
    """How a key shall be rotated, from plain data; `expires` as the keys file has it. Raises ConfigError."""
    found: Rotation = _read(Rotation, tree, now_s, "the rotation")
    return found


def _read(kind: type[msgspec.Struct], tree: Any, now_s: float, what: str) -> Any:
    mistakes = Mistakes()
    if not isinstance(tree, Mapping):
        fields = ", ".join(name.encode_name for name in msgspec.structs.fields(kind))
        raise ConfigError([f"{what}: found {mistakes.found((), tree)}, expected a mapping with any of {fields}"])
    read = Shape(kind, mistakes).read(dict(tree))
    if read.get("expires") is not None:
        try:
            read["expires"] = end_of(read["expires"], now_s)
        except ValueError as wrong:
            mistakes.say(("expires",), str(wrong))
    mistakes.raise_if_any()
    return msgspec.convert(read, kind)


def key_of(name: Any, secret: str, now_s: float, terms: Mapping[str, Any]) -> StoredKey:
    """A new key on these terms. Raises ConfigError where this is no name."""
    if not isinstance(name, str) or not 1 <= len(name) <= MOST_NAME or not name.isprintable():
        found = clip(name) if isinstance(name, str) else Mistakes().found((), name)
        raise ConfigError([f"name: found {found}, expected 1 to {MOST_NAME} printable characters"])
    now = moment(now_s)
    return StoredKey(name=name, made=now, hashes=(StoredHash(hash=f"sha256:{sha256(secret)}", made=now),), **terms)


def shown(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them; of limits only those that there are."""
    found = dict(terms)
    if isinstance(found.get("limits"), AllowanceSpec):
        usual, given = msgspec.to_builtins(AllowanceSpec()), msgspec.to_builtins(found["limits"])
        found["limits"] = {name: value for name, value in given.items() if value != usual[name]}
    return found


def plain(key: StoredKey) -> dict[str, Any]:
    """A key as JSON has it, without its name and its hashes."""
    found = msgspec.to_builtins(key)
    return {name: value for name, value in found.items() if name not in ("name", "hashes")}


def settings_of(key: StoredKey) -> dict[str, Any]:
    """All its settings as JSON has them; None: as usual."""
    return shown({name: getattr(key, name) for name in SETTINGS})
