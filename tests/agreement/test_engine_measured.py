"""The engine model beside measurements of real engines that it was not made from. The table in
docs/background/engine-model.md has the same numbers; these tests keep it true.

Samples of the measurements are in tests/samples (ATTRIBUTION.md). The tests over the full data sets need
PENSTOCK_DATA=FOLDER, with the folders that they name; without, they are skipped.
"""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import pytest

from bench.engine_reality import compared, everything_else, noise, sample, split
from penstock.engine.batcher import Batcher, EngineSpec
from penstock.engine.computed import HELD_BACK
from penstock.engine.kernels import Calibrated, calibrate, read_attention, read_layers
from penstock.engine.words import Emit, Finish, Order, Submit, Woke

SAMPLES = Path(__file__).parents[1] / "samples"
LAYERS = 32


def lines(name: str) -> Iterator[str]:
    """The lines of a packed sample."""
    return iter(gzip.decompress((SAMPLES / name).read_bytes()).decode().splitlines())


# ===== (a) 300 requests on an RTX 4090, from a profile of its kernels =====


def rtx4090() -> Calibrated:
    """Calibrated from kernels alone."""
    return calibrate(
        read_attention(lines("rtx4090_attention.csv.gz"), LAYERS),
        read_layers(lines("rtx4090_dense.csv.gz"), "tokens", LAYERS),
        read_layers(lines("rtx4090_per_sequence.csv.gz"), "sequences", LAYERS),
        trusted=lambda point: point.context + point.chunk + point.decodes * point.decode_context <= 41_408,
    )


def replay(spec: EngineSpec, requests: list[dict[str, object]]) -> dict[str, tuple[float, float, float]]:
    """TTFT, mean time per further token and end-to-end time of every request, by its place in the list."""
    batcher, first, end = Batcher(spec, each_token=False), dict[str, float](), dict[str, float]()

    def take(orders: list[Order], at: float) -> None:
        for order in orders:
            if isinstance(order, Finish):
                end[order.id] = at
            elif isinstance(order, Emit) and order.first:
                first[order.id] = at

    for number, request in enumerate(requests):
        at = float(request["queued_s"])  # type: ignore[arg-type]
        while (wake := batcher.next_wake()) is not None and wake <= at:
            take(batcher.on(Woke(), wake), wake)
        prompt, answer = int(request["input_tokens"]), int(request["output_tokens"])  # type: ignore[call-overload]
        known = [start + step for start, count in request["blocks"] for step in range(count)]  # type: ignore[attr-defined]
        own = [10**6 * (number + 1) + block for block in range((prompt + answer) // 16 - len(known))]
        take(batcher.on(Submit(str(number), prompt, answer, (*known, *own)), at), at)
    while (wake := batcher.next_wake()) is not None:
        take(batcher.on(Woke(), wake), wake)
    told = {}
    for number, request in enumerate(requests):
        queued, name = float(request["queued_s"]), str(number)  # type: ignore[arg-type]
        more = int(request["output_tokens"]) - 1  # type: ignore[call-overload]
        told[name] = first[name] - queued, (end[name] - first[name]) / more, end[name] - queued
    return told


@pytest.mark.slow
def test_kernels_that_were_held_back_are_met() -> None:
    """Steps made of kernels at chunks and batches that were not fitted are met within 3 % at the median."""
    found = rtx4090()
    assert found.held_back.median < 0.03
    assert found.by_regime["decode"].p95 < 0.05


@pytest.mark.slow
def test_a_real_run_is_predicted_from_kernels() -> None:
    """300 requests of a real vLLM 0.19 on an RTX 4090, arriving far faster than it serves them, with the KV cache full
    all the time: mean TTFT, mean time per token and mean end-to-end time are predicted within 5 %, from the profile of
    the kernels and the number of KV blocks, with nothing taken from the run."""
    requests = sorted((json.loads(line) for line in lines("rtx4090_requests.jsonl.gz")), key=lambda r: r["queued_s"])
    spec = EngineSpec(cost=rtx4090().cost, max_num_seqs=256, max_num_batched_tokens=2048, kv_blocks=2588 - 1)
    told = replay(spec, requests)
    for place, name in enumerate(("ttft_s", "tpot_s", "e2e_s")):
        predicted = mean(values[place] for values in told.values())
        assert predicted == pytest.approx(mean(request[name] for request in requests), rel=0.05), name


# ===== (b) dense models on H100 with vLLM, whole groups held back =====


@pytest.mark.slow
def test_published_measurements_are_predicted() -> None:
    """Qwen3-32B and Llama-3.1-70B by vLLM on H100, settings (model, TP, input, output length) that were held back: the
    median error is at most 10 % of TPOT and 25 % of TTFT."""
    _, held = split(sample())
    ttft, tpot = compared(held)
    assert ttft.points == 45
    assert tpot.median <= 0.10
    assert ttft.median <= 0.25


@pytest.mark.slow
def test_expected_errors_that_users_are_told_are_those_measured() -> None:
    """What a scenario's report says of H100 is what comes out for the held-back settings of that model and type."""
    _, held = split(sample())
    for (_, weights), (misses, name, _) in HELD_BACK.items():
        rows = [row for row in held if row.model == name and (row.precision == weights)]
        ttft, tpot = compared(rows)
        assert misses.points == len(rows)
        told = (misses.tpot_median, misses.tpot_p95, misses.ttft_median, misses.ttft_p95)
        assert told == pytest.approx((tpot.median, tpot.p95, ttft.median, ttft.p95), abs=0.001)


def test_no_group_is_on_both_sides() -> None:
    """What was fitted and what was held back have no setting in common."""
    fitted, held = split(sample())
    assert {row.group for row in fitted}.isdisjoint({row.group for row in held})
    assert len(fitted) + len(held) == 135


def test_noise_is_what_equal_settings_differ_by() -> None:
    """Two measurements of one setting that differ by a tenth are a noise of a tenth; single ones say nothing."""
    found = noise([("a", 1.0, 2.0), ("a", 1.1, 2.0), ("b", 5.0, 5.0)])
    assert found == pytest.approx((1, 0.1, 0.0))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_full_data_set_can_be_shown() -> None:
    """With PENSTOCK_DATA, every family of measurements has its line, and the noise of the data is told."""
    folder = os.environ.get("PENSTOCK_DATA")
    if not folder:
        pytest.skip("PENSTOCK_DATA names no folder with perf/measured_ttft_tpot")
    told = list(everything_else(Path(folder)))
    assert len(told) > 5
    assert told[-1].split()[0].isdigit()
