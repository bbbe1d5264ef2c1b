"""Keys of a gateway that runs, as its admin API changes them: in the keys file, where `penstock keys` changes them too,
and then taken from there, so that nothing holds that a restart would forget.

Files are read and written by threads: calls do not wait for a disk. Who changed what is logged, without secrets.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool

from penstock.base.nouns import AccountView
from penstock.config.key_files import Where, change, change_checked, read_store
from penstock.config.key_orders import Rotation, key_of, new_secret, shown
from penstock.config.key_rows import Row, page_of, rows_of
from penstock.config.key_store import (
    KeyChange,
    KeyStore,
    NoSuchKey,
    StoredKey,
    changed,
    created,
    digests_of,
    revoked,
    rotated,
)
from penstock.config.keys import sha256
from penstock.config.mistakes import did_you_mean
from penstock.config.schema import Settings
from penstock.gateway.fleet.roster import RosterError
from penstock.gateway.reload import Reloader
from penstock.telemetry.logs import AUDIT

log = logging.getLogger(AUDIT)


class Done(NamedTuple):
    """A change that stands in the file."""

    key: StoredKey
    applied: bool
    """Whether this gateway, with all its workers, holds it already."""


class KeyRing:
    """The keys file of the settings that hold now. Its methods raise RosterError for what cannot be done, and
    ConfigError where the configuration would have a mistake by it; then nothing has changed."""

    def __init__(self, reloader: Reloader, take: Callable[[], Awaitable[tuple[bool, bool]]]) -> None:
        """`take` has the gateway read its files, and says whether that went well, and whether all workers have it."""
        self._reloader = reloader
        self._take = take

    # ===== reading =====

    async def page(self, accounts: list[AccountView], after: str, count: int) -> tuple[list[Row], str | None]:
        """See `page_of`."""
        settings = self._reloader.settings
        return await run_in_threadpool(lambda: page_of(settings, _store(settings), accounts, time.time(), after, count))

    async def rows(self, accounts: list[AccountView], name: str) -> list[Row]:
        """A key: one row, or more where the configuration has several entries of that name."""
        settings = self._reloader.settings

        def found() -> list[Row]:
            store = _store(settings)
            only = KeyStore(keys=tuple(key for key in store.keys if key.name == name))
            server = settings.server
            mine = {digest: one for digest, one in server.key_names.items() if one == name}
            named = msgspec.structs.replace(settings, server=msgspec.structs.replace(server, key_names=mine))
            rows = rows_of(named, only, accounts, time.time())
            if not rows:
                raise _unknown(name, [*server.key_names.values(), *(key.name for key in store.keys)])
            return rows

        return await run_in_threadpool(found)

    # ===== changes =====

    async def create(self, name: object, terms: Mapping[str, Any], who: str) -> tuple[Done, str]:
        """A new key; also its secret, which nobody has but who asked."""
        now_s, secret = time.time(), new_secret()
        key = key_of(name, secret, now_s, terms)
        taken = self._written()
        done = await self._changed("created", key.name, lambda store: created(store, key, taken), who, terms)
        return done, secret

    async def set(self, name: str, terms: Mapping[str, Any], who: str) -> Done:
        """Other settings of a key."""
        return await self._changed("changed", name, lambda store: changed(store, name, terms), who, terms)

    async def rotate(self, name: str, how: Rotation, who: str) -> tuple[Done, str]:
        """A new secret of a key, and what it is."""
        now_s, secret = time.time(), new_secret()
        digest = sha256(secret)

        def edit(store: KeyStore) -> KeyStore:
            return rotated(store, name, digest, now_s, how.overlap_s, how.expires)

        terms = {"overlap_s": how.overlap_s, **({} if how.expires is None else {"expires": how.expires})}
        return await self._changed("rotated", name, edit, who, terms), secret

    async def revoke(self, name: str, who: str) -> Done:
        """No secret of the key holds any more. Mistakes in the configuration do not hinder."""
        now_s = time.time()
        return await self._changed("revoked", name, lambda store: revoked(store, name, now_s), who)

    async def _changed(
        self, what: str, name: str, edit: Callable[[KeyStore], KeyStore], who: str,
        terms: Mapping[str, Any] | None = None,
    ) -> Done:  # fmt: skip
        file, place = self._file(), self._where()

        def work() -> KeyStore:
            after = change(file, edit) if terms is None else change_checked(place, file, os.environ, edit)[0]
            settings = None if terms is None else msgspec.json.encode(shown(terms)).decode()
            log.info("the key %r was %s by %s", name, what, who, extra={"settings": settings})
            return after

        try:
            store = await run_in_threadpool(work)
        except NoSuchKey:
            raise self._not_here(name, await run_in_threadpool(read_store, file)) from None
        except KeyChange as wrong:
            raise RosterError(409, str(wrong)) from None
        except OSError as wrong:
            raise RosterError(
                503, f"{file} cannot be written ({wrong.strerror or wrong}); nothing has changed."
            ) from None
        key = store.find(name)
        assert key is not None
        read, spread = await self._taken(name, what)
        held = set(self._reloader.settings.server.stored_keys or ())
        return Done(key, spread and (read or (terms is None and held <= set(digests_of(store)))))

    async def _taken(self, name: str, what: str) -> tuple[bool, bool]:
        """Have the gateway take what stands in the file now. A bug there takes nobody's secret away, which only the
        answer to this request has."""
        try:
            return await self._take()
        except Exception as bug:
            log.error("the key %r was %s and stands in the file, but was not taken: a bug", name, what, exc_info=bug)
            return False, False

    # ===== where =====

    def _file(self) -> Path:
        file, config = self._reloader.settings.server.keys_file, self._reloader.file
        if config is None:
            raise RosterError(409, "This gateway was started without a configuration file: its keys cannot be changed.")
        if file is None:
            raise RosterError(
                409, "There is no keys file here, so keys have nowhere to stand: write `keys_file: keys.json` into "
                f"{config} (a gateway that runs takes it), and ask again.",
            )  # fmt: skip
        return Path(file)

    def _where(self) -> Where:
        config = self._reloader.file
        assert config is not None
        return Where(config, self._file(), self._written())

    def _written(self) -> dict[str, str]:
        """Names of keys that stand in the configuration itself -> where."""
        server, place = self._reloader.settings.server, f"under `keys` of {self._reloader.file}"
        stored = set(server.stored_keys or ())
        return {name: place for digest, name in server.key_names.items() if digest not in stored}

    def _not_here(self, name: str, store: KeyStore) -> RosterError:
        written = self._written()
        if name in written:
            return RosterError(
                409, f"The key {name!r} stands {written[name]}, and that file is yours: change it there."
            )
        return _unknown(name, [key.name for key in store.keys])


def _store(settings: Settings) -> KeyStore:
    file = settings.server.keys_file
    return KeyStore() if file is None else read_store(Path(file))


def _unknown(name: str, known: list[str]) -> RosterError:
    hint = did_you_mean(name, sorted(set(known))) or "`GET /admin/keys` shows all"
    return RosterError(404, f"There is no key {name[:200]!r}; {hint}")
