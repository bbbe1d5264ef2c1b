"""Which actuator a description stands for. Built-in ones are listed here, explicitly."""

from collections.abc import Iterable, Iterator

from penstock.adapters.actuators.deployment import KubernetesSpec
from penstock.adapters.actuators.dry_run import DryRun, DryRunSpec
from penstock.adapters.actuators.kubernetes import KubernetesActuator
from penstock.adapters.actuators.process import DIRECTORY, ProcessActuator, ProcessSpec, left_in
from penstock.adapters.actuators.ray import RayActuator, RaySpec
from penstock.base.ports import Actuator

Spec = ProcessSpec | KubernetesSpec | RaySpec | DryRunSpec
EXIT_S = 5.0
"""From SIGKILL to the end."""


def actuator_of(spec: Spec, pool: str) -> Actuator:
    """The actuator of a pool. Raises OSError where what it needs cannot be had."""
    if isinstance(spec, ProcessSpec):
        return ProcessActuator(spec, pool)
    if isinstance(spec, KubernetesSpec):
        return KubernetesActuator(spec, pool)
    return RayActuator(spec, pool) if isinstance(spec, RaySpec) else DryRun(pool)


def directory_of(spec: Spec) -> str:
    """The folder of what must survive a restart of the gateway."""
    return getattr(spec, "directory", DIRECTORY)


def ends_within_s(spec: Spec) -> float | None:
    """How long the end of what runs may take where it is to end with the gateway; None: it goes on."""
    return spec.stop_s + EXIT_S if isinstance(spec, ProcessSpec) and spec.at_exit == "stop" else None


def respec(actuator: Actuator, spec: Spec) -> bool:
    """New settings for what it will start from now on. False: they need another actuator, or another folder."""
    if isinstance(actuator, ProcessActuator) and isinstance(spec, ProcessSpec):
        return actuator.respec(spec)
    if isinstance(actuator, KubernetesActuator) and isinstance(spec, KubernetesSpec):
        return actuator.respec(spec)
    if isinstance(actuator, RayActuator) and isinstance(spec, RaySpec):
        return actuator.respec(spec)
    return isinstance(actuator, DryRun) and isinstance(spec, DryRunSpec)


def has_money(spec: Spec) -> bool:
    """Whether what it runs costs something."""
    return not isinstance(spec, DryRunSpec)


def leftovers(specs: Iterable[Spec], pools: Iterable[str]) -> Iterator[str]:
    """A line for each pool that is not among these, and whose replicas still run on this machine."""
    folders = {spec.directory for spec in specs if isinstance(spec, ProcessSpec)} | {DIRECTORY}
    for folder in sorted(folders):
        yield from left_in(folder, frozenset(pools))
