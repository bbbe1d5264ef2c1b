"""The opponents are plain: one metric, Kubernetes' defaults, and a CPU that says little."""

import pytest

from bench.scaling_rivals import cpu_share, hpa_cpu, hpa_queue


def test_one_metric_and_the_hpas_defaults() -> None:
    """No band of their own but the tolerance, up at once, down after five minutes."""
    queue, cpu = hpa_queue(1.0, 2, 9), hpa_cpu(0.5, 2, 9)
    assert [name for name in queue.targets.__struct_fields__ if getattr(queue.targets, name) is not None] == ["queue"]
    assert [name for name in cpu.targets.__struct_fields__ if getattr(cpu.targets, name) is not None] == ["gpu"]
    for made in (queue, cpu):
        assert (made.tolerance, made.up.stabilisation_s, made.down.stabilisation_s) == (0.1, 0.0, 300.0)
        assert (made.min, made.max, made.forecast) == (2, 9, None)


def test_a_full_engine_has_an_idle_cpu() -> None:
    """One of four cores is busy whatever the batch; a hundred tokens a second add little."""
    assert cpu_share(False, 0.0) == pytest.approx(0.0125)
    assert cpu_share(True, 0.0) == pytest.approx(0.2625)
    assert cpu_share(True, 100.0) - cpu_share(True, 0.0) < 0.005
