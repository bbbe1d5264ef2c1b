"""The admin API over a real gateway: every path, who is let in, and what becomes of wrong requests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from starlette.types import ASGIApp

from penstock.base.errors import ConfigError
from penstock.config.load import load
from penstock.config.schema import Settings
from penstock.core.events import ClientGone
from penstock.gateway import admin
from penstock.gateway.admin import build_admin, build_metrics, is_local_name
from penstock.gateway.build import Gateway

CONFIG = """
admin_key: sk-admin-key
pools:
  - name: p
    models: [m]
    probe: {enabled: false}
    replicas: [{url: "http://127.0.0.1:9", id: "a/b:c", models: [m]}, {url: "http://127.0.0.1:10", models: [m]}]
"""
KEYLESS = CONFIG.replace("admin_key: sk-admin-key\n", "")
KEY = {"authorization": "Bearer sk-admin-key"}
NEW = {"pool": "p", "url": "http://127.0.0.1:11", "models": ["m"]}


class Answer:
    """What the application answered."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error in OpenAI's shape; fails where it is none."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert self.status >= 400
        code: str = error["code"]
        return code


class Rig:
    """A gateway that is not started, and its admin application."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.gateway = Gateway(self.read(), self.read, None)
        self.gateway.roster.configured(self.gateway.reloader.settings)
        self.app = build_admin(self.gateway)

    def read(self) -> Settings:
        """What the file says now."""
        return load(self.text, {"HOME": "/root"}, lambda path: Path(path).read_text(encoding="utf-8"))

    async def ask(
        self, method: str, path: str, body: object = b"", headers: dict[str, str] | None = None,
        app: ASGIApp | None = None, chunks: list[dict[str, Any]] | None = None,
    ) -> Answer:  # fmt: skip
        """One request, as ASGI."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        messages = chunks or [{"type": "http.request", "body": data, "more_body": False}]
        sent = {"host": "127.0.0.1:9090", **(KEY if headers is None else headers)}
        plain, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": plain, "raw_path": plain.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items() if value],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 9090),
        }  # fmt: skip
        answer = Answer()

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message["body"]

        await (app or self.app)(scope, receive, send)
        return answer

    @property
    def ids(self) -> list[str]:
        """Who is in the fleet."""
        return [view.id for view in self.gateway.replica_views()]


@asynccontextmanager
async def rigged(text: str = CONFIG) -> AsyncIterator[Rig]:
    """A rig, within five seconds, stopped at its end."""
    async with asyncio.timeout(5):
        rig = Rig(text)
        yield rig
        await rig.gateway.stop()


def over(test: Callable[[Rig], Coroutine[Any, Any, None]], text: str = CONFIG) -> None:
    """Run a test with a rig."""

    async def main() -> None:
        async with rigged(text) as rig:
            await test(rig)

    asyncio.run(main())


# ===== every path =====

READABLE = ["/admin/fleet", "/admin/queues", "/admin/counters", "/admin/journal", "/metrics", "/health"]


def test_what_can_be_read() -> None:
    """Fleet, queues, counters, journal, metrics and health answer with what the gateway knows."""

    async def test(rig: Rig) -> None:
        fleet = (await rig.ask("GET", "/admin/fleet")).json
        assert [view["id"] for view in fleet] == ["a/b:c", "127.0.0.1:10"]
        assert fleet[0]["state"] == "healthy"
        assert [view["name"] for view in (await rig.ask("GET", "/admin/queues")).json] == ["p"]
        counters = (await rig.ask("GET", "/admin/counters")).json
        assert {"flights", "waiting", "seats_taken", "exchanges", "buffered_bytes"} <= set(counters)
        assert not any(counters.values())
        assert (await rig.ask("GET", "/admin/journal?last=1")).json[0][1]["type"] == "FleetSeen"
        page = await rig.ask("GET", "/metrics")
        assert page.headers["content-type"].startswith("text/plain")
        assert b"# TYPE penstock_" in page.body
        assert (await rig.ask("GET", "/health")).json == {"status": "ok"}

    over(test)


def test_add_drain_undrain_remove() -> None:
    """A replica is added, drained, taken back and removed; ids with slashes and colons work in paths."""

    async def test(rig: Rig) -> None:
        added = await rig.ask("POST", "/admin/fleet", {**NEW, "max_concurrent_requests": 3})
        assert (added.status, added.json) == (201, {"added": "127.0.0.1:11"})
        assert rig.gateway.replica_views()[2].seats == 3
        for path, word, state in [("drain", "draining", "draining"), ("undrain", "serving", "healthy")]:
            answer = await rig.ask("POST", f"/admin/fleet/a/b:c/{path}")
            assert (answer.status, answer.json) == (200, {word: "a/b:c"})
            assert rig.gateway.replica_views()[0].state == state
        removed = await rig.ask("DELETE", "/admin/fleet/a/b:c")
        assert (removed.status, removed.json) == (200, {"removed": "a/b:c"})
        assert rig.ids == ["127.0.0.1:10", "127.0.0.1:11"]

    over(test)


def test_reload_over_the_api() -> None:
    """A reload tells what changed; a file with mistakes is 400 with all of them, and changes nothing."""

    async def test(rig: Rig) -> None:
        rig.text = CONFIG.replace("name: p", "name: q")
        answer = await rig.ask("POST", "/admin/reload")
        assert answer.json["changes"][:2] == ["pool p: removed", "pool q: added"]
        rig.text = CONFIG.replace("models:", "modles:")
        answer = await rig.ask("POST", "/admin/reload")
        assert (answer.status, answer.code) == (400, "bad_config")
        assert answer.json["error"]["message"].count("modles") == 3
        assert [pool.name for pool in rig.gateway.pool_views()] == ["q"]

    over(test)


def test_metrics_have_a_door_of_their_own() -> None:
    """The separate metrics application has nothing but the metrics, and asks for no key."""

    async def test(rig: Rig) -> None:
        app = build_metrics(rig.gateway)
        assert (await rig.ask("GET", "/metrics", headers={}, app=app)).status == 200
        for path in READABLE[:4]:
            assert (await rig.ask("GET", path, headers={}, app=app)).code == "not_found"

    over(test)


@pytest.mark.parametrize(
    "method, path, status, code, allow",
    [
        ("GET", "/nothing", 404, "not_found", None),
        ("GET", "/admin/queues/", 404, "not_found", None),
        ("DELETE", "/admin/fleet/x", 404, "not_found", None),
        ("POST", "/admin/fleet/x/drain", 404, "not_found", None),
        ("POST", "/admin/queues", 405, "method_not_allowed", "GET, HEAD"),
        ("PUT", "/admin/fleet", 405, "method_not_allowed", "GET, HEAD, POST"),
        ("GET", "/admin/reload", 405, "method_not_allowed", "POST"),
    ],
)
def test_what_is_not_there(method: str, path: str, status: int, code: str, allow: str | None) -> None:
    """Unknown paths, replicas and methods are answered in OpenAI's shape, never with a redirect."""

    async def test(rig: Rig) -> None:
        answer = await rig.ask(method, path)
        assert (answer.status, answer.code, answer.headers.get("allow")) == (status, code, allow)

    over(test)


# ===== who is let in =====


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


# ===== wrong requests =====


@pytest.mark.parametrize(
    "body, status, code, words",
    [
        (b"", 400, "bad_config", "url"),
        (b"{", 400, "bad_request", "not JSON"),
        (b"\xff\xfe", 400, "bad_request", "not JSON"),
        (b"[" * 200_000, 400, "bad_request", "not JSON"),
        (b'{"weight": ' + b"9" * 10_000 + b"}", 400, "bad_request", "not JSON"),
        (b"[]", 400, "bad_config", "a mapping with `pool` and `url`"),
        (b"null", 400, "bad_config", "a mapping"),
        ({**NEW, "url": "ftp://10.0.0.1"}, 400, "bad_config", "only http and https"),
        ({**NEW, "url": "http://user:pw@10.0.0.1"}, 400, "bad_config", "leave out the user"),
        ({**NEW, "url": "http://10.0.0.1/?a=b"}, 400, "bad_config", "leave out the query"),
        ({**NEW, "url": "http://evil.example\r\nhost: x"}, 400, "bad_config", "neither spaces"),
        ({**NEW, "url": 5}, 400, "bad_config", "url"),
        ({**NEW, "seats": 5}, 400, "bad_config", "seats"),
        ({**NEW, "weight": float("nan")}, 400, "bad_config", "weight"),
        ({**NEW, "max_concurrent_requests": 0}, 400, "bad_config", "max_concurrent_requests"),
        ({**NEW, "headers": {"host": "evil.example"}}, 400, "bad_config", "the gateway writes this header itself"),
        ({**NEW, "headers": {"x-a": "b\r\nx-c: d"}}, 400, "bad_config", "on one line"),
        ({**NEW, "api_key": "file:/etc/hostname"}, 400, "bad_config", "api_key"),
        ({**NEW, "headers": {"x-a": "file:/etc/hostname"}}, 400, "bad_config", "x-a"),
        ({**NEW, "pool": "q"}, 404, "not_found", "there is no pool 'q'"),
        ({**NEW, "url": "http://127.0.0.1:10"}, 409, "conflict", "in the fleet already"),
        (b" " * (admin.MAX_BODY_BYTES + 1), 413, "body_too_large", "larger than"),
    ],
)
def test_replicas_that_cannot_be_added(body: object, status: int, code: str, words: str) -> None:
    """Bad JSON, too large bodies, and whatever the file would refuse too, are told, and the fleet stays as it was."""

    async def test(rig: Rig) -> None:
        answer = await rig.ask("POST", "/admin/fleet", body)
        assert (answer.status, answer.code) == (status, code)
        assert words in answer.json["error"]["message"]
        assert len(rig.ids) == 2

    over(test)


def test_nothing_of_ours_is_read_for_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables and files are not looked up for who adds a replica: else he could have them sent to himself."""
    monkeypatch.setenv("PENSTOCK_TEST_SECRET", "sesame")

    async def test(rig: Rig) -> None:
        headers = {"x-a": "${PENSTOCK_TEST_SECRET}"}
        body = {**NEW, "api_key": "${PENSTOCK_TEST_SECRET}", "headers": headers}
        answer = await rig.ask("POST", "/admin/fleet", body)
        assert b"sesame" not in answer.body
        for access in rig.gateway.roster.effective().access.values():
            assert "sesame" not in str((access.api_key, access.headers))

    over(test)


def test_secrets_are_never_shown() -> None:
    """What a replica is shown (key, headers) stands in no answer of the admin API."""

    async def test(rig: Rig) -> None:
        body = {**NEW, "api_key": "sk-hidden-1", "headers": {"x-secret": "hidden-2"}}
        assert (await rig.ask("POST", "/admin/fleet", body)).status == 201
        for path in READABLE:
            page = (await rig.ask("GET", path)).body
            assert b"hidden" not in page
            assert b"sk-admin" not in page

    over(test)


@pytest.mark.parametrize("last", ["0", "-1", "10001", "999999", "x", "", "1e3", "²", "1.5"])
def test_the_journal_tail_is_bounded(last: str) -> None:
    """Only 1 to 10000 entries can be asked for."""

    async def test(rig: Rig) -> None:
        answer = await rig.ask("GET", f"/admin/journal?last={last}")
        assert (answer.status, answer.code) == (400, "bad_request")

    over(test)


def test_the_journal_tail_is_the_newest() -> None:
    """The last entries come oldest first, at most as many as were asked for."""

    async def test(rig: Rig) -> None:
        for number in range(5):
            rig.gateway.pump.tell(ClientGone(f"c{number}"))
        turns = (await rig.ask("GET", "/admin/journal?last=2")).json
        assert [turn[1]["id"] for turn in turns] == ["c3", "c4"]
        assert len((await rig.ask("GET", "/admin/journal?last=10000")).json) == 6

    over(test)


def test_slow_and_vanishing_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come in time is 408; a client that leaves within its body is no bug."""
    monkeypatch.setattr(admin, "BODY_S", 0.01)
    begun = {"type": "http.request", "body": b"{", "more_body": True}

    async def test(rig: Rig) -> None:
        answer = await rig.ask("POST", "/admin/fleet", chunks=[begun])
        assert (answer.status, answer.code) == (408, "request_timeout")
        answer = await rig.ask("POST", "/admin/fleet", chunks=[begun, {"type": "http.disconnect"}])
        assert answer.code == "client_gone"

    over(test)


def test_a_bug_shows_nothing_of_our_insides(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception becomes 500 in OpenAI's shape without its words, and goes on to the server, which logs it."""

    async def test(rig: Rig) -> None:
        async def outside(scope: Any, receive: Any, send: Any) -> None:
            with pytest.raises(KeyError):
                await rig.app(scope, receive, send)

        def fail() -> None:
            raise KeyError("secret insides")

        monkeypatch.setattr(rig.gateway, "pool_views", fail)
        answer = await rig.ask("GET", "/admin/queues", app=outside)
        assert (answer.status, answer.code) == (500, "internal")
        assert b"insides" not in answer.body

    over(test)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(["pool", "url", "id", "models", "weight", "headers", "tls", "engine"]), JSON)


@profile(max_examples=8)
@given(st.lists(FIELDS | JSON, min_size=8, max_size=12))
def test_any_json_is_answered(bodies: list[Any]) -> None:
    """Whatever JSON is sent as a replica is added or refused with 4xx; the fleet is still one that can be shown."""

    async def test(rig: Rig) -> None:
        for body in bodies:
            whole = {**NEW, **body} if isinstance(body, dict) else body
            answer = await rig.ask("POST", "/admin/fleet", json.dumps(whole).encode("utf-8", "surrogatepass"))
            assert answer.status in (201, 400, 404, 409)
            assert answer.status == 201 or answer.code
        msgspec.json.encode(rig.gateway.replica_views())

    over(test)


def test_config_errors_are_lists() -> None:
    """Several mistakes at once are told one a line."""

    async def test(rig: Rig) -> None:
        def refuse(raw: Any) -> Any:
            raise ConfigError(["first", "second"])

        rig.gateway.parse_replica = refuse  # type: ignore[method-assign]
        answer = await rig.ask("POST", "/admin/fleet", NEW)
        assert answer.json["error"]["message"] == "first\nsecond"

    over(test)
