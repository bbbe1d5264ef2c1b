"""Keys: hashed where they are the clients' or the admin's, read from files or variables where they are ours to show.

A plain key of a client never leaves this room: only its SHA-256 does.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from penstock.config.mistakes import Mistakes, Path
from penstock.config.schema import KeyConf, KeyTerms
from penstock.config.tenants import Tenants

_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})")
_KEY = re.compile(r"[\x21-\x7e]+")
HASH_FORM = "'sha256:' and the 64 hex digits of the key's SHA-256"

ReadFile = Callable[[str], str]


def sha256(key: str) -> str:
    """SHA-256 of a key, hex: what is stored, and what `sha256:` stands before."""
    return hashlib.sha256(key.encode()).hexdigest()


def why(error: Exception) -> str:
    """Why a file could not be read, without its contents."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is not text" if isinstance(error, UnicodeError) else str(error)


def reveal(text: str, path: Path, mistakes: Mistakes, read_file: ReadFile) -> str:
    """The secret itself: `file:/path` is read, without the line end that editors put there."""
    if not text.startswith("file:"):
        return text
    try:
        return read_file(text.removeprefix("file:")).rstrip("\r\n")
    except (OSError, ValueError) as error:
        mistakes.say(path, f"the file {text.removeprefix('file:')!r} cannot be read ({why(error)})")
        mistakes.broken(path)
        return ""


def hash_of(text: str, path: Path, mistakes: Mistakes, read_file: ReadFile) -> str | None:
    """SHA-256, hex, of a key that may be plain, a file's, or hashed already. None: it was a mistake."""
    if already := _HASH.fullmatch(text):
        return already[1].lower()
    if text.startswith("sha256:"):
        mistakes.wrong(path, text, HASH_FORM)
        return None
    key = reveal(text, path, mistakes, read_file)
    if not _KEY.fullmatch(key):
        mistakes.say(path, "found a key that no client could send, expected printable ASCII without spaces")
        return None
    return sha256(key)


def _is_plain(text: str, path: Path, mistakes: Mistakes) -> bool:
    return not text.startswith(("file:", "sha256:")) and not mistakes.from_environment(path)


def plain_key_warning(text: str, where: str, path: Path, mistakes: Mistakes) -> list[str]:
    """What to say of a key that stands in the file as it is."""
    if not _is_plain(text, path, mistakes):
        return []
    return [f"{where} stands in the file in plain text; write 'sha256:{sha256(text)}' there instead"]


def client_keys(
    keys: tuple[KeyConf, ...], tenants: Tenants, mistakes: Mistakes, read_file: ReadFile, now_s: float
) -> tuple[dict[str, str], dict[str, KeyTerms], list[str]]:
    """SHA-256, hex -> the key's name; -> its terms, where they are unusual; and warnings. Two may share a name: so keys
    are changed. `now_s` are seconds since 1970, to tell who has expired."""
    names: dict[str, str] = {}
    terms: dict[str, KeyTerms] = {}
    warnings: list[str] = []
    for at, conf in enumerate(keys):
        path: Path = ("keys", at)
        if mistakes.any_below(*path):
            continue
        if (conf.key is None) == (conf.hash is None):
            found = "neither `key` nor `hash`" if conf.key is None else "both `key` and `hash`"
            mistakes.say(path, f"found {found}, expected one of them")
            continue
        field = "key" if conf.hash is None else "hash"
        digest = _digest(conf, (*path, field), mistakes, read_file)
        if digest is None:
            continue
        if digest in names:
            mistakes.say((*path, field), f"this key is that of {names[digest]!r} already")
        names.setdefault(digest, conf.name)
        expires_at = _expiry(conf, path, mistakes)
        if expires_at is not None and expires_at <= now_s and mistakes.is_written((*path, "expires")):
            warnings.append(f"keys[{at}] ({conf.name}): it expired, {conf.expires}")
        tenant, tier = tenants.of_key(conf, path)
        given = KeyTerms(
            ceiling=conf.priority_ceiling, tier=tier, tenant="" if tenant == conf.name else tenant,
            most_tokens=tenants.most_tokens(tenant, tier, conf.limits),
            models=tenants.models_of_key(conf, path), expires_at=expires_at,
        )  # fmt: skip
        if given != KeyTerms():
            terms.setdefault(digest, given)
        if conf.key is not None and _is_plain(conf.key, (*path, field), mistakes):
            where = f"keys[{at}] ({conf.name}): the key stands in the file in plain text"
            warnings.append(f"{where}; write `hash: 'sha256:{digest}'` instead of `key`")
    return names, terms, warnings


def _expiry(conf: KeyConf, path: Path, mistakes: Mistakes) -> float | None:
    """When the key expires, in seconds since 1970: a day alone is meant with its last hour."""
    if conf.expires is None:
        return None
    try:
        at = datetime.fromisoformat(conf.expires)
        if "T" not in conf.expires and " " not in conf.expires:
            at += timedelta(days=1)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        mistakes.wrong((*path, "expires"), conf.expires, "a day like 2027-03-31, or a time like 2027-03-31T18:00:00Z")
        return None


def _digest(conf: KeyConf, path: Path, mistakes: Mistakes, read_file: ReadFile) -> str | None:
    if conf.hash is not None:
        match = _HASH.fullmatch(conf.hash)
        if match is None:
            mistakes.wrong(path, conf.hash, HASH_FORM)
        return match[1].lower() if match else None
    key = conf.key or ""
    if _HASH.fullmatch(key):
        mistakes.say(path, "found a hash, expected the key itself", "did you mean `hash`?")
        return None
    return hash_of(key, path, mistakes, read_file)
