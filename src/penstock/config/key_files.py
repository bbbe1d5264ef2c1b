"""The keys file on disk: found by the configuration, read, and changed by one at a time.

A change replaces the file as a whole, so that a reader finds all of it, and so that what was there before is there
still where the disk is full. Who changes it has locked it, and looks whether it is still the one that is there.
"""

import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from penstock.base.errors import ConfigError
from penstock.config.document import NotYaml, parse
from penstock.config.environment import PREFIX, expand
from penstock.config.key_store import KeyStore, written
from penstock.config.key_store import parse as parse_keys
from penstock.config.keys import why
from penstock.config.load import MOST_READ, load, read_text
from penstock.config.mistakes import Mistakes

MODE = 0o600
_ENTRY = re.compile(r"^keys\[\d+\]")
TRIES = 50
"""To get the lock; between two of them passes the next."""
TRY_S = 0.1


class Where(NamedTuple):
    """What a configuration says of keys, as far as it can be said without the rest of it being right."""

    config: Path
    file: Path | None
    """Its keys file; None: it has none."""
    written: dict[str, str]
    """Names of keys that stand in the configuration itself -> where."""


def where(config: Path, environment: Mapping[str, str]) -> Where:
    """Where keys stand. A key must be revocable also where the configuration has mistakes, or needs variables that only
    the gateway has: nothing else of it is looked at. Raises ConfigError."""
    try:
        parsed = parse(read_text(str(config)))
    except (OSError, ValueError) as error:
        raise ConfigError([f"{config}: cannot be read ({why(error)})"]) from None
    except NotYaml as error:
        raise ConfigError([f"{config}: {error}"]) from None
    tree = parsed.tree if isinstance(parsed.tree, dict) else {}
    named, mistakes = environment.get(f"{PREFIX}KEYS_FILE"), Mistakes()
    if named is None:
        named = expand(tree.get("keys_file"), environment, mistakes, ("keys_file",))
    mistakes.raise_if_any()
    taken: dict[str, str] = {}
    entries = tree.get("keys")
    for at, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            taken[entry["name"]] = f"keys[{at}] of {config} (line {parsed.lines.get(('keys', at), 0)})"
    return Where(config, config.parent / named if isinstance(named, str) and named else None, taken)


def read_store(path: Path) -> KeyStore:
    """What a keys file holds; one that is not there holds nothing. Raises ConfigError."""
    try:
        return parse_keys(read_text(str(path)))
    except FileNotFoundError:
        return KeyStore()
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read ({why(error)})"]) from None


def mistakes_in(config: Path, environment: Mapping[str, str], keys_file: Path, store: KeyStore) -> list[str]:
    """What would be wrong with the configuration if its keys file held this."""

    def read_file(path: str) -> str:
        return written(store) if path == str(keys_file) else read_text(path)

    try:
        load(read_text(str(config)), environment, read_file, str(config.parent))
    except ConfigError as error:
        return error.mistakes
    return []


def change(path: Path, edit: Callable[[KeyStore], KeyStore]) -> KeyStore:
    """Change a keys file, one at a time; what it holds then. Raises OSError and ConfigError, and what `edit` raises:
    then nothing has changed."""
    real = Path(os.path.realpath(path))  # a link stays a link
    with _locked(real):
        before = read_store(real)
        after = edit(before)
        if after != before:
            text = written(after)
            if len(text) > MOST_READ:
                raise ConfigError(
                    [f"{path}: it would have more than {MOST_READ:,} characters, and no gateway reads more"]
                )
            _replace(real, text.encode())
    return after


def change_checked(
    place: Where, file: Path, environment: Mapping[str, str], edit: Callable[[KeyStore], KeyStore]
) -> tuple[KeyStore, int]:
    """The same, but not where the configuration would have a mistake by it that it has not now. Also, how many mistakes
    it has as seen from here: a gateway for which it has them takes no new key. Raises as `change` does."""
    before: list[str] = []

    def held(store: KeyStore) -> KeyStore:
        after = edit(store)
        wrong = mistakes_in(place.config, environment, file, after)
        if wrong:
            before.extend(mistakes_in(place.config, environment, file, store))
            known = set(map(_wherever, before))
            new = [text for text in wrong if _wherever(text) not in known]
            if new:
                raise ConfigError(new)
        return after

    return change(file, held), len(before)


def _wherever(mistake: str) -> str:
    """The same mistake, whichever entry of the list the key is now: it says the key's name as well."""
    return _ENTRY.sub("keys[]", mistake)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Nobody else changes this file meanwhile. It is locked itself: who may not read it cannot hinder that. While there
    is none, its folder is, which anybody could lock who sees it; but then there is nothing to revoke."""
    handle = _lock(file)
    try:
        yield
    finally:
        os.close(handle)


def _lock(file: Path) -> int:
    for left in range(TRIES, -1, -1):
        handle = _opened(file)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(file, handle):
                return handle
        except BlockingIOError:
            if left:
                time.sleep(TRY_S)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    text = "somebody else is changing the keys file and does not come to an end"
    raise TimeoutError(110, text, str(file))


def _opened(file: Path) -> int:
    """The file, else its folder. For writing where that may be: network file systems lock nothing else."""
    for path, how in ((file, os.O_RDWR), (file, os.O_RDONLY), (file.parent, os.O_RDONLY | os.O_DIRECTORY)):
        try:
            return os.open(path, how | os.O_NOFOLLOW | os.O_CLOEXEC)
        except PermissionError:
            continue
        except FileNotFoundError:
            if path is not file:
                raise
    raise PermissionError(13, "Permission denied", str(file))


def _is_still(file: Path, handle: int) -> bool:
    """Whether what was locked is what stands there now: a change replaces the file."""
    locked = os.fstat(handle)
    try:
        there = file.stat()
    except FileNotFoundError:
        return stat.S_ISDIR(locked.st_mode)
    return (there.st_dev, there.st_ino) == (locked.st_dev, locked.st_ino)


def _replace(path: Path, data: bytes) -> None:
    """The file as a whole, with the mode and, where that is allowed, the owner that it had."""
    other = path.with_name(f".{path.name}.{os.getpid()}.new")
    other.unlink(missing_ok=True)  # of one that was killed here: in a container all have the same number
    try:
        handle = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
        with os.fdopen(handle, "wb") as file:
            _like(handle, path)
            file.write(data)
            file.flush()
            os.fsync(handle)
        other.replace(path)
    except BaseException:
        other.unlink(missing_ok=True)  # only then: once it is replaced, this name is whose turn is next
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _like(handle: int, path: Path) -> None:
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    os.fchmod(handle, old.st_mode & 0o777)
    try:
        os.fchown(handle, old.st_uid, old.st_gid)
    except PermissionError:  # then the file is whose process this is, as with any editor
        return
