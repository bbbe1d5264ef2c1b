"""GPUs: a table of facts that can be extended."""

import msgspec
import pytest

from penstock.engine.hardware import GPUS, read_gpus


def test_every_gpu_says_where_its_figures_are_from() -> None:
    """Each row has a source, and figures of the right order: bytes, not gigabytes, operations, not tera-operations."""
    for gpu in GPUS.values():
        assert gpu.source
        assert 2e10 < gpu.memory_bytes < 3e11
        assert 2e11 < gpu.bandwidth_bytes_s < 1e13
        assert all(5e13 < flops < 2e16 for flops in gpu.flops.values())


def test_what_a_gpu_cannot_multiply_is_unpacked() -> None:
    """4-bit weights on an H100 are multiplied as bf16; FP8 is multiplied as it is."""
    h100 = GPUS["H100-SXM"]
    assert h100.flops_in("fp4") == h100.flops["bf16"]
    assert h100.flops_in("fp8") == 2 * h100.flops["bf16"] + 1e12


def test_the_table_can_be_extended() -> None:
    """Rows in JSON become rows of the table; a wrong field is told with its path."""
    own = msgspec.structs.replace(GPUS["H100-SXM"], name="mine", watts=350)
    assert read_gpus(msgspec.json.encode([own])) == {"mine": own}
    with pytest.raises(msgspec.ValidationError, match="missing required field"):
        read_gpus(b'[{"name": "mine"}]')
