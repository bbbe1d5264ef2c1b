"""What a reload changes, in lines for people."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import pytest

from penstock.config.diff import changes, needs_restart
from tests.config.support import POOL, load_text

BASE = "pools: [{name: p, replicas: [{url: 'http://h:1'}]}]\n"


@pytest.mark.parametrize(
    "new, lines",
    [
        (BASE, []),
        (BASE + "listen: 127.0.0.1:1", ["listen: 127.0.0.1:8080 -> 127.0.0.1:1 (needs a restart)"]),
        (BASE + "admin: null", ["admin: 127.0.0.1:9090 -> none (needs a restart)"]),
        (BASE + "metrics: '[::1]:1'", ["metrics: none -> [::1]:1 (needs a restart)"]),
        (BASE + "journal: /j", ["journal: none -> /j (needs a restart)"]),
        (BASE + "limits: {backlog: 5, head: 32KiB}", ["limits.head: 65536 -> 32768", "limits.backlog: 16384 -> 5 (needs a restart)"]),
        (BASE + "timeouts: {drain: 5s}", ["timeouts.drain: 30 s -> 5 s"]),
        (BASE + "queue: {timeout: 60s}", ["pool p: queue.timeout: 30 s -> 60 s"]),
        (BASE + "aliases: {a: b}", ["aliases: none -> a = b"]),
        (BASE + "routes: [{pool: p, path: /x}]", ["routes: none -> pool p, host none, path /x, model none"]),
        (BASE.replace("name: p,", "name: p, strategy: round_robin,"), ["pool p: strategy: adaptive -> round_robin"]),
        (BASE.replace("h:1'", "h:1', weight: 2, backup: true"), ["replica h:1: weight: 1.0 -> 2.0", "replica h:1: backup: false -> true"]),
        (BASE.replace("h:1'", "h:1', headers: {A: secret}"), ["replica h:1: what it is shown (api_key, headers, tls) changed"]),
        (BASE.replace("h:1", "h:2"), ["replica h:1: removed", "replica h:2: added"]),
        (BASE.replace("name: p", "name: q"), ["pool p: removed", "pool q: added", "replica h:1: pool: p -> q"]),
        (BASE + "keys: [{name: a, key: secret}]", ["open: true -> false", "keys: a added"]),
        (BASE + "admin_key: secret", ["admin_key: changed"]),
    ],
)  # fmt: skip
def test_every_change_is_a_line(new: str, lines: list[str]) -> None:
    """One line a change, with both values, without secrets."""
    found = changes(load_text(BASE), load_text(new))
    assert found == lines
    assert not any("secret" in line for line in found)


def test_sources_are_told_without_what_their_replicas_are_shown() -> None:
    """One that comes, goes or changes is a line; secrets in the description are not."""

    def page(text: str) -> str:
        return f"pools: [{{name: p, discover: [{{{text}}}]}}]"

    base = "kind: dns, name: a.test, port: 1"
    old = load_text(page(f"{base}, replica: {{api_key: secret}}"))
    new = load_text(page(f"{base}, interval: 20, replica: {{api_key: secret2, weight: 2}}"))
    assert changes(old, new) == [
        "source p, dns a a.test:1: interval: 10 s -> 20 s",
        "source p, dns a a.test:1: replica.weight: 1.0 -> 2.0",
        "source p, dns a a.test:1: what its replicas are shown (api_key, headers, tls) changed",
    ]
    moved = load_text(page("kind: static, addresses: ['h:1']"))
    assert changes(new, moved) == ["source p, dns a a.test:1: removed", "source p, static h:1: added"]


def test_keys_come_go_and_are_renamed() -> None:
    """Keys are told by name."""
    old = load_text(POOL + "keys: [{name: a, key: k1}, {name: b, key: k2}]")
    new = load_text(POOL + "keys: [{name: c, key: k2}, {name: d, key: k3}]")
    assert changes(old, new) == ["keys: a removed", "keys: d added", "keys: b is called c now"]


def test_the_ledgers_password_is_not_shown() -> None:
    """That it changed is all that is said of it, and that it waits."""
    old = load_text(POOL + "ledger: {folder: l, database: 'postgresql://u:sesame@h/d'}")
    new = load_text(POOL + "ledger: {folder: l, database: 'postgresql://u:sesame2@h/d'}")
    assert changes(old, new) == ["ledger: changed (needs a restart)"]


def test_what_waits_for_a_restart() -> None:
    """Sockets, TLS and the journal's file are opened once."""
    old, new = load_text(BASE), load_text(BASE + "listen: 127.0.0.1:1\nmax_waiting: 5")
    assert needs_restart(old, new) == ["listen: 127.0.0.1:8080 -> 127.0.0.1:1"]


def test_pools_that_scale_themselves_are_told_without_secrets() -> None:
    """One that comes, goes or changes is a line; command, environment and description are not shown."""

    def page(scale: str) -> str:
        return f"pools: [{{name: p, models: [m], replicas: [{{url: 'http://h:1'}}]{scale}}}]"

    process = "actuator: {kind: process, command: 'run secret {port}', env: {A: secret}}"
    none, old = load_text(page("")), load_text(page(f", scale: {{{process}}}"))
    changed = process.replace("secret", "secret2")
    new = load_text(page(f", scale: {{max: 4, {changed}, replica: {{weight: 2, api_key: secret}}}}"))
    assert changes(none, old) == ["scale p: added"]
    assert changes(old, none) == ["scale p: removed, its replicas drain and stop"]
    assert changes(old, new) == [
        "scale p: max: 20 -> 4",
        "scale p: replica.weight: 1.0 -> 2.0",
        "scale p: what its replicas are shown (api_key, headers, tls) changed",
        "scale p: actuator: command or env changed, for replicas that are started from now on",
    ]
    dry = load_text(page(", scale: {actuator: {kind: dry_run}}"))
    assert changes(old, dry)[0] == "scale p: actuator: process -> dry_run"
