"""Replicas from what the file says of them."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import pytest

from penstock.config.schema import Access, GpuMetricsConf, Settings, UpstreamTlsConf
from penstock.core.spec import StickySpec
from tests.config.support import load_text, mistakes_of


def replica(text: str, **files: str) -> Settings:
    """Settings with one replica."""
    return load_text(f"pools: [{{name: p, models: [m, n], replicas: [{{{text}}}]}}]", files={"/ca": "", **files})


def test_a_replica_is_named_by_its_address() -> None:
    """host:port and base path, unless it has an id."""
    assert replica("url: 'http://h/base'").replicas[0].id == "h:80/base"
    assert replica("url: 'http://h', id: x").replicas[0].id == "x"


def test_everything_that_is_said_of_a_replica_arrives() -> None:
    """Every field of the file reaches the noun that the Gate sees."""
    made = replica(
        "url: 'https://h', engine: vllm, models: {m: up}, max_concurrent_requests: 3, max_queue_size: 4, weight: 2.5, "
        "backup: true, region: r, zone: z, hourly_cost: 1.5, purchase: spot, gpus: [h100]"
    ).replicas[0]
    assert (made.url, made.pool, made.engine, made.models) == ("https://h", "p", "vllm", {"m": "up"})
    assert (made.max_concurrent_requests, made.max_queue_size, made.weight, made.backup) == (3, 4, 2.5, True)
    assert (made.region, made.zone, made.hourly_cost, made.purchase, made.gpus) == ("r", "z", 1.5, "spot", ("h100",))


def test_an_engine_may_be_asked_who_it_is() -> None:
    """With `engine: auto` it is spoken to as generic until it has said; seats are asked for where none are written."""
    made = replica("url: 'http://h', id: x, engine: auto")
    assert (made.replicas[0].engine, made.replicas[0].max_concurrent_requests) == ("generic", 8)
    assert (made.access["x"].asks_engine, made.access["x"].asks_seats) == (True, True)
    made = replica("url: 'http://h', id: x, engine: auto, max_concurrent_requests: 8")
    assert (made.access["x"].asks_engine, made.access["x"].asks_seats) == (True, False)
    made = replica("url: 'http://h', id: x, engine: vllm, metrics_path: /m, metrics_port: 8002")
    assert (made.access["x"].asks_engine, made.access["x"].asks_seats) == (False, False)
    assert (made.access["x"].metrics_path, made.access["x"].metrics_port) == ("/m", 8002)


def test_models_in_a_list_keep_their_names() -> None:
    """A list of models means that the upstream calls them the same."""
    assert replica("url: 'http://h', models: [m]").replicas[0].models == {"m": "m"}


def test_secrets_stay_outside_of_the_replica() -> None:
    """What a replica is shown is kept by id, and never printed."""
    text = (
        "pools: [{name: p, replicas: [{url: 'https://h', id: x, api_key: 'file:/key', headers: {X-A: 'file:/key', X-B: '${B}'}, "
        "tls: {ca: /ca}}]}]"
    )
    pem = "-----BEGIN CERTIFICATE-----\n"
    settings = load_text(text, {"B": "b"}, {"/key": "sk-secret\n", "/ca": pem})
    tls = UpstreamTlsConf(ca="/ca")
    assert settings.access == {"x": Access(api_key="sk-secret", headers=(("X-A", "sk-secret"), ("X-B", "b")), tls=tls)}
    assert "sk-secret" not in repr(settings)


@pytest.mark.parametrize(
    "text, mistake",
    [
        ("url: 'h:1'", "url (line 1): found 'h:1', expected http(s)://host:port, a base path allowed; did you mean http://h:1?"),
        ("url: 'http://u:p@h'", "url (line 1): found 'http://…@h', expected http(s)://host:port, a base path allowed; leave out the user and password; api_key or headers say who the gateway is"),
        ("id: x", "url (line 1): missing, expected http(s)://host:port, a base path allowed"),
        ("url: 'http://h', engine: vlm", "engine (line 1): found 'vlm', expected one of auto, generic, llamacpp, ollama, sglang, tgi, triton, vllm; did you mean `vllm`?"),
        ("url: 'http://h', models: [x]", "models[0] (line 1): the pool does not serve 'x'; its models are m, n"),
        ("url: 'http://h', models: {x: y}", "models.x (line 1): the pool does not serve 'x'; its models are m, n"),
        ("url: 'http://h', models: {m: ''}", "models.m (line 1): found an empty name, expected a model's"),
        ("url: 'http://h', models: 3", "models (line 1): found the number 3, expected a mapping or a list"),
        ("url: 'http://h', headers: {'a b': c}", "headers['a b'] (line 1): this is no name of a header"),
        ("url: 'http://h', headers: {Host: c}", "headers.Host (line 1): the gateway writes this header itself"),
        ("url: 'http://h', headers: {A: b, a: c}", "headers.a (line 1): this header is here already, in other capitals"),
        ('url: "http://h", headers: {A: "b\\nc"}', "headers.A (line 1): found a value that cannot be sent, expected a text on one line"),
        ('url: "http://h", api_key: "b\\nc"', "api_key (line 1): found a key that cannot be sent, expected a text on one line"),
        ("url: 'http://h', api_key: a, headers: {authorization: b}", "api_key (line 1): headers has an Authorization as well, expected one of the two"),
        ("url: 'http://h', api_key: 'file:/x'", "api_key (line 1): the file '/x' cannot be read (No such file or directory)"),
        ("url: 'https://h', tls: {ca: /x}", "tls.ca (line 1): the file '/x' cannot be read (No such file or directory)"),
        ("url: 'https://h', tls: {ca: /ca}", "tls.ca (line 1): the file '/ca' has no CERTIFICATE block, expected PEM"),
        ("url: 'http://h', weight: 0", "weight (line 1): found the number 0, expected a number above 0"),
    ],
)  # fmt: skip
def test_wrong_replicas_are_told(text: str, mistake: str) -> None:
    """Each mistake in a replica, by its exact words."""
    whole = f"pools: [{{name: p, models: [m, n], replicas: [{{{text}}}]}}]"
    assert mistakes_of(whole, files={"/ca": "no pem"}) == [f"pools[0].replicas[0].{mistake}"]


def test_a_replica_stands_once() -> None:
    """The same address twice would count its seats twice."""
    text = "pools: [{name: p, replicas: [{url: 'http://h'}, {url: 'http://h:80/'}, {url: 'http://i', id: 'h:80'}]}]"
    assert mistakes_of(text) == [
        "pools[0].replicas[1].url (line 1): the replica 'h:80' is in pool 'p' already; give one of them an `id`",
        "pools[0].replicas[2].id (line 1): the replica 'h:80' is in pool 'p' already",
    ]


@pytest.mark.parametrize(
    "text, warning",
    [
        ("url: 'http://h/v1'", "http://h/v1: calls to /v1/… would go to /v1/v1/…; leave /v1 out unless that is meant"),
        ("url: 'http://h', api_key: k", "h:80: the URL is http://, so its api_key travels in plain text"),
        ("url: 'http://h', tls: {verify: false}", "h:80: the URL is http://, so its tls block has no effect"),
        ("url: 'https://h', tls: {verify: false}", "h:443: tls.verify is false, so anybody on the way can pose as this replica"),
    ],
)  # fmt: skip
def test_unwise_replicas_are_warned_of(text: str, warning: str) -> None:
    """What may be meant is not a mistake, but it is said."""
    assert replica(text).warnings == (warning,)


@pytest.mark.parametrize(
    "more, mistake",
    [
        ("gpu_metrics: {}", "gpu_metrics (line 1): expected exactly one of `nvml: true`, `smi: true`, `dcgm: URL`"),
        ("gpu_metrics: {smi: true, nvml: true}", "gpu_metrics (line 1): expected exactly one of `nvml: true`, `smi: true`, `dcgm: URL`"),
        ("compatibility: {m: good}", "compatibility.m (line 1): found 'good', expected one of basic, compatible, native, optimised, unsupported"),
    ],
)  # fmt: skip
def test_wrong_gpus_and_compatibilities_are_told(more: str, mistake: str) -> None:
    """Exactly one source of readings, and levels that there are."""
    text = f"pools: [{{name: p, replicas: [{{url: 'http://h:1', {more}}}]}}]"
    assert mistakes_of(text) == [f"pools[0].replicas[0].{mistake}"]


def test_gpu_metrics_go_to_the_gateway_and_compatibility_to_routing() -> None:
    """The one stands with what only the gateway knows, the other with the replica."""
    more = "gpu_metrics: {dcgm: 'http://h:9400/metrics', devices: ['0']}, compatibility: {m: basic}"
    loaded = load_text(f"pools: [{{name: p, replicas: [{{url: 'http://h:1', id: a, {more}}}]}}]")
    assert loaded.access["a"].gpu_metrics == GpuMetricsConf(dcgm="http://h:9400/metrics", devices=("0",))
    assert loaded.replicas[0].compatibility == {"m": "basic"}


def test_what_names_sessions_is_gathered_from_all_pools() -> None:
    """Headers in lower case and cookies, of sticky pools and of consistent hashing, each once."""
    loaded = load_text("""
pools:
  - {name: a, sticky: {header: X-Chat, cookie: sid}, strategy: consistent_hash, replicas: [{url: 'http://h:1'}]}
  - {name: b, sticky: {header: x-chat, ttl: 1m}, replicas: [{url: 'http://h:2'}]}
  - {name: c, replicas: [{url: 'http://h:3'}]}
""")
    assert loaded.server.session_headers == ("x-chat", "x-session-id")
    assert loaded.server.session_cookies == ("sid",)
    first, second, third = loaded.gate.pools
    assert first.sticky == StickySpec(header="X-Chat", cookie="sid")
    assert second.sticky == StickySpec(header="x-chat", ttl_s=60.0)
    assert (third.sticky, third.slow_start.window_s) == (None, 30.0)


@pytest.mark.parametrize(
    "more, mistake",
    [
        ("sticky: {}", "sticky (line 1): by what? expected `header`, `cookie`, or both"),
        ("sticky: {header: a b}", "sticky.header (line 1): this is no name of a header"),
        ("sticky: {cookie: a;b}", "sticky.cookie (line 1): this is no name of a cookie"),
        ("sticky: {header: x, ttl: 0}", "sticky.ttl (line 1): found 0, expected more than 0"),
        ("strategy: {kind: consistent_hash, header: ''}", "strategy.header (line 1): this is no name of a header"),
        ("strategy: {kind: resource_based, latency: 0s}", "strategy.latency (line 1): found 0, expected more than 0"),
    ],
)
def test_wrong_sessions_are_told(more: str, mistake: str) -> None:
    """A session must be named by something that can be sent."""
    assert mistakes_of(f"pools: [{{name: p, {more}, replicas: [{{url: 'http://h:1'}}]}}]") == [f"pools[0].{mistake}"]
