"""What `penstock check` says of a configuration that can be used."""

import json

from penstock.config.check import report
from tests.config.support import load_text
from tests.config.test_load import THE_FILE


def test_the_report_is_plain_data() -> None:
    """It can be printed as JSON, and tells what holds."""
    found = report(load_text(THE_FILE))
    assert json.loads(json.dumps(found)) == found
    assert (found["listen"], found["admin"], found["open"], found["keys"]) == (
        "http://127.0.0.1:8080",
        "127.0.0.1:9090",
        False,
        ["demo"],
    )
    assert found["pools"] == [
        {
            "name": "tiny", "models": ["tiny"], "strategy": "adaptive", "sticky": "", "replicas": 2, "seats": 16,
            "queue": "10,000 calls, 30 s", "attempts": 3,
        }
    ]  # fmt: skip
    assert found["replicas"][0]["id"] == "127.0.0.1:18301"
    assert "sk-demo" not in json.dumps(found)


def test_sessions_and_splits_are_shown() -> None:
    """How sessions are told and for how long, and the shares of a split."""
    found = report(
        load_text("""
pools: [{name: p, models: [m, n], sticky: {header: x-chat, cookie: sid}, replicas: [{url: 'http://h:1'}]}]
splits: {ab: {m: 3, n: 1}}
""")
    )
    assert found["pools"][0]["sticky"] == "header x-chat or cookie sid, 10 min"
    assert found["splits"] == {"ab": {"m": "75.0%", "n": "25.0%"}}


def test_sources_are_shown() -> None:
    """What a pool discovers, and as what; who is asked for his engine is `auto`. No secret."""
    found = report(
        load_text("""
pools:
  - name: p
    models: [m]
    replicas: [{url: 'http://h:1', engine: auto}]
    discover: [{kind: dns, name: a.test, port: 1, replica: {engine: auto, api_key: sk-x}}]
""")
    )
    assert json.loads(json.dumps(found)) == found
    assert found["replicas"][0]["engine"] == "auto"
    assert found["sources"] == [
        {"pool": "p", "source": "dns a a.test:1", "scheme": "http", "engine": "auto", "models": {}, "seats": 8}
    ]
    assert "sk-x" not in json.dumps(found)


def test_pools_that_scale_themselves_are_shown() -> None:
    """Within which bounds, by whom, and as what their replicas are spoken to. No secret."""
    found = report(
        load_text("""
pools:
  - name: p
    models: [m]
    scale: {max: 4, actuator: {kind: dry_run}, replica: {engine: auto, api_key: sk-x}}
""")
    )
    assert found["scaled"] == [
        {
            "pool": "p", "actuator": "dry_run", "min": 2, "max": 4, "max_hourly_cost": None, "engine": "auto",
            "models": {}, "seats": 8,
        }
    ]  # fmt: skip
    assert "sk-x" not in json.dumps(found)
    assert found["warnings"] == []


def test_limits_and_prices_are_shown() -> None:
    """What applies to each tenant and key, by its tier or by its own words, and what tokens cost; no key, and nobody
    who is not limited."""
    found = report(
        load_text("""
tiers: {free: null}
tenants: [{name: acme, tier: premium}, {name: lab, limits: {concurrency: 8, models: {big: {tokens_per_day: 200000}}}}]
keys:
  - {name: web, tenant: acme, key: sk-x, limits: {requests_per_minute: 20, over_limit: queue}}
  - {name: guest, tier: free, key: sk-y}
prices: {big: {prompt: 0.5, completion: 2}}
pools: [{name: p, replicas: [{url: 'http://h:1'}]}]
""")
    )
    assert json.loads(json.dumps(found)) == found
    assert [(one["whose"], one["name"], one["by"]) for one in found["limits"]] == [
        ("tenant", "acme", "tier premium"), ("tenant", "lab", "its own"), ("key", "web", "its own"),
    ]  # fmt: skip
    acme, lab, web = found["limits"]
    assert (acme["limits"]["requests_per_minute"], acme["limits"]["tokens_per_day"]) == (300, 1_000_000)
    assert (lab["limits"], lab["models"]) == ({"concurrency": 8}, {"big": {"tokens_per_day": 200_000}})
    assert web["limits"] == {"requests_per_minute": 20, "over_limit": "queue"}
    assert found["prices"] == [{"model": "big", "prompt": 0.5, "completion": 2.0, "cached": 0.5}]
    assert "sk-" not in json.dumps(found)
