"""The keys' part of the admin API: keys made, changed, rotated and revoked; who may; and what mistakes are told."""

import re
from pathlib import Path

import pytest

from penstock.config.keys import sha256
from tests.helpers.admin import CONFIG, Rig, over

FILED = CONFIG + "keys_file: keys.json\nkeys: [{name: own, key: sk-own, limits: {requests_per_day: 4}}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a configuration stands."""
    return tmp_path / "penstock.yaml"


def test_a_key_from_its_making_to_its_end(file: Path) -> None:
    """It is shown once, in the answer to who made it, which nobody may store; it serves at once, as it was wished for;
    and after its end it is a name."""

    async def test(rig: Rig) -> None:
        made = await rig.ask("POST", "/admin/keys", {"name": "a/b c", "models": ["m"], "limits": {"concurrency": 2}})
        assert (made.status, made.headers["cache-control"]) == (201, "no-store")
        told, server = made.json, rig.gateway.reloader.settings.server
        secret = told.pop("key")
        assert re.fullmatch(r"sk-penstock-[\w-]{43}", secret)
        assert server.key_names[sha256(secret)] == "a/b c"
        assert (told["name"], told["models"], told["limits"], told["applied"]) == (
            "a/b c",
            ["m"],
            {"concurrency": 2},
            True,
        )
        changed = await rig.ask("PATCH", "/admin/keys/a/b c", {"models": None, "tier": "free"})
        assert (changed.status, changed.json["models"], changed.json["tier"]) == (200, None, "free")
        turned = await rig.ask("POST", "/admin/keys/a/b c/rotate", {"overlap": "1h"})
        assert (turned.status, turned.json["old_until"] is None, turned.json["tier"]) == (200, False, "free")
        (shown,) = (await rig.ask("GET", "/admin/keys/a/b c")).json["keys"]
        assert (shown["state"], len(shown["secrets"]), shown["limits"][0]["left"]) == ("rotating", 2, 2.0)
        gone = await rig.ask("DELETE", "/admin/keys/a/b c")
        assert (gone.status, gone.json["applied"]) == (200, True)
        assert list(rig.gateway.reloader.settings.server.key_names.values()) == ["own"]
        pages = [await rig.ask("GET", page) for page in ("/admin/keys", "/admin/keys/a/b c", "/metrics")]
        for each in (secret, turned.json["key"], sha256(secret)):
            assert not [page for page in pages if each.encode() in page.body]

    over(test, FILED, file)


def test_all_keys_are_listed_in_pages(file: Path) -> None:
    """The configuration's own as well; by name, and the last page says so."""

    async def test(rig: Rig) -> None:
        for name in ("x", "b"):
            await rig.ask("POST", "/admin/keys", {"name": name})
        first = (await rig.ask("GET", "/admin/keys?count=2")).json
        assert ([key["name"] for key in first["keys"]], first["after"]) == (["b", "own"], "own")
        assert (first["keys"][1]["place"], first["keys"][1]["limits"][0]["limit"]) == ("config", 4.0)
        rest = (await rig.ask("GET", "/admin/keys?count=2&after=own")).json
        assert ([key["name"] for key in rest["keys"]], rest["after"]) == (["x"], None)
        for query in ("count=0", "count=1001", "count=x", "cuont=1"):
            assert (await rig.ask("GET", f"/admin/keys?{query}")).status == 400

    over(test, FILED, file)


@pytest.mark.parametrize(
    "method, path, body, status, code, words",
    [
        ("POST", "", {"name": "own"}, 409, "conflict", ["'own' already, under `keys` of "]),
        ("POST", "", {"tier": "free"}, 400, "bad_config", ["name: found nothing, expected 1 to 128"]),
        ("POST", "", {"name": "x", "tire": "free"}, 400, "bad_config", ["tire: ", "did you mean `tier`?"]),
        (
            "POST",
            "",
            {"name": "x", "models": ["n"]},
            400,
            "bad_config",
            ["models[0] ('x' in ", "no pool serves a model"],
        ),
        ("POST", "", [], 400, "bad_config", ["the key: found a list, expected a JSON object"]),
        ("PATCH", "/own", {"tier": "free"}, 409, "conflict", ["that file is yours: change it there"]),
        ("PATCH", "/own", {}, 400, "bad_config", ["the settings: found none, expected any of tenant"]),
        ("PATCH", "/zz", {"tier": "free"}, 404, "not_found", ["There is no key 'zz'"]),
        ("POST", "/zz/rotate", b"", 404, "not_found", ["There is no key 'zz'"]),
        ("POST", "/zz/rotate", {"overlap": "soon"}, 400, "bad_config", ["overlap: found 'soon', expected a duration"]),
        ("POST", "/zz/rotate", [], 400, "bad_config", ["the rotation: found a list"]),
        ("DELETE", "/zz", b"", 404, "not_found", ["There is no key 'zz'"]),
        ("GET", "/zz", b"", 404, "not_found", ["There is no key 'zz'", "`GET /admin/keys` shows all"]),
        ("PUT", "/zz", b"", 405, "method_not_allowed", []),
    ],
)
def test_mistakes_say_what_where_and_the_way_out(
    file: Path, method: str, path: str, body: object, status: int, code: str, words: list[str]
) -> None:
    """In the shape of the admin API's errors, and nothing has been written."""

    async def test(rig: Rig) -> None:
        answer = await rig.ask(method, f"/admin/keys{path}", body)
        assert (answer.status, answer.code) == (status, code)
        assert not [word for word in words if word not in answer.json["error"]["message"]]
        assert not (file.parent / "keys.json").exists()

    over(test, FILED, file)


CHANGES = [("POST", ""), ("PATCH", "/own"), ("POST", "/own/rotate"), ("DELETE", "/own")]


@pytest.mark.parametrize("method, path", [*CHANGES, ("GET", ""), ("GET", "/own")])
def test_without_an_admin_key_nobody_sees_or_changes_keys(file: Path, method: str, path: str) -> None:
    """Not from this machine either: who may connect to a local port could make himself a client."""

    async def test(rig: Rig) -> None:
        answer = await rig.ask(method, f"/admin/keys{path}", {"name": "x"}, headers={})
        assert (answer.status, answer.code) == (403, "forbidden")
        assert "set `admin_key`" in answer.json["error"]["message"]

    over(test, FILED.replace("admin_key: sk-admin-key\n", ""), file)


@pytest.mark.parametrize("method, path", [*CHANGES, ("GET", "")])
def test_a_wrong_admin_key_is_refused(file: Path, method: str, path: str) -> None:
    """For every path."""

    async def test(rig: Rig) -> None:
        answer = await rig.ask(method, f"/admin/keys{path}", {"name": "x"}, headers={"authorization": "Bearer sk-own"})
        assert (answer.status, answer.code) == (401, "unauthorized")

    over(test, FILED, file)


def test_without_a_keys_file_the_way_to_one_is_told(file: Path) -> None:
    """Which line is to be written where."""

    async def test(rig: Rig) -> None:
        answer = await rig.ask("POST", "/admin/keys", {"name": "x"})
        assert (answer.status, answer.code) == (409, "conflict")
        assert f"write `keys_file: keys.json` into {file}" in answer.json["error"]["message"]

    over(test, CONFIG, file)


def test_who_asks_is_logged(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The address, and what it calls itself: shortened, and on one line."""
    caplog.set_level("INFO")

    async def test(rig: Rig) -> None:
        headers = {"authorization": "Bearer sk-admin-key", "x-penstock-actor": "ci\t" + "x" * 200}
        await rig.ask("POST", "/admin/keys", {"name": "x"}, headers=headers)
        await rig.ask("DELETE", "/admin/keys/x")

    over(test, FILED, file)
    lines = [record.getMessage() for record in caplog.records if record.name == "penstock.audit"]
    assert lines == [
        f"the key 'x' was created by 'ci\\t{'x' * 97}' (127.0.0.1:1)", "the key 'x' was revoked by 127.0.0.1:1",
    ]  # fmt: skip


def test_a_gateway_without_keys_is_asked_as_any(file: Path) -> None:
    """An open one has none to show."""

    async def test(rig: Rig) -> None:
        assert (await rig.ask("GET", "/admin/keys")).json == {"keys": [], "after": None}

    over(test, CONFIG, file)
