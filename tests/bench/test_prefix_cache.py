"""The measurement of prefix-cache hits: against emulated engines always, against real ones where there are any."""

import os
from pathlib import Path

import pytest

from bench.prefix_cache import Load, Outcome, ask, counted, run
from penstock.adapters.dialects.vllm import Vllm
from tests.helpers.processes import Emulators, ending


def test_counters_are_read_by_their_whole_name() -> None:
    """Samples of several engines add up; names that only begin alike are others."""
    page = b'# TYPE a_total counter\na_total{engine="0"} 2.0\na_total{engine="1"} 3.0\na_total_created 9\nb_a_total 7\n'
    assert counted(page, "a_total") == 5


def outcomes(engines: list[str], load: Load, seed: int) -> dict[str, Outcome]:
    """Every strategy over the same order of prompts."""
    return {name: run(engines, name, load, seed) for name in ("round_robin", "prefix_aware", "adaptive")}


@pytest.mark.slow
def test_the_measurement_tells_strategies_apart(tmp_path: Path) -> None:
    """Over emulated engines whose cache holds two thirds of the prefixes: more hits, and an estimate near them."""
    with ending(Emulators(tmp_path, 1.0, 1.0, preset="fast", kv_blocks=64, block_size=128)) as (engines,):
        assert isinstance(engines, Emulators)
        found = outcomes(engines.urls, Load("tiny", requests=160, clients=2), seed=1)
    plain, aware = found["round_robin"], found["prefix_aware"]
    assert plain.estimate == 0
    assert aware.hits >= 1.3 * plain.hits
    assert abs(aware.estimate - aware.hits) <= 0.15 * aware.hits


@pytest.mark.real_engine
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_engines_find_more_cached() -> None:
    """Over three orders of 320 prompts with 16 prefixes: 1.5 times the hits of round robin by the engines' own count,
    and what was estimated is within 5 % of that."""
    engines = os.environ.get("PENSTOCK_REAL_ENGINES", "").split()
    if len(engines) != 2:
        pytest.skip("needs two engines in PENSTOCK_REAL_ENGINES")
    stats = Vllm().stats(ask(engines[0], "/metrics"))
    if (stats.kv_tokens or 0) > 8192:
        pytest.skip("all prefixes fit into its KV cache: start vLLM with --num-gpu-blocks-override 64")
    model = Vllm().models(ask(engines[0], "/v1/models"))[0]
    found = [outcomes(engines, Load(model), seed) for seed in (1, 2, 3)]
    for strategy in ("prefix_aware", "adaptive"):
        hits = sum(each[strategy].hits for each in found)
        assert hits >= 1.5 * sum(each["round_robin"].hits for each in found)
        assert abs(sum(each[strategy].estimate for each in found) - hits) <= 0.05 * hits
