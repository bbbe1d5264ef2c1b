"""Reload: the configuration file read again on SIGHUP, on a change of it or of its keys file, or by the admin API.

A file with mistakes changes nothing: they are logged, or told to who asked. But for one thing: a key that its keys file
does not hold any more is refused all the same, for who revokes one may not have to wait until others have put a
configuration right.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from penstock.base.errors import ConfigError
from penstock.config.diff import changes
from penstock.config.key_store import parse, without
from penstock.config.load import read_text
from penstock.config.schema import Settings

WATCH_S = 0.25
"""How often the file is looked at. A change is read once it has lasted from one look to the next, so that a file that
is still being written is left alone: half a file may be a whole configuration."""
READ_S = 30.0
"""How long reading may take; a network disk may hang for ever."""
COARSE_S = 0.02
"""By how much a file may have changed later than its time says."""
log = logging.getLogger("penstock.gateway")

_Mark = tuple[int, int, int, int]
_NOT_THERE = (0, 0, 0, 0)


class Reloader:
    """Knows where settings come from and what holds now."""

    def __init__(
        self, settings: Settings, read: Callable[[], Settings] | None, apply: Callable[[Settings], None],
        file: Path | None,
    ) -> None:  # fmt: skip
        self.settings = settings
        self._read = read
        self._apply = apply
        self.file = file
        """None: there is none."""
        self._done = None if self._changed_since(settings.read_at_s) else self._mark()
        """What the files looked like when they were last read."""
        self._busy = asyncio.Lock()

    async def reload(self) -> list[str]:
        """Read again and apply; what changed, for people. Raises ConfigError, and then nothing has changed."""
        if self._read is None:
            raise ConfigError(["this gateway was started without a configuration file: there is nothing to reload"])
        async with self._busy:
            self._done = self._mark()
            try:
                async with asyncio.timeout(READ_S):
                    # reading a file may block for long on a network disk: not on the loop
                    settings = await asyncio.get_running_loop().run_in_executor(None, self._read)
            except TimeoutError:
                raise ConfigError([f"{self.file}: reading it took longer than {READ_S:g} s"]) from None
            self._keep_keys(settings)
            said = changes(self.settings, settings)
            self._apply(settings)
            self.settings = settings
        for line in said:
            log.info("reload: %s", line)
        return said

    async def try_reload(self, why: str) -> bool:
        """Reload; mistakes go to the log, and so do bugs: who watches the file must live on. Whether it went well."""
        try:
            said = await self.reload()
        except ConfigError as wrong:
            for line in wrong.mistakes:
                where = f"{wrong.file}: " if wrong.file else ""
                log.error("reload (%s) refused, the old configuration holds: %s%s", why, where, line)
            await self._withdraw()
        except OSError as wrong:
            log.error("reload (%s) refused, the old configuration holds: %s", why, wrong)
        except Exception as bug:
            log.error("reload (%s) failed: a bug", why, exc_info=bug)
        else:
            log.info("reload (%s): %d changes", why, len(said))
            return True
        return False

    async def take_keys(self) -> bool:
        """Somebody in this process has changed the keys file: take it now, not at the next looks; whether that went
        well. A configuration that is being changed as well is left to the looks: it may be half written. Keys that are
        gone are refused now all the same."""
        mark = self._mark()
        if mark is not None and self._done is not None and mark[0] == self._done[0]:
            return await self.try_reload("the keys file was changed here")
        await self._withdraw()
        return False

    async def watch(self) -> None:
        """Look at the file for ever, and read it again when it has changed."""
        before = self._done
        while True:
            await asyncio.sleep(WATCH_S)  # noqa: TID251 - a file says nothing when it changes: this is a real poll
            mark = self._mark()
            if mark is not None and mark == before and mark != self._done:
                await self.try_reload("the file changed")
            before = mark

    def _keep_keys(self, new: Settings) -> None:
        """A keys file that was there and is gone is rather a disk that is away than a wish to lock everybody out.
        Raises ConfigError."""
        old = self.settings.server
        same = new.server.keys_file == old.keys_file
        if same and old.stored_keys and new.server.stored_keys is None:
            raise ConfigError([f"keys_file: {old.keys_file} is not there any more; the keys that it held still hold"])

    async def _withdraw(self) -> None:
        """Refuse the keys that the keys file does not hold any more, though the rest could not be taken."""
        path = self.settings.server.keys_file
        if path is None or not self.settings.server.stored_keys:
            return
        loop = asyncio.get_running_loop()
        async with self._busy:
            try:
                async with asyncio.timeout(READ_S):
                    store = parse(await loop.run_in_executor(None, read_text, path))
            except (OSError, ValueError):  # what is wrong with it was told
                return
            server = without(self.settings.server, store)
            if server is self.settings.server:
                return
            settings = replace(self.settings, server=server)
            said = changes(self.settings, settings)
            self._apply(settings)
            self.settings = settings
        for line in said:
            log.warning("of that, this was taken all the same: %s", line)

    def _changed_since(self, read_at_s: float) -> bool:
        """Whether a file changed while the gateway started: a key that was revoked then would be taken for ever."""
        files = [self.file, self.settings.server.keys_file] if read_at_s else []
        for file in files:
            try:
                if file is not None and Path(file).stat().st_ctime >= read_at_s - COARSE_S:
                    return True
            except OSError:  # nobody has made it yet
                continue
        return False

    def _mark(self) -> tuple[_Mark, _Mark] | None:
        if self.file is None:
            return None
        try:
            config = _mark_of(self.file)
        except OSError:  # between the two steps of an editor's replace
            return None
        keys = self.settings.server.keys_file
        try:
            return config, _NOT_THERE if keys is None else _mark_of(Path(keys))
        except OSError:  # the first key is still to be made
            return config, _NOT_THERE


def _mark_of(file: Path) -> _Mark:
    stat = file.stat()
    return (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
