"""What the Governor sees of a pool is what the Gate knows of it; old numbers are none."""

from penstock.base.nouns import GpuReading
from penstock.core.events import Metered, Observed, Probed
from penstock.core.spec import ProbeSpec, ScrapeSpec
from tests.core.playbook import arrived, fleet, gate, pool, stats


def test_a_window() -> None:
    """Queue, calls in flight, seats, health, and the engine's own numbers while they are fresh."""
    made = gate(pool(probe=ProbeSpec(), scrape=ScrapeSpec(stale_after_s=10.0)))
    made.on(fleet("a", "b", max_concurrent_requests=1), 0.0)
    (a, b) = made.window("main", 0.0).replicas  # type: ignore[union-attr]
    assert [(one.id, one.well, one.loading) for one in (a, b)] == [("a", False, True), ("b", False, True)]
    made.on(Probed("a", True), 1.0)
    for call in ("c1", "c2", "c3"):
        made.on(arrived(call), 1.0)
    made.on(Observed("a", stats(waiting=4, kv_usage=0.5, gpu_utilisation=0.25)), 1.0)
    found = made.window("main", 2.0)
    assert found is not None
    (a, b) = found.replicas
    assert (found.queued, a.in_flight, a.seats, a.well, a.loading, b.well) == (2, 1, 1, True, False, False)
    assert (a.waiting, a.kv_usage, a.gpu, b.waiting) == (4, 0.5, 0.25, None)
    old = made.window("main", 20.0)
    assert old is not None
    assert (old.replicas[0].waiting, old.replicas[0].kv_usage, old.replicas[0].gpu) == (None, None, None)
    assert made.window("x", 2.0) is None


def test_gpus_that_were_read_come_first() -> None:
    """Utilisation is the mean over the GPUs that were read of late; else what the engine says."""
    made = gate(pool(scrape=ScrapeSpec(gpus_stale_after_s=5.0, stale_after_s=100.0)))
    made.on(fleet("a"), 0.0)
    made.on(Observed("a", stats(gpu_utilisation=0.1)), 0.0)
    read = tuple(GpuReading(index=at, uuid=str(at), utilisation=used) for at, used in enumerate((0.5, 0.7, None)))
    made.on(Metered("a", read), 0.0)
    fresh, old = made.window("main", 1.0), made.window("main", 6.0)
    assert fresh is not None
    assert old is not None
    assert (fresh.replicas[0].gpu, old.replicas[0].gpu) == (0.6, 0.1)
