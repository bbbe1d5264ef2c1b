"""Who the admin API lets in: those who show its key, or, without one, this machine's own tools and no web page."""

from hashlib import sha256

import pytest

from penstock.gateway.admin.admin import is_local_name
from tests.helpers.admin import CONFIG, KEY, KEYLESS, READABLE, Rig, over


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer ", "Bearer sk-admin", "sk-admin-key", "Basic sk-admin-key", "Bearer sk-admin-key2"]
)
def test_without_the_key_nothing_is_told(shown: str) -> None:
    """With an admin key set, every path, unknown ones too, is 401 for who does not show it as a bearer token."""

    async def test(rig: Rig) -> None:
        for path in [*READABLE, "/nothing"]:
            answer = await rig.ask("GET", path, headers={"authorization": shown})
            assert (answer.status, answer.code) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        await rig.ask("DELETE", "/admin/fleet/127.0.0.1:10", headers={"authorization": shown})
        assert len(rig.ids) == 2

    over(test)


def test_the_key_opens_from_anywhere() -> None:
    """Who shows the key may come under any host name, from any page, and write the scheme as he likes."""

    async def test(rig: Rig) -> None:
        foreign = {"host": "penstock.example", "origin": "https://ops.example"}
        assert (await rig.ask("GET", "/admin/fleet", headers={**KEY, **foreign})).status == 200
        spelt = {"authorization": "bearer  sk-admin-key"}
        assert (await rig.ask("GET", "/admin/fleet", headers=spelt)).status == 200

    over(test)


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes are compared by hmac.compare_digest, which takes as long for a near miss as for a far one."""
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)

    async def test(rig: Rig) -> None:
        assert (await rig.ask("GET", "/health", headers={"authorization": "Bearer x"})).status == 401
        assert (await rig.ask("GET", "/health")).status == 200

    over(test)
    right = sha256(b"sk-admin-key").hexdigest()
    assert compared == [(sha256(b"x").hexdigest(), right), (right, right)]


def test_a_reload_changes_the_key() -> None:
    """A new admin key holds from the reload on, and the old one is worth nothing."""

    async def test(rig: Rig) -> None:
        rig.text = CONFIG.replace("sk-admin-key", "sk-admin-other")
        assert "admin_key: changed" in (await rig.ask("POST", "/admin/reload")).json["changes"]
        assert (await rig.ask("GET", "/health")).status == 401
        new = {"authorization": "Bearer sk-admin-other"}
        assert (await rig.ask("GET", "/health", headers=new)).status == 200

    over(test)


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"host": "localhost:9090"}, 200),
        ({"host": "[::1]:9090"}, 200),
        ({"host": "127.0.0.1:9090", "origin": "http://127.0.0.1:9090"}, 200),
        ({"host": "evil.example:9090"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": ""}, 403),
        ({"host": "127.0.0.1:9090", "origin": "http://evil.example"}, 403),
        ({"host": "127.0.0.1:9090", "origin": "http://127.0.0.1:8080"}, 403),
        ({"host": "127.0.0.1:9090", "origin": "null"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 403),
    ],
)
def test_without_a_key_only_this_machines_tools(headers: dict[str, str], status: int) -> None:
    """Without a key, web pages of other origins and host names that may be anybody's (DNS rebinding) are refused."""

    async def test(rig: Rig) -> None:
        for method, path in [("GET", "/admin/fleet"), ("POST", "/admin/fleet/a/b:c/drain"), ("GET", "/metrics")]:
            answer = await rig.ask(method, path, headers=headers)
            assert answer.status == status
            assert status == 200 or answer.code == "forbidden"
        assert rig.gateway.replica_views()[0].state == ("draining" if status == 200 else "healthy")

    over(test, KEYLESS)


@pytest.mark.parametrize(
    "host, local",
    [
        ("127.0.0.1", True), ("10.1.2.3:80", True), ("LocalHost:1", True), ("[::1]", True), ("[fe80::1]:9", True),
        ("localhost.evil.example", False), ("1.2.3.4:80:90", False), ("user@127.0.0.1", False), (":80", False),
        ("127.0.0.1:80a", False), ("0x7f.1", False),
    ],
)  # fmt: skip
def test_names_of_this_machine(host: str, local: bool) -> None:
    """A host is local when it is a number or localhost: both can only be what they say."""
    assert is_local_name(host) is local
