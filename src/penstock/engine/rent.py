"""What a GPU costs an hour: list prices on demand, single figures with their sources. Yours are other ones.

USD for one GPU of an instance. From instances.vantage.sh (AWS, us-east-1, as of 2026-01-21; larger instances divided
by their GPUs) and, for A10, Lambda's list as of 2026-05-20.
"""

from typing import NamedTuple


class Rent(NamedTuple):
    """A list price."""

    usd_per_hour: float
    source: str


_AWS = "AWS {}, us-east-1, on demand, 2026-01"
RENTS: dict[str, Rent] = {
    "H100-SXM": Rent(55.04 / 8, _AWS.format("p5.48xlarge")),
    "H200-SXM": Rent(63.296 / 8, _AWS.format("p5en.48xlarge")),
    "B200-SXM": Rent(113.9328 / 8, _AWS.format("p6-b200.48xlarge")),
    "A100-SXM-80GB": Rent(27.44705 / 8, _AWS.format("p4de.24xlarge")),
    "A100-SXM-40GB": Rent(21.957642 / 8, _AWS.format("p4d.24xlarge")),
    "L40S": Rent(1.861, _AWS.format("g6e.xlarge")),
    "L4": Rent(0.8048, _AWS.format("g6.xlarge")),
    "A10": Rent(1.29, "Lambda gpu_1x_a10, on demand, 2026-05"),
}
"""By the GPU's name in `engine.hardware`. RTX 4090: nobody rents it at a list price."""
