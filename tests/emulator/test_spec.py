"""The spec of an emulator can be written down, and gives its engine what is the engine's."""

import msgspec
import pytest

from penstock.emulator.faults import Fault
from penstock.emulator.spec import EmulatorSpec


def test_a_spec_survives_json() -> None:
    """Faults and cost model included."""
    spec = EmulatorSpec(model="m", speed=2.0, faults=(Fault(kind="status", status=503),))
    assert msgspec.json.decode(msgspec.json.encode(spec), type=EmulatorSpec) == spec


@pytest.mark.parametrize("text", ['{"speed": 0}', '{"max_num_seqs": 0}', '{"modle": "m"}', '{"kv_blocks": -1}'])
def test_impossible_specs_are_refused(text: str) -> None:
    """Zero speed, zero seats, negative memory and unknown fields do not pass."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=EmulatorSpec)


def test_the_engines_part() -> None:
    """Seats, memory and speed reach the engine."""
    engine = EmulatorSpec(
        speed=0.5, max_num_seqs=3, kv_blocks=7, block_size=8, max_model_len=50, max_waiting=9
    ).engine()
    assert (engine.speed, engine.max_num_seqs, engine.kv_blocks) == (0.5, 3, 7)
    assert (engine.block_size, engine.max_model_len, engine.max_waiting) == (8, 50, 9)
