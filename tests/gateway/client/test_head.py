"""Judging heads: routes, keys, what travels on, and that remembering a head changes nothing."""

import hashlib

import msgspec
import pytest

from penstock.adapters.wire.malformed import Malformed
from penstock.base.nouns import Region
from penstock.config.schema import KeyTerms, ServerSpec
from penstock.core.regions import RegionsSpec
from penstock.gateway.client.head import Head, Memory, Peer, cookie_line, session_of

SERVER = ServerSpec(open=False, key_names={hashlib.sha256(b"sk-1").hexdigest(): "one"})
OPEN = ServerSpec()
PEER = Peer(b"10.0.0.9", trusted=False)
PROXY = Peer(b"10.0.0.1", trusted=True, scheme=b"https")


def read(
    lines: str, path: str = "/v1/chat/completions", method: str = "POST", server: ServerSpec = OPEN, peer: Peer = PEER
) -> Head:
    """A judged head."""
    return Memory().read(f"{method} {path} HTTP/1.1\r\nHost: A.example:80\r\n{lines}\r\n".encode(), peer, server)[0]


def test_route_host_and_path_are_found() -> None:
    """Path without query, host without port and in lower case."""
    head = read("", "/v1/embeddings?x=1")
    assert (head.path, head.host, head.refusal) == ("/v1/embeddings", "a.example", None)
    assert head.target == b"/v1/embeddings?x=1"


@pytest.mark.parametrize(
    ("told", "host"), [("A.b", "a.b"), ("a.b:80", "a.b"), ("[::1]", "[::1]"), ("[FE80::1]:80", "[fe80::1]")]
)
def test_a_host_is_known_without_its_port(told: str, host: str) -> None:
    """An address of IPv6 has colons of its own."""
    raw = f"POST /v1/embeddings HTTP/1.1\r\nHost: {told}\r\n\r\n".encode()
    assert Memory().read(raw, PEER, OPEN)[0].host == host


@pytest.mark.parametrize(
    "path,method,label",
    [
        ("/nothing", "POST", "not_found"),
        ("/v1/chat/completions", "GET", "method_not_allowed"),
        ("/v1/chat/completions", "HEAD", "method_not_allowed"),
        ("/v1/models", "POST", "method_not_allowed"),
        ("/v1/models", "DELETE", "method_not_allowed"),
    ],
)
def test_paths_and_methods_that_do_not_exist_are_refused(path: str, method: str, label: str) -> None:
    """404 and 405."""
    refusal = read("", path, method).refusal
    assert refusal is not None
    assert refusal[0] == label


@pytest.mark.parametrize(
    "lines", ["Authorization: Bearer sk-1\r\n", "authorization: bearer  sk-1\r\n", "X-Api-Key: sk-1\r\n"]
)
def test_a_known_key_gives_its_name(lines: str) -> None:
    """As a bearer token or in x-api-key."""
    assert read(lines, server=SERVER).key == "one"


@pytest.mark.parametrize(
    "lines",
    [
        "", "Authorization: Bearer sk-2\r\n", "Authorization: Bearer \r\n", "Authorization: Basic sk-1\r\n",
        "Authorization: sk-1\r\n",
        "X-Api-Key: \r\n", "Authorization: Bearer sk-1\r\nX-Api-Key: sk-2\r\n", "Authorization: Bearer sk-1 sk-1\r\n",
    ],
)  # fmt: skip
def test_no_or_another_key_is_refused(lines: str) -> None:
    """401, also where two headers disagree."""
    assert read(lines, server=SERVER).refusal == ("unauthorized", "")


def test_two_content_types_are_refused() -> None:
    """Which of them the engine reads decides what the body says."""
    form, json = "Content-Type: multipart/form-data; boundary=a\r\n", "content-type: application/json\r\n"
    assert read(form + json).refusal == ("bad_http", "Content-Type must be given once.")
    assert read(json).refusal is None


def test_health_needs_no_key() -> None:
    """A load balancer in front has none."""
    assert read("", "/health", "GET", SERVER).refusal is None


def test_what_travels_on() -> None:
    """End-to-end headers travel; hop-by-hop ones, secrets, framing and our own names do not."""
    head = read(
        "User-Agent: ua\r\nTraceparent: 00-1\r\nX-Mine: a  b\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n"
        "TE: trailers\r\nCookie: c\r\nAuthorization: Bearer sk-1\r\nX-Api-Key: sk-1\r\nApi-Key: z\r\n"
        "Accept-Encoding: gzip\r\nContent-Length: 5\r\nExpect: 100-continue\r\nX-Forwarded-For: 6.6.6.6\r\n"
        "Forwarded: for=6.6.6.6\r\nX-Penstock-Replica: r\r\nX-Request-Id: id\r\n"
    )
    assert head.forward == (
        b"user-agent: ua\r\ntraceparent: 00-1\r\nx-mine: a  b\r\n"
        b"x-forwarded-for: 10.0.0.9\r\nx-forwarded-proto: http\r\n"
    )
    assert (head.client_id, head.gzip, head.expect) == ("id", True, True)


def test_a_stream_that_an_engine_would_keep_is_not_named_there() -> None:
    """llama-server goes on with a stream named by X-Conversation-Id when its client leaves, and a second client of that
    name ends it; a session may be named by that header all the same."""
    lines = "X-Conversation-Id: mine\r\n"
    assert b"conversation" not in read(lines).forward
    assert read(lines, server=ServerSpec(session_headers=("x-conversation-id",))).session == session_of(b"mine")


def test_only_trusted_proxies_are_believed() -> None:
    """Their X-Forwarded-For is continued; anybody else's is replaced."""
    lines = "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nX-Forwarded-Proto: http\r\n"
    assert (
        b"x-forwarded-for: 1.2.3.4, 5.6.7.8, 10.0.0.1\r\nx-forwarded-proto: http\r\n" in read(lines, peer=PROXY).forward
    )
    assert b"x-forwarded-for: 10.0.0.9\r\nx-forwarded-proto: http\r\n" in read(lines).forward
    assert b"x-forwarded-proto: https" in read("X-Forwarded-Proto: evil\r\n", peer=PROXY).forward


@pytest.mark.parametrize(
    "value,taken", [("a" * 128, True), ("a" * 129, False), ("a b", False), ("", False), ("é", False)]
)
def test_a_clients_id_is_taken_when_it_is_short_and_visible(value: str, taken: bool) -> None:
    """Up to 128 visible ASCII characters."""
    assert read(f"X-Request-Id: {value}\r\n").client_id == (value if taken else "")


@pytest.mark.parametrize(
    "value,taken",
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5, br", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0", False),
        ("br", False),
        ("xgzip", False),
    ],
)
def test_accepting_gzip_is_understood(value: str, taken: bool) -> None:
    """With and without a weight."""
    assert read(f"Accept-Encoding: {value}\r\n").gzip is taken


def raw(lines: str) -> bytes:
    """A head."""
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()


def test_a_head_that_differs_only_in_its_length_is_remembered() -> None:
    """The same verdict object, another length."""
    memory = Memory()
    first, length = memory.read(raw("Content-Length: 5\r\nX: y\r\n"), PEER, OPEN)
    assert length == 5
    assert memory.read(raw("Content-Length: 70\r\nX: y\r\n"), PEER, OPEN) == (first, 70)
    assert memory.read(raw("X: y\r\nContent-Length: 8\r\n"), PEER, OPEN)[1] == 8


def test_other_heads_and_other_settings_are_read_afresh() -> None:
    """Another header, no length, or a reload: the verdict is made again."""
    memory = Memory()
    first, _ = memory.read(raw("Content-Length: 5\r\nX: y\r\n"), PEER, OPEN)
    for lines, server in (
        ("Content-Length: 5\r\nX: z\r\n", OPEN),
        ("X: y\r\n", OPEN),
        ("Content-Length: 5\r\nX: y\r\n", SERVER),
    ):
        again, _ = memory.read(raw(lines), PEER, server)
        assert again is not first
        memory = Memory()
        first, _ = memory.read(raw("Content-Length: 5\r\nX: y\r\n"), PEER, OPEN)


@pytest.mark.parametrize(
    "before,after",
    [
        ("Content-Length: 5\r\nX: y\r\n", "Content-Length: 5\r\nContent-Length: 5\r\nX: y\r\n"),
        ("Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("Content-Length: 5\r\n", "Content-Length: +5\r\n"),
        ("Content-Length: 5\r\n", "Content-Length: 5\r\n 0\r\n"),
        ("CONTENT-LENGTH: 5\r\n", "Content-Length: 6\r\nCONTENT-LENGTH: 5\r\n"),
    ],
)
def test_remembering_opens_no_hole(before: str, after: str) -> None:
    """What is refused on a fresh connection is refused behind any remembered head."""
    memory = Memory()
    memory.read(raw(before), PEER, OPEN)
    with pytest.raises(Malformed):
        memory.read(raw(after), PEER, OPEN)


def test_lengths_of_all_spellings_are_read() -> None:
    """The short cut knows one spelling; the others still count."""
    memory = Memory()
    for lines, length in (
        ("CONTENT-LENGTH: 5\r\n", 5), ("Content-Length:   6\r\n", 6), ("Content-Length:7 \r\n", 7),
        ("content-length: 0\r\n", 0),
        ("CONTENT-LENGTH: 0\r\n", 0), ("CONTENT-LENGTH: 9\r\n", 9), ("Transfer-Encoding: chunked\r\n", 0), ("", 0),
    ):  # fmt: skip
        for _ in range(2):
            head, found = memory.read(raw(lines), PEER, OPEN)
            assert found == length
            assert head.chunked == lines.startswith("Transfer")


SESSIONS = ServerSpec(session_headers=("x-session-id", "x-chat"), session_cookies=("sid",))


@pytest.mark.parametrize(
    "lines,named",
    [
        ("X-Session-Id: one\r\n", b"one"),
        ("X-Chat: two\r\nX-Session-Id: one\r\n", b"one"),
        ("X-Chat: two\r\nCookie: sid=three\r\n", b"two"),
        ("Cookie: a=b; sid=three; c=d\r\n", b"three"),
        ("Cookie: sid=first; sid=second\r\n", b"first"),
        ("X-Session-Id: \r\nCookie: xsid=1; sid; =; ;;\r\n", b""),
        ("X-Other: one\r\n", b""),
    ],
)
def test_a_session_is_named_by_header_else_by_cookie(lines: str, named: bytes) -> None:
    """In the order of the configuration; what reaches the journal is a digest, never the name itself."""
    found = read(lines, server=SESSIONS).session
    assert found == (session_of(named) if named else "")
    assert len(session_of(b"x" * 60_000)) == 16
    assert read(lines).session == ""


def test_the_cookie_that_is_given_is_for_this_host_alone() -> None:
    """Not for scripts or other sites, for as long as the session is remembered; a name may hold a percent sign."""
    assert cookie_line("a%b", 600.0, False) % b"X" == (
        b"set-cookie: a%b=X; Max-Age=600; Path=/; HttpOnly; SameSite=Lax\r\n"
    )
    assert b"; Secure\r\n" in cookie_line("s", 0.5, True)


def test_a_key_brings_its_tenant_and_how_long_answers_may_be() -> None:
    """By the key's terms; without terms the tenant has the key's name, and without a key it is anonymous."""
    digest = hashlib.sha256(b"sk-1").hexdigest()
    terms = {digest: KeyTerms(tenant="acme", tier="free", most_tokens=9)}
    made = ServerSpec(open=False, key_names={digest: "one"}, key_terms=terms, most_tokens=5)
    head = read("Authorization: Bearer sk-1\r\n", server=made)
    assert (head.key, head.tenant, head.tier, head.most_tokens) == ("one", "acme", "free", 9)
    head = read("Authorization: Bearer sk-1\r\n", server=SERVER)
    assert (head.key, head.tenant, head.most_tokens) == ("one", "one", None)
    head = read("", server=ServerSpec(most_tokens=5))
    assert (head.key, head.tenant, head.most_tokens) == ("", "anonymous", 5)


REGIONS = RegionsSpec(places={"eu": Region(), "us": Region()}, here="eu", round_trips={"eu": {"us": 0.07}})
FROM_US = "x-penstock-region: us\r\n"


@pytest.mark.parametrize(
    ("who", "peer", "lines", "region"),
    [
        ("proxies", PROXY, FROM_US, "us"),
        ("proxies", PEER, FROM_US, "eu"),
        ("anybody", PEER, FROM_US, "us"),
        ("nobody", PROXY, FROM_US, "eu"),
        ("proxies", PROXY, "x-penstock-region: mars\r\n", "eu"),
        ("proxies", PROXY, "", "eu"),
    ],
)
def test_a_region_is_believed_as_configured(who: str, peer: Peer, lines: str, region: str) -> None:
    """By default that of trusted proxies; else, and where it is none of ours, the call comes from here. The replica
    does not see the header."""
    server = ServerSpec(regions=msgspec.structs.replace(REGIONS, header=who))
    head = read(lines, server=server, peer=peer)
    assert (head.region, head.refusal) == (region, None)
    assert b"x-penstock-region" not in head.forward


def test_without_regions_a_call_has_none() -> None:
    """Whatever a header says."""
    assert read(FROM_US, peer=PROXY).region == ""


def test_a_key_that_expires_is_refused_from_then_on_though_its_head_is_remembered() -> None:
    """The verdict on a head may be kept for as long as its connection; the time is asked for with each request."""
    digest = hashlib.sha256(b"sk-1").hexdigest()
    server = ServerSpec(open=False, key_names={digest: "one"}, key_terms={digest: KeyTerms(expires_at=1000.0)})
    head = read("Authorization: Bearer sk-1\r\n", server=server)
    assert head.refused(999.9) is None
    assert head.refused(1000.0) == ("unauthorized", "This API key has expired.")
    assert read("", server=server).refused(0.0) == ("unauthorized", "")


def test_the_models_of_a_key_go_with_it() -> None:
    """What a key may ask for stands in the head; None where it may ask for all."""
    digest = hashlib.sha256(b"sk-1").hexdigest()
    server = ServerSpec(open=False, key_names={digest: "one"}, key_terms={digest: KeyTerms(models=("a", "b"))})
    assert read("Authorization: Bearer sk-1\r\n", server=server).models == frozenset("ab")
    assert read("Authorization: Bearer sk-1\r\n", server=SERVER).models is None
