"""Sources of replicas from what the file says of them."""

import pytest

from penstock.config.schema import Discovered
from penstock.config.sources import is_path
from tests.config.support import load_text, mistakes_of


def source(text: str) -> Discovered:
    """The only source of a pool."""
    (found,) = load_text(f"pools: [{{name: p, models: [m], discover: [{{{text}}}]}}]").sources
    return found


def test_what_is_said_of_replicas_to_come_arrives() -> None:
    """The description is checked and kept like a replica of the file."""
    made = source(
        "kind: dns, name: chat.test, port: 80, replica: {engine: vllm, weight: 2, api_key: k, models: {m: up}}"
    )
    assert (made.pool, made.template.engine, made.template.weight, made.template.models) == (
        "p",
        "vllm",
        2.0,
        {"m": "up"},
    )
    assert made.template.max_concurrent_requests == 8
    assert made.access.api_key == "k"
    assert source("kind: static, addresses: ['h:1']").template.engine == "generic"


def test_certificates_are_made_out_to_the_name() -> None:
    """Over https the discovered name is the one that certificates must have, unless another is given."""
    https = "kind: dns, name: chat.test., port: 443, scheme: https"
    assert source(https).access.tls.server_name == "chat.test"
    assert source(f"{https}, replica: {{tls: {{server_name: other.test}}}}").access.tls.server_name == "other.test"
    assert source("kind: dns, name: s.test, type: srv, scheme: https").access.tls.server_name is None


@pytest.mark.parametrize(
    "text, mistake",
    [
        ("kind: dns, name: chat.test", "port (line 1): missing, expected the port on which the replicas serve"),
        (
            "kind: dns, name: s.test, type: srv, port: 1",
            "port (line 1): an SRV record names the port itself: leave it out",
        ),
        (
            "kind: dns, name: 'http://a', port: 1",
            "name (line 1): found 'http://a', expected a DNS name without scheme or port, like vllm.default.svc",
        ),
        ("kind: dns, name: a, port: 1, interval: 0", "interval (line 1): found 0, expected more than 0"),
        (
            "kind: dns, name: a, port: 1, nameservers: [dns.test]",
            "nameservers[0] (line 1): found 'dns.test', expected an IP address, or one with a port, like 10.0.0.10:53",
        ),
        (
            "kind: dns, name: a, port: 1, path: llm",
            "path (line 1): found 'llm', expected a base path, like /llm; it begins with /",
        ),
        (
            "kind: kubernetes, service: Chat_1",
            "service (line 1): found 'Chat_1', expected a name of Kubernetes: small letters, digits, - and .",
        ),
        (
            "kind: kubernetes, service: a, namespace: a/b",
            "namespace (line 1): found 'a/b', expected a name of Kubernetes: small letters, digits, - and .",
        ),
        ("kind: kubernetes, service: a, timeout: 0", "timeout (line 1): found 0, expected more than 0"),
        ("kind: static, addresses: []", "addresses (line 1): found none, expected at least one host:port"),
        ("kind: static, addresses: [h]", "addresses[0] (line 1): found 'h', expected host:port, or [IPv6]:port"),
        (
            "kind: static, addresses: ['h:1'], replica: {models: [x]}",
            "replica.models[0] (line 1): the pool does not serve 'x'; its models are m",
        ),
        (
            "kind: static, addresses: ['h:1'], replica: {metrics_path: m}",
            "replica.metrics_path (line 1): found 'm', expected a path, like /metrics; it begins with /",
        ),
        (
            "kind: mdns, name: a",
            "kind (line 1): found 'mdns', expected one of dns, kubernetes, static; did you mean `dns`?",
        ),
    ],
)
def test_wrong_sources_are_told(text: str, mistake: str) -> None:
    """Each mistake has its path and a way out."""
    assert mistakes_of(f"pools: [{{name: p, models: [m], discover: [{{{text}}}]}}]") == [
        f"pools[0].discover[0].{mistake}"
    ]


def test_the_same_source_twice_is_a_mistake() -> None:
    """Nothing could tell the two apart."""
    one = "{kind: dns, name: a, port: 1}"
    assert mistakes_of(f"pools: [{{name: p, discover: [{one}, {one}]}}]") == [
        "pools[0].discover[1] (line 1): the pool asks for dns a a:1 already"
    ]


def test_a_pool_that_discovers_is_not_empty() -> None:
    """No warning that it waits for the admin API; its models are known where the description lists them."""
    page = "pools: [{name: p, discover: [{kind: dns, name: a, port: 1, replica: {models: [m]}}]}]\naliases: {x: n}"
    (mistake,) = mistakes_of(page)
    assert "there is no model 'n'" in mistake
    assert load_text(page.replace("x: n", "x: m")).warnings == ()


def test_paths() -> None:
    """What may stand behind an address."""
    assert is_path("/")
    assert is_path("/a/b.c")
    assert not any(map(is_path, ["", "a", "/a b", "/a?b", "/a#b", "/é"]))
