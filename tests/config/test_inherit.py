"""A pool's blocks over the gateway's own."""

from tests.config.support import load_text, mistakes_of

TEXT = """
queue: {timeout: 1s, max: 7}
timeouts: {connect: 2s, drain: 9s}
retries: {attempts: 5}
pools:
  - name: a
    queue: {timeout: 3s, max_per_tenant: 4}
    timeouts: {idle: 4s}
    replicas: [{url: "http://h:1"}]
  - name: b
    retries: {}
    queue:
    replicas: [{url: "http://h:2"}]
"""


def test_fields_of_a_pool_lie_over_the_gateways() -> None:
    """A field that a pool writes is the pool's, each other one is the gateway's."""
    a, b = load_text(TEXT).gate.pools
    assert (a.queue.timeout_s, a.queue.max, a.queue.max_per_tenant) == (3.0, 7, 4)
    assert (a.timeouts.connect_s, a.timeouts.idle_s, a.timeouts.first_byte_s) == (2.0, 4.0, 600.0)
    assert (b.queue.timeout_s, b.queue.max, b.retries.attempts) == (1.0, 7, 5)


def test_outliers_and_panic_are_blocks_of_a_pool() -> None:
    """They reach the Gate, and a pool's lie over the gateway's."""
    text = """
outliers: {interval: 5s, latency: {enabled: true}}
panic: {below: 0.25}
pools:
  - name: a
    outliers: {max_ejected: 0.5}
    replicas: [{url: "http://h:1"}]
  - name: b
    panic: {below: 0}
    replicas: [{url: "http://h:2"}]
"""
    a, b = load_text(text).gate.pools
    assert (a.outliers.interval_s, a.outliers.max_ejected, a.outliers.latency.enabled) == (5.0, 0.5, True)
    assert (a.panic.below, b.panic.below, b.outliers.max_ejected) == (0.25, 0.0, 0.1)


def test_a_pool_may_write_null_over_a_value() -> None:
    """Null is a value: it takes away what the gateway says."""
    text = (
        "queue: {max_per_tenant: 3}\npools: [{name: a, queue: {max_per_tenant: null}, replicas: [{url: 'http://h:1'}]}]"
    )
    assert load_text(text).gate.pools[0].queue.max_per_tenant is None


def test_what_is_the_gateways_alone_is_sent_home() -> None:
    """A pool has no drain timeout of its own."""
    text = "pools: [{name: a, timeouts: {drain: 3s}, replicas: [{url: 'http://h:1'}]}]"
    assert mistakes_of(text) == [
        "pools[0].timeouts.drain (line 1): there is no such field here; `drain` belongs in timeouts"
    ]


def test_a_wrong_value_of_the_gateway_is_told_once() -> None:
    """Pools inherit the value, not the mistake."""
    assert len(mistakes_of(TEXT.replace("timeout: 1s", "timeout: 1x"))) == 1
    assert len(mistakes_of(TEXT.replace("connect: 2s", "connect: 0"))) == 1
