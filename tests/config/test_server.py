"""The gateway's body: addresses, who may call, TLS, and numbers that cannot work."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import pytest

from tests.config.support import POOL, load_text, mistakes_of

PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "line, mistake",
    [
        ("listen: '8080'", "listen (line 2): found '8080', expected host:port, like 127.0.0.1:8080, [::1]:8080, or :8080 for all addresses; write 127.0.0.1:8080, or :8080 for all addresses"),
        ("listen: ':80'", "listen (line 2): 0.0.0.0:80 can be reached from outside, and there are no keys; add `keys`, bind 127.0.0.1, or write `auth: none` if everybody may call"),
        ("admin: ':81'", "admin (line 2): 0.0.0.0:81 can be reached from outside; set `admin_key`, or bind 127.0.0.1"),
        ("admin: 127.0.0.1:8080", "admin (line 2): 127.0.0.1:8080 is taken by `listen`; choose another port"),
        ("metrics: ':9090'", "metrics (line 2): 0.0.0.0:9090 is taken by `admin`; choose another port"),
        ("auth: keys", "auth (line 2): there are no keys; add some under `keys`, or write `auth: none`"),
        ("{auth: none, keys: [{name: a, key: b}]}", "auth (line 2): with `none` nobody is asked for a key, and there are keys; leave out one of the two"),
        ("auth: non", "auth (line 2): found 'non', expected one of keys, none or null; did you mean `none`?"),
        ("trusted_proxies: [me]", "trusted_proxies[0] (line 2): found 'me', expected an address or a network, like 10.0.0.0/8"),
        ("trusted_proxies: [10.1.0.0/8]", "trusted_proxies[0] (line 2): found '10.1.0.0/8', expected an address or a network, like 10.0.0.0/8; did you mean 10.0.0.0/8?"),
        ("tls: {cert: /c}", "tls.key (line 2): missing, expected file with the private key, PEM"),
        ("tls: {cert: /x, key: /k}", "tls.cert (line 2): the file '/x' cannot be read (No such file or directory)"),
        ("tls: {cert: /c, key: /c}", "tls.key (line 2): the file '/c' has no PRIVATE KEY block, expected PEM"),
        ("timeouts: {connect: 0}", "timeouts.connect (line 2): found 0, expected more than 0"),
        ("probe: {interval: 1ms}", "probe.interval (line 2): found 0.001 s, expected at least 50ms"),
        ("scrape: {timeout: 0s}", "scrape.timeout (line 2): found 0, expected more than 0"),
        ("probe: {status: [300, 200]}", "probe.status (line 2): expected the lowest and the highest status, between 100 and 599"),
        ("probe: {path: health}", "probe.path (line 2): found 'health', expected a path; it begins with /"),
        ("limits: {body: 2GiB}", "limits.buffered (line 2): it is less than `body`, so a body of that size could never be taken"),
    ],
)  # fmt: skip
def test_wrong_bodies_are_told(line: str, mistake: str) -> None:
    """Each mistake of the body, by its exact words."""
    text = f"{POOL}{line.strip('{}') if line.startswith('{') else line}".replace("none, keys", "none\nkeys")
    assert mistakes_of(text, files={"/c": PEM, "/k": KEY}) == [mistake]


def test_a_strategy_that_would_divide_by_zero_is_told() -> None:
    """A pool's numbers are looked at as well."""
    text = "pools: [{name: p, strategy: {kind: adaptive, latency_reference_s: 0}, replicas: [{url: 'http://h:1'}]}]"
    assert mistakes_of(text) == ["pools[0].strategy.latency_reference_s (line 1): found 0, expected more than 0"]


@pytest.mark.parametrize(
    "text, is_open",
    [("", True), ("auth: none\nlisten: ':80'", True), ("keys: [{name: a, key: b}]", False), ("auth: keys\nkeys: [{name: a, key: b}]", False)],
)  # fmt: skip
def test_who_may_call(text: str, is_open: bool) -> None:
    """Keys close the gateway; without keys it is open on loopback, or where that is written."""
    assert load_text(POOL + text).server.open is is_open


def test_an_admin_address_beyond_loopback_needs_a_key() -> None:
    """With an admin_key any address will do."""
    assert load_text(POOL + "admin: ':81'\nadmin_key: '${K}'", {"K": "sk"}).server.admin == ("0.0.0.0", 81)


def test_the_body_is_complete() -> None:
    """Every part of the body arrives."""
    text = (
        "metrics: ':9091'\ntls: {cert: /c, key: /k}\ntrusted_proxies: [10.0.0.1]\njournal: /j\ntimeouts: {drain: 3s}\n"
    )
    server = load_text(POOL + text, files={"/c": PEM, "/k": KEY}).server
    assert server.tls is not None
    assert (server.tls.cert, server.tls.key) == ("/c", "/k")
    assert (server.metrics, server.trusted_proxies, server.journal) == (("0.0.0.0", 9091), ("10.0.0.1/32",), "/j")
    assert server.timeouts.drain_s == 3.0


def test_a_ledger_has_a_database_that_can_be_one() -> None:
    """What is no URL of SQLite or PostgreSQL is a mistake that does not show it; so is a journal without room."""
    for right in ("sqlite:////var/l.db", "postgresql://h/d", "postgres://u:p@h/d"):
        assert load_text(POOL + f"ledger: {{folder: l, database: '{right}'}}").server.ledger is not None
    (mistake,) = mistakes_of(POOL + "ledger: {folder: l, database: 'mysql://u:sesame@h/d'}")
    assert mistake.startswith("ledger.database")
    assert "sesame" not in mistake
    assert "ledger.journal" in mistakes_of(POOL + "ledger: {folder: l, journal: 0}")[0]
