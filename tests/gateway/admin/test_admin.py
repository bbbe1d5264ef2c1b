"""The admin API over a real gateway: every path, and what becomes of wrong requests."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from penstock.base.errors import ConfigError
from penstock.base.nouns import Call
from penstock.core.events import Arrived, ClientGone
from penstock.gateway.admin import admin
from penstock.gateway.admin.admin import build_metrics
from tests.helpers.admin import CONFIG, NEW, READABLE, Rig, over

# ===== every path =====


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
        assert (await rig.ask("GET", "/admin/tenants")).json == []

    over(test)


def test_tenants_and_their_limits_are_shown() -> None:
    """Those that the file names, before any call of theirs."""

    async def test(rig: Rig) -> None:
        (tenant,) = (await rig.ask("GET", "/admin/tenants")).json
        assert (tenant["kind"], tenant["name"], tenant["in_flight"], tenant["waiting"]) == ("tenant", "acme", 0, 0)
        assert tenant["limits"] == [
            {"what": "requests per minute", "limit": 5.0, "used": 0.0, "held": 0.0, "left": 5.0, "free_s": 0.0}
        ]

    over(test, CONFIG + "tenants: [{name: acme, limits: {requests_per_minute: 5}}]\n")


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


def test_an_agent_pushes_readings_of_gpus() -> None:
    """They are shown with the replica; one that is not in the fleet, and numbers that cannot be, are told."""

    async def test(rig: Rig) -> None:
        path = "/admin/fleet/a/b:c/gpus"
        pushed = await rig.ask("POST", path, [{"index": 0, "uuid": "GPU-1", "utilisation": 0.5}])
        assert (pushed.status, pushed.json) == (200, {"replica": "a/b:c", "gpus": 1})
        shown = (await rig.ask("GET", "/admin/fleet")).json
        assert [each["gpus"] and each["gpus"][0]["utilisation"] for each in shown] == [0.5, None]
        wrong = await rig.ask("POST", path, [{"index": 0, "utilisation": 50}])
        assert (wrong.status, wrong.code) == (400, "bad_config")
        assert (await rig.ask("POST", "/admin/fleet/zz/gpus", [])).status == 404

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
        ({**NEW, "weight": 0}, 400, "bad_config", "weight"),
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


@pytest.mark.parametrize("wrong", [rb'"\ud800"', b"NaN", b"Infinity", b"[" * 100_000, b"1e999", b"\xff"])
def test_what_is_no_json_is_refused(wrong: bytes) -> None:
    """Half a character, numbers that are none, and nests without end: 400, before anything has been made of them."""

    async def test(rig: Rig) -> None:
        body = b'{"pool": "p", "url": "http://127.0.0.1:11", "models": [' + wrong + b"]}"
        for path in ("/admin/fleet", "/admin/cache/invalidate"):
            answer = await rig.ask("POST", path, body)
            assert (answer.status, answer.code) == (400, "bad_request")
        assert rig.ids == ["a/b:c", "127.0.0.1:10"]

    over(test, CONFIG + "cache: {}\n")


def test_config_errors_are_lists() -> None:
    """Several mistakes at once are told one a line."""

    async def test(rig: Rig) -> None:
        def refuse(raw: Any) -> Any:
            raise ConfigError(["first", "second"])

        rig.gateway.parse_replica = refuse  # type: ignore[method-assign]
        answer = await rig.ask("POST", "/admin/fleet", NEW)
        assert answer.json["error"]["message"] == "first\nsecond"

    over(test)


# ===== explanations =====


def called(rig: Rig, id: str, **fields: Any) -> None:
    """A call comes and its client leaves."""
    rig.gateway.pump.tell(Arrived(Call(id, model="m", **fields)))
    rig.gateway.pump.tell(ClientGone(id))


def test_a_call_is_explained_by_either_id() -> None:
    """By ours or its client's, slashes and all."""

    async def test(rig: Rig) -> None:
        called(rig, "c1", client_id="my/id")
        for id in ("c1", "my/id"):
            found = (await rig.ask("GET", f"/admin/explain/{id}")).json
            assert (found["id"], found["outcome"], found["over"]) == ("c1", "client_gone", True)
            assert found["choices"][0]["replica"] in rig.ids
            assert set(found["choices"][0]["candidates"][0]["scores"]) == {"load", "latency", "errors", "gpu"}

    over(test)


def test_the_last_calls_are_listed_with_filters() -> None:
    """Newest first; a filter that there is none is a mistake."""

    async def test(rig: Rig) -> None:
        called(rig, "c1")
        called(rig, "c2", tenant="t")
        asked = {"": ["c2", "c1"], "?last=1": ["c2"], "?tenant=t&outcome=error": ["c2"], "?model=n": []}
        for query, ids in asked.items():
            assert [call["id"] for call in (await rig.ask("GET", f"/admin/explain{query}")).json] == ids
        for query in ("?last=0", "?last=x", "?tenent=t"):
            wrong = await rig.ask("GET", f"/admin/explain{query}")
            assert (wrong.status, wrong.code) == (400, "bad_request")

    over(test)


def test_why_a_call_cannot_be_explained() -> None:
    """Never heard of, forgotten since, or switched off: three answers."""

    async def test(rig: Rig) -> None:
        wrong = await rig.ask("GET", "/admin/explain/c1")
        assert (wrong.status, wrong.code) == (404, "unknown")
        plane = rig.gateway.plane
        plane._requests = 1
        for id, status, code in [(f"{plane._prefix}-1", 410, "forgotten"), (f"{plane._prefix}-2", 404, "unknown")]:
            wrong = await rig.ask("GET", f"/admin/explain/{id}")
            assert (wrong.status, wrong.code) == (status, code)

    over(test)

    async def off(rig: Rig) -> None:
        called(rig, "c1")
        wrong = await rig.ask("GET", "/admin/explain/c1")
        assert (wrong.status, wrong.code) == (404, "off")
        assert (await rig.ask("GET", "/admin/explain")).json == []

    over(off, CONFIG + "explain: {calls: 0}\n")


def test_explanations_ask_for_the_key() -> None:
    """Like all else of the admin API."""

    async def test(rig: Rig) -> None:
        for path in ("/admin/explain", "/admin/explain/c1"):
            assert (await rig.ask("GET", path, headers={})).status == 401

    over(test)
