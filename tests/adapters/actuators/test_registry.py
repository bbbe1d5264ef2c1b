"""Descriptions become actuators, and keep what cannot change while something runs."""

from pathlib import Path

from penstock.adapters.actuators.deployment import KubernetesSpec
from penstock.adapters.actuators.dry_run import DryRun, DryRunSpec
from penstock.adapters.actuators.kubernetes import KubernetesActuator
from penstock.adapters.actuators.process import ProcessActuator
from penstock.adapters.actuators.ray import RayActuator, RaySpec
from penstock.adapters.actuators.registry import EXIT_S, actuator_of, directory_of, ends_within_s, leftovers, respec
from tests.adapters.actuators.programs import spec


def test_each_kind(tmp_path: Path) -> None:
    """A description stands for its actuator, and tells what becomes of its replicas with the gateway."""
    process = actuator_of(spec(tmp_path), "p")
    assert isinstance(process, ProcessActuator)
    assert isinstance(actuator_of(DryRunSpec(), "p"), DryRun)
    assert ends_within_s(spec(tmp_path)) is None
    assert ends_within_s(spec(tmp_path, at_exit="stop", stop_s=3.0)) == 3.0 + EXIT_S
    assert ends_within_s(DryRunSpec()) is None
    assert directory_of(spec(tmp_path)) == spec(tmp_path).directory
    assert directory_of(DryRunSpec()) == ".penstock"
    assert list(leftovers([spec(tmp_path), DryRunSpec()], ["p"])) == []
    process.close()


def test_another_kind_needs_a_restart(tmp_path: Path) -> None:
    """New settings of the same kind hold; another kind would not find what runs."""
    process, dry = actuator_of(spec(tmp_path), "p"), DryRun("p")
    assert respec(process, spec(tmp_path, nice=1))
    assert respec(dry, DryRunSpec())
    assert not respec(process, DryRunSpec())
    scaled = actuator_of(KubernetesSpec(deployment="d"), "p")
    assert isinstance(scaled, KubernetesActuator)
    assert respec(scaled, KubernetesSpec(deployment="d", port=9))
    assert not respec(scaled, DryRunSpec())
    assert ends_within_s(scaled.spec) is None
    on_ray = actuator_of(RaySpec(command="run {port}"), "p")
    assert isinstance(on_ray, RayActuator)
    assert respec(on_ray, RaySpec(command="other {port}"))
    assert not respec(on_ray, DryRunSpec())
    on_ray.close()
    assert not respec(dry, spec(tmp_path))
    process.close()
