"""Keys of a gateway that runs: changed in the file and taken from there; who did it is logged, and no secret is."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from penstock.base.errors import ConfigError
from penstock.config.key_files import read_store
from penstock.config.key_orders import Rotation
from penstock.config.keys import sha256
from penstock.config.load import load
from penstock.config.schema import Settings
from penstock.gateway.fleet.roster import RosterError
from penstock.gateway.key_ring import KeyRing
from penstock.gateway.reload import Reloader

CONFIG = """\
pools: [{name: p, models: [m], replicas: [{url: 'http://h:1'}]}]
keys: [{name: own, key: sk-own}]
"""


class Rig:
    """A ring over files in a folder."""

    def __init__(self, folder: Path, text: str = CONFIG + "keys_file: keys.json\n") -> None:
        self.config, self.file = folder / "penstock.yaml", folder / "keys.json"
        self.config.write_text(text)
        self.reloader = Reloader(self.read(), self.read, lambda settings: None, self.config)
        self.spread = True
        self.ring = KeyRing(self.reloader, self.take)

    def read(self) -> Settings:
        """What stands there."""
        text, folder = self.config.read_text(), str(self.config.parent)
        return load(text, {}, lambda path: Path(path).read_text(encoding="utf-8"), folder)

    async def take(self) -> tuple[bool, bool]:
        """As a gateway does."""
        return await self.reloader.take_keys(), self.spread

    def refused(self, work: Callable[[], Coroutine[Any, Any, object]]) -> tuple[int, str]:
        """How it is refused; no file has changed then."""
        before = self.file.read_bytes() if self.file.exists() else None
        with pytest.raises(RosterError) as wrong:
            asyncio.run(work())
        assert before == (self.file.read_bytes() if self.file.exists() else None)
        return wrong.value.status, str(wrong.value)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A keys file that is still to be made."""
    return Rig(tmp_path)


def test_a_change_stands_in_the_file_and_holds(rig: Rig) -> None:
    """Made, changed, rotated, revoked: after each the file has it, and so have the settings."""

    async def main() -> None:
        made, secret = await rig.ring.create("a", {"models": ("m",)}, "me")
        assert made.applied
        assert rig.reloader.settings.server.key_names[sha256(secret)] == "a"
        assert rig.reloader.settings.server.key_terms[sha256(secret)].models == ("m",)
        assert (await rig.ring.set("a", {"models": None}, "me")).applied
        assert sha256(secret) not in rig.reloader.settings.server.key_terms
        turned, second = await rig.ring.rotate("a", Rotation(overlap_s=60.0), "me")
        assert [one.hash for one in turned.key.hashes] == [f"sha256:{sha256(each)}" for each in (secret, second)]
        assert {sha256(secret), sha256(second)} <= set(rig.reloader.settings.server.key_names)
        gone = await rig.ring.revoke("a", "me")
        assert (gone.applied, gone.key.hashes) == (True, ())
        assert list(rig.reloader.settings.server.key_names.values()) == ["own"]
        assert read_store(rig.file).keys == (gone.key,)

    asyncio.run(main())


def test_who_changed_what_is_logged_without_secrets(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A line for each change, and none for what was refused."""
    caplog.set_level(logging.INFO)

    async def main() -> list[str]:
        _, secret = await rig.ring.create("a", {"tier": "free"}, "'ci' (127.0.0.1:5)")
        _, second = await rig.ring.rotate("a", Rotation(overlap_s=60.0), "me")
        await rig.ring.revoke("a", "me")
        return [secret, second, sha256(secret), sha256(second)]

    for secret in asyncio.run(main()):
        assert secret not in caplog.text
    rig.refused(lambda: rig.ring.revoke("b", "me"))
    lines = [record for record in caplog.records if record.name == "penstock.audit"]
    assert [record.getMessage() for record in lines] == [
        "the key 'a' was created by 'ci' (127.0.0.1:5)", "the key 'a' was rotated by me",
        "the key 'a' was revoked by me",
    ]  # fmt: skip
    assert [record.__dict__["settings"] for record in lines] == ['{"tier":"free"}', '{"overlap_s":60.0}', None]


def test_what_cannot_be_done_says_why_and_the_way_out(rig: Rig) -> None:
    """A name that is taken, one that nobody has, one that stands in the configuration, and one that is revoked."""
    asyncio.run(rig.ring.create("abc", {}, "me"))
    assert rig.refused(lambda: rig.ring.create("abc", {}, "me")) == (
        409, "there is a key 'abc' already: rotate it for a new secret, change its settings, or revoke it first",
    )  # fmt: skip
    status, said = rig.refused(lambda: rig.ring.create("own", {}, "me"))
    assert (status, f"under `keys` of {rig.config}; choose another name" in said) == (409, True)
    assert rig.refused(lambda: rig.ring.revoke("abcc", "me")) == (
        404, "There is no key 'abcc'; did you mean `abc`?",
    )  # fmt: skip
    assert rig.refused(lambda: rig.ring.rows([], "zzz")) == (404, "There is no key 'zzz'; `GET /admin/keys` shows all")
    status, said = rig.refused(lambda: rig.ring.set("own", {"tier": "free"}, "me"))
    assert (status, "that file is yours: change it there" in said) == (409, True)
    asyncio.run(rig.ring.revoke("abc", "me"))
    assert rig.refused(lambda: rig.ring.revoke("abc", "me"))[0] == 409


def test_without_a_keys_file_it_is_said_how_to_have_one(tmp_path: Path) -> None:
    """The configuration's own keys are shown all the same."""
    rig = Rig(tmp_path, CONFIG)
    status, said = rig.refused(lambda: rig.ring.create("a", {}, "me"))
    assert (status, f"write `keys_file: keys.json` into {rig.config}" in said) == (409, True)
    rows, after = asyncio.run(rig.ring.page([], "", 10))
    assert ([row.name for row in rows], after) == (["own"], None)
    bare = KeyRing(Reloader(rig.read(), None, lambda settings: None, None), rig.take)
    assert "without a configuration file" in rig.refused(lambda: bare.revoke("a", "me"))[1]


def test_a_disk_that_cannot_be_written_is_told(rig: Rig) -> None:
    """With the file and the reason; nothing has changed."""
    gone = rig.config.parent / "gone" / "keys.json"
    text = rig.config.read_text().replace("keys.json", "gone/keys.json")
    rig = Rig(rig.config.parent, text)
    assert rig.refused(lambda: rig.ring.create("a", {}, "me")) == (
        503, f"{gone} cannot be written (No such file or directory); nothing has changed.",
    )  # fmt: skip


def test_what_the_configuration_would_refuse_is_not_written(rig: Rig) -> None:
    """A model that nobody serves: the mistake is the one that `penstock check` tells."""
    with pytest.raises(ConfigError, match="no pool serves a model 'x'"):
        asyncio.run(rig.ring.create("a", {"models": ("x",)}, "me"))
    assert not rig.file.exists()


def test_what_does_not_hold_yet_is_said(rig: Rig) -> None:
    """The configuration has mistakes, or a worker is late: a new key stands in the file only. A revoked one is refused
    whatever else is wrong."""
    first, _ = asyncio.run(rig.ring.create("a", {}, "me"))
    rig.spread = False
    late, _ = asyncio.run(rig.ring.create("b", {}, "me"))
    rig.spread = True
    rig.config.write_text(rig.config.read_text() + "nonsense: 1\n")
    kept, _ = asyncio.run(rig.ring.create("c", {}, "me"))
    assert (first.applied, late.applied, kept.applied) == (True, False, False)
    assert asyncio.run(rig.ring.revoke("a", "me")).applied
    assert sorted(rig.reloader.settings.server.key_names.values()) == ["b", "own"]
    assert [key.name for key in read_store(rig.file).keys] == ["a", "b", "c"]


def test_a_bug_in_taking_it_loses_no_secret(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """The key stands in the file: who asked gets its secret, and hears that it does not hold yet."""

    async def fails() -> tuple[bool, bool]:
        raise RuntimeError("boom")

    ring = KeyRing(rig.reloader, fails)
    done, secret = asyncio.run(ring.create("a", {}, "me"))
    (stored,) = read_store(rig.file).keys
    assert (done.applied, [one.hash for one in stored.hashes]) == (False, [f"sha256:{sha256(secret)}"])
    assert "'a' was created and stands in the file, but was not taken: a bug" in caplog.text
    assert secret not in caplog.text


def test_many_change_at_the_same_time(rig: Rig) -> None:
    """None of their changes is lost."""

    async def main() -> None:
        names = [f"k{number}" for number in range(5)]
        await asyncio.gather(*(rig.ring.create(name, {}, "me") for name in names))
        assert sorted(key.name for key in read_store(rig.file).keys) == sorted(names)
        assert set(names) < set(rig.reloader.settings.server.key_names.values())

    asyncio.run(main())
