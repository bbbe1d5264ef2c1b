"""Reload: the file is read when it has changed and come to rest; whatever is wrong with it changes nothing."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.base.errors import ConfigError
from penstock.config.key_store import KeyStore, StoredHash, StoredKey, written
from penstock.config.load import load_file
from penstock.config.schema import LogSpec, ServerSpec, Settings
from penstock.gateway import reload as module
from penstock.gateway.reload import Reloader

LEVELS = ("debug", "info", "warning", "error")


def settings(level: str) -> Settings:
    """Settings that differ in one word."""
    return Settings(server=ServerSpec(log=LogSpec(level=level)))  # type: ignore[arg-type]


class Rig:
    """A reloader over a file whose whole text is a log level."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_text("info")
        self.applied: list[str] = []
        self.reads = 0
        self.reloader = Reloader(settings("info"), self.read, self.apply, file)

    def read(self) -> Settings:
        """What the file says."""
        self.reads += 1
        text = self.file.read_text()
        if text == "bug":
            raise ZeroDivisionError
        if text not in LEVELS:
            raise ConfigError([f"log.level: found {text!r}"])
        return settings(text)

    def apply(self, new: Settings) -> None:
        """Let it hold."""
        if new.server.log.level == "error":
            raise ConfigError(["this does not fit"])
        self.applied.append(new.server.log.level)

    @property
    def holds(self) -> str:
        """The level that holds."""
        return self.reloader.settings.server.log.level

    async def looks(self, count: int = 4) -> None:
        """Let the watcher look a few times."""
        await asyncio.sleep(module.WATCH_S * (count + 0.5))


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A reloader whose watcher looks every few milliseconds."""
    monkeypatch.setattr(module, "WATCH_S", 0.005)
    return Rig(tmp_path / "level")


def watching(rig: Rig, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test while the file is watched."""

    async def main() -> None:
        watch = asyncio.create_task(rig.reloader.watch())
        async with asyncio.timeout(5):
            await test()
        assert not watch.done()
        watch.cancel()

    asyncio.run(main())


async def until(true: Callable[[], bool]) -> None:
    """Wait for the watcher, bounded by the test's time."""
    while not true():  # noqa: ASYNC110 - the watcher polls a file: there is no event
        await asyncio.sleep(0.001)


def test_reload_tells_what_changed(rig: Rig) -> None:
    """A reload applies what the file says and returns the differences; without any, it returns none."""

    async def main() -> None:
        rig.file.write_text("debug")
        assert await rig.reloader.reload() == ["log.level: info -> debug"]
        assert await rig.reloader.reload() == []

    asyncio.run(main())
    assert rig.applied == ["debug", "debug"]
    assert rig.holds == "debug"


@pytest.mark.parametrize("text", ["nonsense", "error"])
def test_mistakes_change_nothing(rig: Rig, text: str) -> None:
    """A file with mistakes, or one that does not fit what runs, raises them, and the old settings hold."""
    rig.file.write_text(text)
    with pytest.raises(ConfigError):
        asyncio.run(rig.reloader.reload())
    assert (rig.applied, rig.holds) == ([], "info")


@pytest.mark.parametrize("text, words", [("nonsense", "found 'nonsense'"), ("bug", "a bug"), (None, "No such file")])
def test_mistakes_are_logged(rig: Rig, text: str | None, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody waits for the answer, mistakes, bugs and missing files are logged, and the old settings hold."""
    rig.file.unlink() if text is None else rig.file.write_text(text)
    asyncio.run(rig.reloader.try_reload("SIGHUP"))
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "reload (SIGHUP)" in record.getMessage()
    assert words in record.getMessage()
    assert rig.holds == "info"


def test_success_is_logged_even_without_a_change(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Who sends SIGHUP reads in the log that it was heard."""
    caplog.set_level(logging.INFO)
    asyncio.run(rig.reloader.try_reload("SIGHUP"))
    assert [record.getMessage() for record in caplog.records] == ["reload (SIGHUP): 0 changes"]


def test_without_a_file_there_is_nothing_to_reload() -> None:
    """A gateway that was started from the command line says so."""
    reloader = Reloader(settings("info"), None, lambda new: None, None)
    with pytest.raises(ConfigError, match="without a configuration file"):
        asyncio.run(reloader.reload())


def test_a_changed_file_is_read_once(rig: Rig) -> None:
    """The watcher applies a change once, and does not read a file that did not change."""

    async def main() -> None:
        await rig.looks()
        assert rig.reads == 0
        rig.file.write_text("debug")
        await until(lambda: rig.holds == "debug")
        await rig.looks()
        assert rig.reads == 1

    watching(rig, main)


def test_a_replaced_file_is_read(rig: Rig) -> None:
    """A file replaced by renaming another over it counts as changed, even with the same size and time."""

    async def main() -> None:
        rig.file.write_text("debug")
        await until(lambda: rig.holds == "debug")
        before = rig.file.stat()
        other = rig.file.with_name("other")
        other.write_text("debug")
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(rig.file)
        await until(lambda: rig.reads == 2)

    watching(rig, main)


def test_a_file_being_written_is_left_alone(rig: Rig) -> None:
    """While a file goes on changing it is not read; once it rests, it is."""

    async def main() -> None:
        for length in range(1, 40):
            rig.file.write_text("x" * length)  # every look finds another size
            await asyncio.sleep(module.WATCH_S / 4)
        rig.file.write_text("warning")
        await until(lambda: rig.holds == "warning")
        assert rig.reads <= 2

    watching(rig, main)


def test_a_missing_file_is_waited_for(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Between the two steps of an editor's replace there is no file: that is no mistake."""

    async def main() -> None:
        rig.file.unlink()
        await rig.looks()
        new = rig.file.with_suffix(".new")
        new.write_text("debug")
        new.replace(rig.file)  # as editors do: nobody sees half a file
        await until(lambda: rig.holds == "debug")

    watching(rig, main)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_watching_goes_on_after_mistakes_and_bugs(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A broken file is told once, a bug ends nothing, and the next good file is applied."""

    async def main() -> None:
        for text in ("nonsense", "bug"):
            rig.file.write_text(text)
            reads = rig.reads
            await until(lambda reads=reads: rig.reads > reads)  # type: ignore[misc]
            await rig.looks()
            assert rig.reads == reads + 1
        rig.file.write_text("debug")
        await until(lambda: rig.holds == "debug")

    watching(rig, main)
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 2


def test_a_reload_by_hand_spares_the_watcher(rig: Rig) -> None:
    """What SIGHUP or the admin API has read, the watcher does not read again."""

    async def main() -> None:
        rig.file.write_text("debug")
        await rig.reloader.reload()
        await rig.looks()
        assert rig.reads == 1

    watching(rig, main)


def test_a_hanging_disk_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is bounded in time, off the loop, and the next reload is not held up by it."""
    monkeypatch.setattr(module, "READ_S", 0.02)
    hang = threading.Event()

    async def main() -> None:
        rig.reloader._read = lambda: (hang.wait(5), settings("debug"))[1]
        with pytest.raises(ConfigError, match=r"longer than 0\.02 s"):
            await rig.reloader.reload()
        rig.reloader._read = rig.read
        assert await rig.reloader.reload() == []
        hang.set()

    asyncio.run(main())


def test_reloads_come_one_after_the_other(rig: Rig) -> None:
    """Reloads at once are done in turn, so that the last one read is the one that holds."""

    async def main() -> None:
        rig.file.write_text("debug")
        first = asyncio.create_task(rig.reloader.reload())
        second = asyncio.create_task(rig.reloader.reload())
        assert [await first, await second] == [["log.level: info -> debug"], []]

    asyncio.run(main())


# ===== keys =====

NOW = "2027-01-15T08:00:00Z"


def stored(*names: str) -> str:
    """A keys file; a key's hash is made of its name."""
    hashes = [(name, StoredHash(hash=f"sha256:{name * 64}", made=NOW)) for name in names]
    return written(KeyStore(keys=tuple(StoredKey(name=name, made=NOW, hashes=(one,)) for name, one in hashes)))


class Keyed:
    """A reloader over a real configuration with a keys file."""

    def __init__(self, folder: Path) -> None:
        self.config, self.keys = folder / "penstock.yaml", folder / "keys.json"
        self.config.write_text("pools: [{name: p, replicas: [{url: 'http://h:1'}]}]\nkeys_file: keys.json\n")
        self.keys.write_text(stored("a", "b"))
        self.names: list[str] = []
        self.reads = 0
        self.reloader = Reloader(self.read(), self.read, self.apply, self.config)

    def read(self) -> Settings:
        """What stands there."""
        self.reads += 1
        return load_file(self.config, {})

    def apply(self, new: Settings) -> None:
        """Let it hold."""
        self.names = sorted(new.server.key_names.values())

    def run(self, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a test while the files are watched."""

        async def main() -> None:
            watch = asyncio.create_task(self.reloader.watch())
            async with asyncio.timeout(10):
                await test()
            watch.cancel()

        asyncio.run(main())


@pytest.fixture
def keyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyed:
    """Its watcher looks every few milliseconds."""
    monkeypatch.setattr(module, "WATCH_S", 0.005)
    return Keyed(tmp_path)


def test_a_change_of_the_keys_file_is_taken(keyed: Keyed) -> None:
    """The configuration itself does not change; keys come and go."""

    async def test() -> None:
        keyed.keys.write_text(stored("a"))
        await until(lambda: keyed.names == ["a"])
        keyed.keys.write_text(stored("a", "c"))
        await until(lambda: keyed.names == ["a", "c"])

    keyed.run(test)


def test_a_revoked_key_goes_though_the_rest_cannot_be_taken(keyed: Keyed, caplog: pytest.LogCaptureFixture) -> None:
    """While the configuration has mistakes, no key comes and none but revoked ones goes; then all is taken."""

    async def test() -> None:
        right = keyed.config.read_text()
        keyed.config.write_text(right + "nonsense: 5\n")
        await until(lambda: "nonsense" in caplog.text)
        keyed.keys.write_text(stored("a", "c"))
        await until(lambda: keyed.names == ["a"])
        keyed.config.write_text(right)
        await until(lambda: keyed.names == ["a", "c"])

    keyed.run(test)
    assert "taken all the same: keys: b removed" in caplog.text


def test_a_keys_file_that_is_gone_locks_nobody_out(keyed: Keyed, caplog: pytest.LogCaptureFixture) -> None:
    """Its keys hold until it is there again, and that is said; what it says then holds."""

    async def test() -> None:
        keyed.keys.unlink()
        await until(lambda: "not there any more" in caplog.text)
        assert sorted(keyed.reloader.settings.server.key_names.values()) == ["a", "b"]
        keyed.keys.write_text("{")
        await until(lambda: "not what `penstock keys` writes" in caplog.text)
        assert sorted(keyed.reloader.settings.server.key_names.values()) == ["a", "b"]
        keyed.keys.write_text(stored("b"))
        await until(lambda: keyed.names == ["b"])

    keyed.run(test)


def test_keys_that_were_changed_here_are_taken_at_once(keyed: Keyed) -> None:
    """Without waiting for a look, and the looks have nothing left to do."""

    async def test() -> None:
        await until(lambda: keyed.names == ["a", "b"])  # it was written while this gateway started
        reads = keyed.reads
        keyed.keys.write_text(stored("a", "c"))
        assert await keyed.reloader.take_keys()
        assert (keyed.names, keyed.reads) == (["a", "c"], reads + 1)
        await asyncio.sleep(module.WATCH_S * 5)
        assert keyed.reads == reads + 1

    keyed.run(test)


def test_keys_are_not_taken_with_half_a_configuration(keyed: Keyed) -> None:
    """Somebody writes it meanwhile: the looks take it when it has come to rest. Keys that are gone are refused."""

    async def main() -> None:
        keyed.reloader = Reloader(
            msgspec.structs.replace(keyed.read(), read_at_s=0.0), keyed.read, keyed.apply, keyed.config
        )
        right = keyed.config.read_text()
        keyed.config.write_text(right + "max_waiting: 5")
        keyed.keys.write_text(stored("a", "c"))
        assert not await keyed.reloader.take_keys()
        assert keyed.names == ["a"]
        assert keyed.reloader.settings.gate.max_waiting != 5

    asyncio.run(main())


def test_what_changed_while_the_gateway_started_is_taken(keyed: Keyed) -> None:
    """A key that is revoked between the reading and the first look goes; later nothing is read without a change."""

    async def test() -> None:
        await until(lambda: keyed.names == ["b"])
        reads = keyed.reads
        await asyncio.sleep(module.WATCH_S * 5)
        assert keyed.reads == reads

    settings = keyed.read()
    keyed.keys.write_text(stored("b"))
    keyed.reloader = Reloader(settings, keyed.read, keyed.apply, keyed.config)
    keyed.run(test)
