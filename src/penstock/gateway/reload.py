"""Reload: the configuration file read again on SIGHUP, on a change of the file, or by the admin API.

A file with mistakes changes nothing: they are logged, or told to who asked.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from penstock.base.errors import ConfigError
from penstock.config.diff import changes
from penstock.config.schema import Settings

WATCH_S = 0.25
"""How often the file is looked at. A change is read once it has lasted from one look to the next, so that a file that
is still being written is left alone: half a file may be a whole configuration."""
READ_S = 30.0
"""How long reading may take; a network disk may hang for ever."""
log = logging.getLogger("penstock.gateway")

_Mark = tuple[int, int, int, int]


class Reloader:
    """Knows where settings come from and what holds now."""

    def __init__(
        self, settings: Settings, read: Callable[[], Settings] | None, apply: Callable[[Settings], None],
        file: Path | None,
    ) -> None:  # fmt: skip
        self.settings = settings
        self._read = read
        self._apply = apply
        self._file = file
        self._done = self._mark()
        """What the file looked like when it was last read."""
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
                raise ConfigError([f"{self._file}: reading it took longer than {READ_S:g} s"]) from None
            said = changes(self.settings, settings)
            self._apply(settings)
            self.settings = settings
        for line in said:
            log.info("reload: %s", line)
        return said

    async def try_reload(self, why: str) -> None:
        """Reload; mistakes go to the log, and so do bugs: who watches the file must live on."""
        try:
            said = await self.reload()
        except ConfigError as wrong:
            for line in wrong.mistakes:
                log.error("reload (%s) refused, the old configuration holds: %s", why, line)
        except OSError as wrong:
            log.error("reload (%s) refused, the old configuration holds: %s", why, wrong)
        except Exception as bug:
            log.error("reload (%s) failed: a bug", why, exc_info=bug)
        else:
            log.info("reload (%s): %d changes", why, len(said))

    async def watch(self) -> None:
        """Look at the file for ever, and read it again when it has changed."""
        before = self._done
        while True:
            await asyncio.sleep(WATCH_S)  # noqa: TID251 - a file says nothing when it changes: this is a real poll
            mark = self._mark()
            if mark is not None and mark == before and mark != self._done:
                await self.try_reload("the file changed")
            before = mark

    def _mark(self) -> _Mark | None:
        if self._file is None:
            return None
        try:
            stat = self._file.stat()
        except OSError:  # between the two steps of an editor's replace
            return None
        return (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
