"""Facts of GPUs: what a step costs at best. A table that you can extend.

Figures are the makers', without sparsity: what a kernel reaches of them is a measured constant (`engine.roofline`). For
A100, H100 and L40S they agree with github.com/ai-dynamo/aiconfigurator (`systems/*.yaml`, commit 095f58a51c4c).
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

GIB = 1024**3


class Gpu(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of GPU."""

    name: str
    memory_bytes: int
    bandwidth_bytes_s: float
    flops: dict[str, float]
    """Dense matrix multiplication by type of the numbers, operations a second."""
    link_bytes_s: float
    """To its neighbours in the node, one direction."""
    watts: int
    source: str

    def flops_in(self, dtype: str) -> float:
        """Of this type; one that the GPU does not multiply is unpacked to bf16 (as weight-only kernels do)."""
        return self.flops.get(dtype, self.flops["bf16"])


def by_name(gpus: Iterable[Gpu]) -> dict[str, Gpu]:
    """A table."""
    return {gpu.name: gpu for gpu in gpus}


def read_gpus(data: bytes) -> dict[str, Gpu]:
    """More GPUs from a JSON list of them, to be merged into the table. Raises msgspec.ValidationError."""
    return by_name(msgspec.json.decode(data, type=list[Gpu]))


def _gpu(
    name: str, gib: float, bandwidth_gb_s: float, tflops: dict[str, float], link_gb_s: float, watts: int, source: str
) -> Gpu:
    return Gpu(
        name=name,
        memory_bytes=int(gib * GIB),
        bandwidth_bytes_s=bandwidth_gb_s * 1e9,
        flops={dtype: value * 1e12 for dtype, value in tflops.items()},
        link_bytes_s=link_gb_s * 1e9,
        watts=watts,
        source=source,
    )


# fmt: off
GPUS: dict[str, Gpu] = by_name(
    [
        # GiB, GB/s of memory, TFLOPS, GB/s of links in one direction, W
        _gpu("H100-SXM", 80, 3350, {"bf16": 989, "fp8": 1979, "int8": 1979}, 450, 700, "NVIDIA H100 data sheet"),
        _gpu("H200-SXM", 141e9 / GIB, 4800, {"bf16": 989, "fp8": 1979, "int8": 1979}, 450, 700,
             "NVIDIA H200 data sheet"),
        _gpu("B200-SXM", 180e9 / GIB, 8000, {"bf16": 2250, "fp8": 4500, "int8": 4500, "fp4": 9000}, 900, 1000,
             "NVIDIA DGX B200 data sheet, an eighth of it"),
        _gpu("A100-SXM-80GB", 80, 2039, {"bf16": 312, "int8": 624}, 300, 400, "NVIDIA A100 data sheet"),
        _gpu("A100-SXM-40GB", 40, 1555, {"bf16": 312, "int8": 624}, 300, 400, "NVIDIA A100 data sheet"),
        _gpu("L40S", 45, 864, {"bf16": 362, "fp8": 733, "int8": 733}, 32, 350,
             "NVIDIA L40S data sheet; 46,068 MiB usable"),
        _gpu("L4", 22.5, 300, {"bf16": 121, "fp8": 242, "int8": 242}, 32, 72,
             "NVIDIA L4 data sheet, halved for no sparsity"),
        _gpu("A10", 22.5, 600, {"bf16": 125, "int8": 250}, 32, 150, "NVIDIA A10 data sheet"),
        _gpu("RTX-4090", 25_250_627_584 / GIB, 1008, {"bf16": 165, "fp8": 330, "int8": 661}, 32, 450,
             "NVIDIA Ada architecture whitepaper, FP32 accumulation; memory as torch tells it"),
    ]
)
# fmt: on
"""By name."""
