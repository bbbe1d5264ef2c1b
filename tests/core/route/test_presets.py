"""The named strategies: all there, read by their names, each with a pipeline."""

import msgspec
import pytest

from penstock.base.rand import Rand
from penstock.core.route.pipeline import build
from penstock.core.route.presets import STRATEGIES, Adaptive, P2CPeakEwma, Strategy, reads_prefix

NAMES = [
    "round_robin", "random", "weighted_round_robin", "least_connections", "least_loaded", "least_response_time",
    "p2c_peak_ewma", "adaptive", "adaptive_classic", "prefix_aware", "consistent_hash", "gpu_aware", "resource_based",
    "regional", "regional_classic",
]  # fmt: skip


def test_all_promised_strategies_are_there() -> None:
    """By the names of the specification."""
    assert STRATEGIES.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_is_read_by_its_name_and_can_be_built(name: str) -> None:
    """`{kind: name}` is enough, and gives a pipeline."""
    made: Strategy = msgspec.convert({"kind": name}, Strategy)
    assert type(made) is STRATEGIES.spec(name)
    assert build(made, Rand(1)).picker is not None


def test_settings_are_read_and_bounded() -> None:
    """Weights and times may be set, never below 0, and misspelt ones are refused."""
    assert msgspec.convert({"kind": "adaptive", "load": 1.0}, Adaptive).load == 1.0
    assert msgspec.convert({"kind": "p2c_peak_ewma", "decay_s": 5.0}, P2CPeakEwma).decay_s == 5.0
    for wrong in ({"load": -0.1}, {"latency_reference_s": -1}, {"laod": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"kind": "adaptive", **wrong}, Adaptive)


def test_who_reads_prompts() -> None:
    """Strategies that know prefix caches, and hashing by the prompt's beginning, unless that is switched off."""
    readers = [name for name in NAMES if reads_prefix(msgspec.convert({"kind": name}, Strategy))]
    assert readers == ["adaptive", "prefix_aware", "consistent_hash"]
    off = {"kind": "adaptive", "prefix": 0}, {"kind": "consistent_hash", "prefix_blocks": 0}
    assert not any(reads_prefix(msgspec.convert(each, Strategy)) for each in off)
