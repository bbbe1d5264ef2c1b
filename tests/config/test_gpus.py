"""GPUs of a scenario's group: what `cost` knows of them, what is said instead, and what is assumed."""

from penstock.config.costs import Cost
from penstock.config.gpus import PLAIN, Gpus


def test_a_computed_cost_knows_its_gpus() -> None:
    """A 70B model in FP8 on two H100: half of its weights on each, of 80 GiB and 700 W."""
    card = Gpus().card(Cost(model="llama-3.1-70b", gpu="h100", dtype="fp8", tensor_parallel=2))
    assert (card.count, card.memory_bytes, card.watts, card.share) == (2, 80 << 30, 700.0, 0.9)
    assert card.weights_bytes == 70_550_000_000 // 2


def test_a_preset_is_taken_for_a_plain_one() -> None:
    """Nothing says what a preset runs on."""
    card = Gpus().card("demo")
    assert (card.memory_bytes, card.weights_bytes, card.watts) == (80 << 30, 16_000_000_000, 700.0)
    assert PLAIN.count == card.count == 1


def test_what_is_said_goes_first() -> None:
    """Also a model without weights."""
    card = Gpus(memory_bytes=1 << 30, weights_bytes=0, watts=75.0, busy_c=90.0, settle_s=5.0).card("demo")
    assert (card.memory_bytes, card.weights_bytes, card.watts, card.busy_c, card.settle_s) == (1 << 30, 0, 75.0, 90, 5)
