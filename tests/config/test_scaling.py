"""A pool's `scale` block: what it amounts to, and every mistake in it."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import pytest

from penstock.adapters.actuators.dry_run import DryRunSpec
from penstock.adapters.actuators.process import ProcessSpec
from penstock.config.schema import Settings
from penstock.core.scale.schedule import Schedule
from tests.config.support import load_text, mistakes_of

ACTUATOR = "actuator: {kind: process, command: 'run --port {port}'}"


def scaled(scale: str, rest: str = "models: [m]") -> str:
    """A pool that scales itself."""
    return f"pools: [{{name: p, {rest}, scale: {{{scale}}}}}]"


def settings(scale: str, rest: str = "models: [m]") -> Settings:
    """Of such a pool."""
    return load_text(scaled(scale, rest))


def test_a_pool_that_scales_itself() -> None:
    """The block becomes a spec, an actuator, and the description of the replicas; no replica stands in the file."""
    made = settings(
        f"min: 1, max: 4, interval: 5s, {ACTUATOR}, replica: {{engine: vllm, max_concurrent_requests: 32, hourly_cost: 2.5}}"
    )
    (pool,) = made.scaled
    assert (pool.pool, pool.spec.min, pool.spec.max, pool.spec.interval_s) == ("p", 1, 4, 5.0)
    assert isinstance(pool.spec.actuator, ProcessSpec)
    assert pool.spec.actuator.command == "run --port {port}"
    assert (pool.template.engine, pool.template.max_concurrent_requests, pool.template.hourly_cost) == ("vllm", 32, 2.5)
    assert (made.replicas, made.warnings) == ((), ())


def test_the_defaults() -> None:
    """2 to 20 replicas, 70 % of their seats, ten waiting a replica; growing takes a minute, shrinking five."""
    (pool,) = settings("actuator: {kind: dry_run}").scaled
    spec = pool.spec
    assert isinstance(pool.spec.actuator, DryRunSpec)
    assert (spec.min, spec.max, spec.tolerance, spec.health) == (2, 20, 0.1, 0.8)
    assert spec.targets.utilisation is not None
    assert spec.targets.queue is not None
    assert (spec.targets.utilisation.target, spec.targets.utilisation.up, spec.targets.utilisation.down) == (
        0.7,
        0.8,
        0.5,
    )
    assert (spec.targets.queue.target, spec.targets.queue.up, spec.targets.queue.down) == (10.0, 20.0, 5.0)
    assert (spec.up.stabilisation_s, spec.up.percent, spec.up.replicas, spec.up.select) == (60.0, 100.0, 4, "max")
    assert (spec.down.stabilisation_s, spec.down.percent, spec.down.replicas, spec.down.select) == (
        300.0,
        50.0,
        2,
        "min",
    )


def test_secrets_of_its_replicas_are_kept_outside() -> None:
    """What they are shown is no part of their description."""
    (pool,) = load_text(scaled(f"{ACTUATOR}, replica: {{api_key: '${{K}}'}}"), {"K": "sk-secret"}).scaled
    assert pool.access.api_key == "sk-secret"
    assert "sk-secret" not in repr(pool.template)


def test_its_models_are_known() -> None:
    """Names that point at a model of its replicas' are no mistake."""
    text = f"pools: [{{name: p, scale: {{{ACTUATOR}, replica: {{models: [m]}}}}}}]\naliases: {{a: m}}"
    assert load_text(text).gate.aliases == {"a": "m"}
    assert "there is no model 'x'" in mistakes_of(text.replace("a: m", "a: x"))[0]


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        ("min: 5, max: 2, " + ACTUATOR, "scale.min (line 1): found 5, which is more than `max`, 2"),
        ("interval: 50ms, " + ACTUATOR, "scale.interval (line 1): found 0.05 s, expected at least 100ms"),
        ("look: 0, " + ACTUATOR, "scale.look (line 1): found 0 s, expected at least 100ms"),
        ("max_hourly_cost: 10, " + ACTUATOR, "scale.max_hourly_cost (line 1): what a replica costs is not known, so this bounds nothing; set `replica.hourly_cost`"),
        ("max_hourly_cost: 3, replica: {hourly_cost: 2}, " + ACTUATOR, "scale.max_hourly_cost (line 1): it allows 1 replicas, fewer than `min`, 2"),
        ("max_monthly_cost: 10, " + ACTUATOR, "scale.max_monthly_cost (line 1): what a replica costs is not known, so this bounds nothing; set `replica.hourly_cost`"),
        ("max_monthly_cost: 1487, replica: {hourly_cost: 1}, " + ACTUATOR, "scale.max_monthly_cost (line 1): it allows 1 replicas all month, fewer than `min`, 2"),
        ("schedules: [{min: 4}, {from: 8, min: 4}], " + ACTUATOR, "scale.schedules[1].from (line 1): found the number 8, expected a text; write it in quotes"),
        ("schedules: [{from: 8h, min: 4}], " + ACTUATOR, "scale.schedules[0].from (line 1): found '8h', expected a time of day, like 08:30"),
        ("schedules: [{min: 40}], " + ACTUATOR, "scale.schedules[0].min (line 1): it would be 40 meanwhile, which is more than `max`, 20"),
        ("schedules: [{days: [mon, fry], min: 4}], " + ACTUATOR, "scale.schedules[0].days[1] (line 1): found 'fry', expected one of fri, mon, sat, sun, thu, tue, wed; did you mean `fri`?"),
        ("targets: {rps: {}}, " + ACTUATOR, "scale.targets.rps.target (line 1): missing, expected what it should be"),
        ("targets: {utilisation: null, queue: null}, " + ACTUATOR, "scale.targets (line 1): found none, expected at least one metric"),
        ("targets: {utilisation: {target: 0.9}}, " + ACTUATOR, "scale.targets.utilisation.up (line 1): found 0.8, which is less than the target, 0.9"),
        ("targets: {queue: {down: 11}}, " + ACTUATOR, "scale.targets.queue.down (line 1): found 11, which is more than the target, 10"),
        ("actuator: {kind: ray, command: 'run'}", "scale.actuator.command (line 1): it must say where to listen: expected {port} somewhere"),
        ("actuator: {kind: kubernetes, deployment: a/b}", "scale.actuator.deployment (line 1): found 'a/b', expected a name of Kubernetes: small letters, digits, - and ."),
        ("spot: {}, actuator: {kind: kubernetes, deployment: a}", "scale.actuator.spot_deployment (line 1): missing, expected the Deployment of the spot replicas"),
        ("actuator: {kind: kubernetes, deployment: a, spot_deployment: a}", "scale.actuator.spot_deployment (line 1): expected another one than `deployment`"),
        ("actuator: {kind: kubernetes, deployment: a, order: 0}", "scale.actuator.order (line 1): found 0, expected more than 0"),
        ("actuator: {kind: process, command: 'run'}", "scale.actuator.command (line 1): it must say where to listen: expected {port} somewhere"),
        ("actuator: {kind: process, command: ' '}", "scale.actuator.command (line 1): found no words, expected a command"),
        ("actuator: {kind: process, command: \"run '{port}\"}", "scale.actuator.command (line 1): it cannot be split into words (No closing quotation)"),
        ("actuator: {kind: process, command: 'run {port}', cpus: ['0-3', 7-4]}", "scale.actuator.cpus[1] (line 1): found '7-4', expected numbers and ranges of CPUs, like 0-7 or 0,2,4"),
    ],
)  # fmt: skip
def test_mistakes(scale: str, said: str) -> None:
    """Numbers that cannot work together and commands that cannot run are told with their place."""
    assert mistakes_of(scaled(scale)) == [f"pools[0].{said}"]


def test_schedules_are_read() -> None:
    """Times of day and zones are plain texts, with and without quotes."""
    given = "{days: [sat, sun], from: 08:30, to: '20:00', zone: +05:30, min: 1, max: 3}"
    (pool,) = settings(f"schedules: [{given}, {{min: 4}}], {ACTUATOR}").scaled
    weekend = Schedule(days=("sat", "sun"), begins="08:30", ends="20:00", zone="+05:30", min=1, max=3)
    assert pool.spec.schedules == (weekend, Schedule(min=4))


def test_it_needs_probes_and_models() -> None:
    """Probes tell when a replica has started; a pool that may have none must list its models."""
    assert (
        "probes tell when a replica has started"
        in mistakes_of(scaled(ACTUATOR, "models: [m], probe: {enabled: false}"))[0]
    )
    assert "list them in the pool's `models`" in mistakes_of(scaled("min: 0, " + ACTUATOR, "queue: {max: 5}"))[0]


def test_the_port_may_come_by_the_environment() -> None:
    """A program that takes its port from a variable needs no argument."""
    (pool,) = settings("actuator: {kind: process, command: run, env: {PORT: '{port}'}}").scaled
    assert isinstance(pool.spec.actuator, ProcessSpec)
    assert pool.spec.actuator.env == {"PORT": "{port}"}


def test_who_waits_for_the_first_replica_is_warned_of() -> None:
    """With a minimum of none, calls that come while the first one loads wait by other rules than those before it."""
    (said,) = settings("min: 0, " + ACTUATOR).warnings
    assert said.startswith(
        "pool p: with scale.min 0, calls that come while the first replica loads are refused after 10 s"
    )
    patient = "models: [m], queue: {waiting_room: 5m, unavailable_wait: 5m, timeout: 5m}"
    assert settings("min: 0, " + ACTUATOR, patient).warnings == ()
    assert settings("min: 1, " + ACTUATOR).warnings == ()


URL = "http://169.254.169.254/latest/meta-data/spot/instance-action"


def test_a_pool_that_is_partly_spot() -> None:
    """Three tenths are the base by default; notices are looked for where it says, every five seconds."""
    (pool,) = settings(f"{ACTUATOR}, spot: {{hourly_cost: 1, notices: {{metadata: '{URL}'}}}}").scaled
    spot = pool.spec.spot
    assert spot is not None
    assert (spot.base, spot.hourly_cost, spot.within_s, spot.retry_s, spot.notice_s) == (0.3, 1.0, 120.0, 300.0, 120.0)
    assert spot.notices is not None
    assert (spot.notices.metadata, spot.notices.file, spot.notices.every_s) == (URL, None, 5.0)


def test_a_mix_is_held_against_the_budget() -> None:
    """Thirteen an hour pay for two at five; where spot costs one, for two of these and three spot ones."""
    rest = f"min: 3, max_hourly_cost: 13, replica: {{hourly_cost: 5}}, {ACTUATOR}"
    assert "it allows 2 replicas" in mistakes_of(scaled(rest))[0]
    assert settings(f"{rest}, spot: {{hourly_cost: 1}}").scaled[0].spec.min == 3


@pytest.mark.parametrize(
    ("spot", "mistake"),
    [
        ("spot: {within: 0s}", "pools[0].scale.spot.within (line 1): found 0, expected more than 0"),
        ("spot: {retry: 0s}", "pools[0].scale.spot.retry (line 1): found 0, expected more than 0"),
        ("spot: {notices: {token: 'http://h/t'}}", "a token for what? expected `metadata` as well"),
        (
            "spot: {notices: {metadata: 'file:///etc/passwd'}}",
            "found 'file:///etc/passwd', expected http(s)://host/path",
        ),
        ("spot: {notices: {metadata: 'http://['}}", "expected http(s)://host/path"),
        ("spot: {}, replica: {purchase: spot}", "`replica.purchase` is spot already"),
        ("spot: {base: 1.5}", "spot.base"),
    ],
)
def test_wrong_spot_is_told(spot: str, mistake: str) -> None:
    """Each with what is expected."""
    assert mistake in mistakes_of(scaled(f"{ACTUATOR}, {spot}"))[0]
