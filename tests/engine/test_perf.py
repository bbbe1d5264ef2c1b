"""The step-time model: a line, and presets that give what they say."""

import msgspec
import pytest

from penstock.engine.perf import PRESETS, StepCost


def test_a_step_costs_the_sum_of_its_parts() -> None:
    """Base, prefill tokens, decoding sequences and context tokens each add their price."""
    cost = StepCost(base_s=1.0, prefill_token_s=0.1, decode_sequence_s=0.01, context_token_s=0.001)
    assert cost.step_s(3, 4, 5) == pytest.approx(1.0 + 0.3 + 0.04 + 0.005)


def test_a_step_is_linear_in_its_context() -> None:
    """The promise that the Batcher jumps by: one step on, a step is longer by `growth_s`."""
    for cost in PRESETS.values():
        assert cost.step_s(0, 9, 1009) - cost.step_s(0, 9, 1000) == pytest.approx(cost.growth_s(9), abs=1e-12)


def test_demo_decodes_in_about_20_ms() -> None:
    """Ten sequences of 1,000 tokens take about 20 ms a step in the preset for people to watch."""
    assert PRESETS["demo"].step_s(0, 10, 10_000) == pytest.approx(0.020, abs=0.001)


@pytest.mark.parametrize(
    "sequences, context, measured_s", [(1, 350, 0.00438), (263, 263 * 350, 0.01911), (49, 49 * 2997, 0.00994)]
)
def test_the_h200_preset_meets_its_measurements(sequences: int, context: int, measured_s: float) -> None:
    """The preset named after an H200 gives the three measured decode times that it was solved from, within 2 %."""
    assert PRESETS["h200-8b-fp8"].step_s(0, sequences, context) == pytest.approx(measured_s, rel=0.02)


def test_a_cost_can_be_written_in_a_file() -> None:
    """A cost model survives the way through JSON, with the tag that names its kind."""
    text = msgspec.json.encode(PRESETS["fast"])
    assert b'"kind":"linear"' in text
    assert msgspec.json.decode(text, type=StepCost) == PRESETS["fast"]
