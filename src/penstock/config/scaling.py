"""Checks of what the file says about pools that scale themselves: numbers that cannot work together, commands."""

import shlex
from math import floor
from urllib.parse import urlsplit

from penstock.adapters.actuators.deployment import KubernetesSpec
from penstock.adapters.actuators.limits import parse_cpus
from penstock.adapters.actuators.process import PLACES, ProcessSpec
from penstock.adapters.actuators.ray import RaySpec
from penstock.config.mistakes import Mistakes, Path
from penstock.config.schema import PoolConf, ScaleConf, SpotConf
from penstock.config.sources import is_object
from penstock.core.scale.guards import ceiling
from penstock.core.scale.schedule import mistakes_in
from penstock.core.scale.spec import Target

LONGEST_MONTH_H = 744.0
SHORTEST_S = 0.1
"""Looking more often than this would be a load of its own."""


def check_scale(conf: ScaleConf, pool: PoolConf, path: Path, mistakes: Mistakes) -> None:
    """Mistakes in a pool's `scale`."""
    if conf.min > conf.max:
        mistakes.say((*path, "min"), f"found {conf.min}, which is more than `max`, {conf.max}")
    if not conf.min and not pool.models:
        mistakes.say((*path, "min"), "with 0 nobody tells which models there are", "list them in the pool's `models`")
    if not pool.probe.enabled:
        mistakes.say(path, "probes tell when a replica has started: leave `probe.enabled` on")
    for name, value_s in (("interval", conf.interval_s), ("look", conf.look_s)):
        if value_s < SHORTEST_S:
            mistakes.say((*path, name), f"found {value_s:g} s, expected at least 100ms")
    _check_cost(conf, path, mistakes)
    _check_schedules(conf, path, mistakes)
    _check_targets(conf, path, mistakes)
    if conf.spot is not None:
        _check_spot(conf.spot, conf, (*path, "spot"), mistakes)
    if isinstance(conf.actuator, ProcessSpec | RaySpec):
        _check_command(conf.actuator, (*path, "actuator", "command"), mistakes)
    if isinstance(conf.actuator, ProcessSpec):
        _check_cpus(conf.actuator, (*path, "actuator", "cpus"), mistakes)
    if isinstance(conf.actuator, KubernetesSpec):
        _check_deployment(conf.actuator, conf.spot is not None, (*path, "actuator"), mistakes)


def _check_cost(conf: ScaleConf, path: Path, mistakes: Mistakes) -> None:
    """What the money is enough for must be no less than `min`: it would hold instead."""
    cost = conf.replica.hourly_cost
    for name, given in (("max_hourly_cost", conf.max_hourly_cost), ("max_monthly_cost", conf.max_monthly_cost)):
        if given is not None and not cost:
            text, hint = "what a replica costs is not known, so this bounds nothing", "set `replica.hourly_cost`"
            mistakes.say((*path, name), text, hint)
    if not cost:
        return
    if (most := ceiling(conf, cost)) < conf.min <= conf.max:
        mistakes.say((*path, "max_hourly_cost"), f"it allows {most} replicas, fewer than `min`, {conf.min}")
    if conf.max_monthly_cost is not None:
        all_month = floor(conf.max_monthly_cost / (cost * LONGEST_MONTH_H) + 1e-9)
        if all_month < conf.min:
            text = f"it allows {all_month} replicas all month, fewer than `min`, {conf.min}"
            mistakes.say((*path, "max_monthly_cost"), text)


def _check_schedules(conf: ScaleConf, path: Path, mistakes: Mistakes) -> None:
    for number, schedule in enumerate(conf.schedules):
        for name, text in mistakes_in(schedule, conf.min, conf.max):
            mistakes.say((*path, "schedules", number, name), text)


def _check_spot(spot: SpotConf, conf: ScaleConf, path: Path, mistakes: Mistakes) -> None:
    if conf.replica.purchase == "spot":
        mistakes.say(path, "`replica.purchase` is spot already, and the base is not", "leave out `replica.purchase`")
    for name, value_s in (("within", spot.within_s), ("retry", spot.retry_s)):
        if not value_s:
            mistakes.say((*path, name), "found 0, expected more than 0")
    notices = spot.notices
    if notices is None:
        return
    for name, url in (("metadata", notices.metadata), ("token", notices.token)):
        if url is not None and not _is_url(url):
            mistakes.wrong((*path, "notices", name), url, "http(s)://host/path")
    if notices.token is not None and notices.metadata is None:
        mistakes.say((*path, "notices", "token"), "a token for what? expected `metadata` as well")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_targets(conf: ScaleConf, path: Path, mistakes: Mistakes) -> None:
    found = 0
    for name in conf.targets.__struct_fields__:
        target: Target | None = getattr(conf.targets, name)
        if target is None:
            continue
        found += 1
        here = (*path, "targets", name)
        if target.up is not None and target.up < target.target:
            mistakes.say((*here, "up"), f"found {target.up:g}, which is less than the target, {target.target:g}")
        if target.down is not None and target.down > target.target:
            mistakes.say((*here, "down"), f"found {target.down:g}, which is more than the target, {target.target:g}")
    if not found and not mistakes.any_below(*path, "targets"):
        mistakes.say((*path, "targets"), "found none, expected at least one metric")


def _check_command(spec: ProcessSpec | RaySpec, path: Path, mistakes: Mistakes) -> None:
    try:
        words = shlex.split(spec.command)
    except ValueError as wrong:
        mistakes.say(path, f"it cannot be split into words ({wrong})")
        return
    if not words:
        mistakes.say(path, "found no words, expected a command")
    elif not any(PLACES[0] in text for text in (*words, *spec.env.values())):
        mistakes.say(path, f"it must say where to listen: expected {PLACES[0]} somewhere")


def _check_cpus(spec: ProcessSpec, path: Path, mistakes: Mistakes) -> None:
    for at, text in enumerate(spec.cpus):
        try:
            parse_cpus(text)
        except ValueError:
            mistakes.wrong((*path, at), text, "numbers and ranges of CPUs, like 0-7 or 0,2,4")


def _check_deployment(spec: KubernetesSpec, spot: bool, path: Path, mistakes: Mistakes) -> None:
    if spot and spec.spot_deployment is None:
        mistakes.say((*path, "spot_deployment"), "missing, expected the Deployment of the spot replicas")
    if spec.spot_deployment == spec.deployment:
        mistakes.say((*path, "spot_deployment"), "expected another one than `deployment`")
    names = ("deployment", spec.deployment), ("spot_deployment", spec.spot_deployment), ("namespace", spec.namespace)
    for name, text in names:
        if text is not None and not is_object(text):
            mistakes.wrong((*path, name), text, "a name of Kubernetes: small letters, digits, - and .")
    if not spec.order_s:
        mistakes.say((*path, "order"), "found 0, expected more than 0")
