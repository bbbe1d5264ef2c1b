"""GPUs read from a real exporter's page over a socket, and from agents; what fails, fails quietly."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from penstock.base.errors import ConfigError
from penstock.base.nouns import GpuReading
from penstock.config.schema import Access, GpuMetricsConf
from penstock.core.events import Metered
from penstock.gateway.fleet.gpus import GpuWatch, chosen, parse_pushed, source_of
from tests.helpers.wire import CLOSE, Engine, answer, run, until

PAGE = (Path(__file__).parents[2] / "adapters/gpu/data/dcgm_l40s.txt").read_bytes()


def access(**replicas: GpuMetricsConf | None) -> Mapping[str, Access]:
    """What is known of these replicas."""
    return {name: Access(gpu_metrics=conf) for name, conf in replicas.items()}


def test_a_source_is_asked_once_for_all_its_replicas() -> None:
    """Two replicas share a node's exporter: one request, and each gets the GPUs that are its own."""

    async def main() -> None:
        told: list[Metered] = []
        async with Engine([[answer(PAGE), CLOSE]]) as engine:
            url = f"{engine.url}/metrics"
            conf = GpuMetricsConf(dcgm=url)
            known = access(a=conf, b=GpuMetricsConf(dcgm=url, devices=("99",)), c=None)
            await GpuWatch(lambda: known, told.append).look()
            assert len(engine.got) == 1
        assert [(fact.replica, len(fact.gpus) > 0) for fact in told] == [("a", True), ("b", False)]
        assert told[0].gpus[0].utilisation is not None

    run(main)


def test_a_source_that_fails_is_logged_once_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens there, round after round: one line. The other sources are read all the same."""

    async def main() -> None:
        told: list[Metered] = []
        async with Engine([[answer(PAGE), CLOSE], [answer(PAGE), CLOSE]]) as engine:
            known = access(
                dead=GpuMetricsConf(dcgm="http://127.0.0.1:1/metrics"), b=GpuMetricsConf(dcgm=engine.url + "/metrics")
            )
            watch = GpuWatch(lambda: known, told.append)
            with caplog.at_level(logging.WARNING):
                await watch.look()
                await watch.look()
        assert [fact.replica for fact in told] == ["b", "b"]
        assert len([record for record in caplog.records if "GPUs cannot be read" in record.message]) == 1

    run(main)


def test_it_looks_again_and_again_until_it_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in one round costs that round."""

    async def main() -> None:
        rounds = 0

        def known() -> Mapping[str, Access]:
            nonlocal rounds
            rounds += 1
            if rounds == 2:
                raise RuntimeError("a bug")
            return {}

        task = asyncio.get_running_loop().create_task(GpuWatch(known, lambda fact: None, every_s=0.001).watch())
        await until(lambda: rounds >= 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_sources_are_told_apart() -> None:
    """By kind, and exporters by their URL."""
    assert source_of(GpuMetricsConf(nvml=True)) == ("nvml", "")
    assert source_of(GpuMetricsConf(smi=True)) == ("smi", "")
    assert source_of(GpuMetricsConf(dcgm="http://h:9400/metrics")) == ("dcgm", "http://h:9400/metrics")


def test_devices_are_chosen_by_index_or_uuid() -> None:
    """None named: all; never more than a replica can have."""
    host = [GpuReading(index=n, uuid=f"GPU-{n}") for n in range(100)]
    assert [it.index for it in chosen(host, ("1", "GPU-3"))] == [1, 3]
    assert len(chosen(host, ())) == 64


def test_what_agents_push_is_bounded() -> None:
    """A list of readings with numbers that can be true; anything else is told as a mistake."""
    whole = {"index": 0, "uuid": "GPU-1", "utilisation": 0.5, "memory_used_bytes": 5, "temperature_c": 60.5}
    assert parse_pushed([whole, {"index": 1}]) == (
        GpuReading(index=0, uuid="GPU-1", utilisation=0.5, memory_used_bytes=5, temperature_c=60.5),
        GpuReading(index=1, uuid=""),
    )
    mistakes: tuple[object, ...] = (
        {}, [{}], [{"index": 0, "utilisation": 50}], [{"index": -1}], [{"index": 0, "x": 1}], [whole] * 65,
    )  # fmt: skip
    for wrong in mistakes:
        with pytest.raises(ConfigError, match="the readings"):
            parse_pushed(wrong)
