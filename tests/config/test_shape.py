"""Types and units: every misfit with its exact words, and a tree that converts whatever was wrong."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.base.errors import ConfigError
from penstock.config.mistakes import Mistakes
from penstock.config.schema import File
from penstock.config.shape import Shape
from tests.config.support import POOL, load_text, mistakes_of

STRATEGIES = (
    "one of round_robin, random, weighted_round_robin, least_connections, least_loaded, least_response_time, "
    "p2c_peak_ewma, adaptive, adaptive_classic, prefix_aware, consistent_hash, gpu_aware, resource_based, "
    "regional, regional_classic"
)
DURATION = "a duration: a number of seconds, or like 30s, 500ms, 1m30s"
SIZE = "a size: a number of bytes, or like 64KiB, 32MiB, 1GiB"


@pytest.mark.parametrize(
    "line, mistake",
    [
        ("quue: {}", "quue (line 1): there is no such field here; did you mean `queue`?"),
        ("interval: 3s", "interval (line 1): there is no such field here; `interval` belongs in outliers or probe or scrape"),
        ("queue: {colour: red}", "queue.colour (line 1): there is no such field here; its fields are timeout, order, within, weights, burst, max_share, reserve, reserve_cost, share_idle, ageing, max, max_in_flight, max_bytes, max_per_tenant, max_per_priority, unavailable_wait, waiting_room, shed"),
        ("admin: 8080", "admin (line 1): found the number 8080, expected a text or null; write it in quotes"),
        ("listen: null", "listen (line 1): found nothing, expected a text"),
        ("listen: [a]", "listen (line 1): found a list, expected a text"),
        ("limits: 3", "limits (line 1): found the number 3, expected a mapping"),
        ("trusted_proxies: 10.0.0.0/8", "trusted_proxies (line 1): found '10.0.0.0/8', expected a list; write it as [one, two], or each on a line of its own after `- `"),
        ("max_waiting: 0", "max_waiting (line 1): found the number 0, expected a whole number of at least 1"),
        ("max_waiting: 1.5", "max_waiting (line 1): found the number 1.5, expected a whole number of at least 1"),
        ("max_waiting: '5'", "max_waiting (line 1): found '5', expected a whole number of at least 1; write it without quotes"),
        ("max_waiting: true", "max_waiting (line 1): found true, expected a whole number of at least 1"),
        ("max_waiting: 99999999999", "max_waiting (line 1): found the number 99999999999, expected a whole number of at least 1; at most 2,147,483,647"),
        ("probe: {port: 70000}", "probe.port (line 1): found the number 70000, expected a whole number from 1 to 65535 or null"),
        ("probe: {enabled: yes}", "probe.enabled (line 1): found 'yes', expected true or false; write true"),
        ("probe: {enabled: off}", "probe.enabled (line 1): found 'off', expected true or false; write false"),
        ("probe: {status: [200]}", "probe.status (line 1): found a list, expected a list of 2 values, each a whole number or null; this one has 1"),
        ("probe: {status: [200, x]}", "probe.status[1] (line 1): found 'x', expected a whole number"),
        ("retries: {jitter: 2}", "retries.jitter (line 1): found the number 2, expected a number from 0 to 1"),
        ("retries: {factor: .nan}", "retries.factor (line 1): found the number nan, expected a number of at least 1; at most 2,147,483,647"),
        ("log: {level: warn}", "log.level (line 1): found 'warn', expected one of debug, error, info, warning; did you mean `warning`?"),
        ("queue: {timeout: 30x}", f"queue.timeout (line 1): found '30x', expected {DURATION}"),
        ("queue: {timeout: -1}", f"queue.timeout (line 1): found the number -1, expected {DURATION}; it may not be negative"),
        ("queue: {timeout: .inf}", f"queue.timeout (line 1): found the number inf, expected {DURATION}; at most 366d"),
        ("queue: {timeout: 400d}", f"queue.timeout (line 1): found '400d', expected {DURATION}; at most 366d"),
        ("limits: {head: 3Qi}", f"limits.head (line 1): found '3Qi', expected {SIZE}"),
        ("limits: {head: 1.5}", f"limits.head (line 1): found the number 1.5, expected {SIZE}"),
        ("aliases: {a: 3}", "aliases.a (line 1): found the number 3, expected a text; write it in quotes"),
        ("keys: [{name: '', hash: x}]", "keys[0].name (line 1): found '', expected a text of 1 to 128 characters"),
        ("keys: [{name: a, key: 5}]", "keys[0].key (line 1): found a number (not shown), expected a text or null; write it in quotes"),
        ("keys: [demo]", "keys[0] (line 1): found 'demo', expected a mapping"),
        ("routes: [{path: /x}]", "routes[0].pool (line 1): missing, expected the pool that takes them"),
    ],
)  # fmt: skip
def test_each_misfit_is_told(line: str, mistake: str) -> None:
    """One wrong line gives exactly one mistake: where, what, what instead."""
    assert mistakes_of(f"{line}\n{POOL}") == [mistake]


@pytest.mark.parametrize(
    "strategy, mistake",
    [
        ("adaptiv", f"strategy (line 1): found 'adaptiv', expected {STRATEGIES}; did you mean `adaptive`?"),
        ("fastest", f"strategy (line 1): found 'fastest', expected {STRATEGIES}"),
        ("3", f"strategy (line 1): found the number 3, expected {STRATEGIES}"),
        ("{load: 1}", f"strategy.kind (line 1): missing, expected {STRATEGIES}"),
        ("{kind: least}", f"strategy.kind (line 1): found 'least', expected {STRATEGIES}"),
        ("{kind: round_robin, load: 1}", "strategy.load (line 1): there is no such field here; `load` belongs in pools[].strategy"),
        ("{kind: adaptive, lod: 1}", "strategy.lod (line 1): there is no such field here; did you mean `load`?"),
        ("{kind: adaptive, load: -1}", "strategy.load (line 1): found the number -1, expected a number of at least 0"),
    ],
)  # fmt: skip
def test_wrong_strategies_are_told(strategy: str, mistake: str) -> None:
    """A strategy that there is not is answered with those that there are."""
    text = f"pools: [{{name: p, strategy: {strategy}, replicas: [{{url: 'http://h:1'}}]}}]"
    assert mistakes_of(text) == [f"pools[0].{mistake}"]


@pytest.mark.parametrize("strategy", ["round_robin", "{kind: round_robin}"])
def test_a_bare_name_is_a_strategy(strategy: str) -> None:
    """The short form means the same as the long one."""
    loaded = load_text(f"pools: [{{name: p, strategy: {strategy}, replicas: [{{url: 'http://h:1'}}]}}]")
    assert loaded.gate.pools[0].strategy.__struct_config__.tag == "round_robin"


@pytest.mark.parametrize(
    "written, seconds", [("90", 90.0), ("1m30s", 90.0), ("500ms", 0.5), ("'2'", 2.0), ("1h", 3600.0)]
)
def test_durations_become_seconds(written: str, seconds: float) -> None:
    """A number is seconds, and a text has units."""
    assert load_text(POOL + f"queue: {{timeout: {written}}}").gate.pools[0].queue.timeout_s == seconds


@pytest.mark.parametrize("written, seconds", [("null", None), ("200ms", 0.2), ("1", 1.0), ("0", 0.0)])
def test_a_duration_or_null_is_written_like_a_duration(written: str, seconds: float | None) -> None:
    """Where a field may be null, a text with a unit is understood all the same; what is neither is told."""
    hedge = load_text(POOL.replace("pools: [{", f"pools: [{{hedge: {{delay: {written}}}, ")).gate.pools[0].hedge
    assert hedge is not None
    assert hedge.delay_s == seconds


@pytest.mark.parametrize("written, size", [("100", 100), ("64KiB", 65536), ("1MB", 10**6), ("'7'", 7)])
def test_sizes_become_bytes(written: str, size: int) -> None:
    """A number is bytes, and a text has units."""
    assert load_text(POOL + f"limits: {{head: {written}}}").server.limits.head_bytes == size


def test_a_block_left_empty_is_left_out() -> None:
    """A block whose lines are all commented out means its defaults."""
    loaded = load_text(POOL + "queue:\nkeys:\naliases:\nlimits:\n")
    assert loaded == load_text(POOL)


@pytest.mark.parametrize(
    "line, path",
    [
        ("everybody: {requests_per_minute: }", "everybody.requests_per_minute"),
        ("everybody: {models: {m: {concurrency: }}}", "everybody.models.m.concurrency"),
        ("keys: [{name: a, key: b, expires: }]", "keys[0].expires"),
        ("keys: [{name: a, key: b, models: }]", "keys[0].models"),
        ("tiers: {free: }", "tiers.free"),
    ],
)
def test_nothing_where_null_would_lift_something_is_a_mistake(line: str, path: str) -> None:
    """A limit whose number was forgotten was no limit at all, and nobody was told."""
    with pytest.raises(ConfigError) as wrong:
        load_text(POOL + line)
    assert wrong.value.mistakes == [f"{path} (line 2): nothing stands here; write a value, or null for none"]


def test_null_that_is_written_lifts_a_limit() -> None:
    """Who writes null, in any of its spellings, means it; so does a variable that says so."""
    for null in ("null", "~", "'${NO:-null}'"):
        assert load_text(POOL + f"everybody: {{requests_per_minute: {null}}}") is not None


def test_null_is_a_value_where_none_is_meant() -> None:
    """`admin: null` turns the admin API off."""
    assert load_text(POOL + "admin: null").server.admin is None


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["adaptive", "30s", "64KiB", "http://h:1", "127.0.0.1:80", "none", "vllm", "p"]),
)  # fmt: skip
_FIELDS = st.sampled_from(
    "listen admin keys name key hash tls cert limits head queue timeout max timeouts connect retries probe status path "
    "interval scrape pools models strategy kind replicas url id engine headers aliases fallback routes pool host".split()
)
TREES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(_FIELDS | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(max_examples=50)
@given(TREES)
def test_what_was_read_always_converts(tree: object) -> None:
    """Whatever tree comes in, the repaired one is a File: later checks can always run."""
    msgspec.convert(Shape(File, Mistakes()).read(tree), File)
