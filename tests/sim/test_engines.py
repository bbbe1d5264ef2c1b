"""What a report says of its engines: what they were made from, and how wrong they may be."""

from penstock.config.costs import Cost
from penstock.config.scenarios import Group
from penstock.sim.engines import fleets_told, title, told

COMPUTED = Group(cost=Cost(model="llama-3.1-8b", gpu="h100", dtype="fp8"))


def test_a_computed_engine_tells_what_was_assumed_and_its_error() -> None:
    """Memory, limits, time outside, money with its source, expected error."""
    assert title(COMPUTED) == "llama-3.1-8b in fp8 on 1 × H100-SXM"
    (line,) = told([COMPUTED])
    parts = ["KV blocks of 16 tokens", "1,024 sequences", "8,192 tokens a step", "ms outside of the engine"]
    parts += ["6.88 USD an hour (AWS p5.48xlarge", "Expected error: not known. The constants"]
    assert [part for part in parts if part not in line] == []


def test_money_of_ones_own_is_not_told_as_a_list_price() -> None:
    """The list price is told where it is used."""
    (line,) = told([Group(cost=Cost(model="llama-3.1-8b", gpu="h100"), hourly_cost=2.0)])
    assert "USD" not in line


def test_a_preset_says_what_it_is() -> None:
    """One line for each kind, however many groups have it."""
    assert told([Group(), Group(count=3), COMPUTED, COMPUTED])[0] == (
        "demo: Expected error: not known. It is not a model of a real engine."
    )
    assert len(told([Group(), Group(count=3), COMPUTED, COMPUTED])) == 2


def test_fleets_that_differ_in_size_are_told_together() -> None:
    """One sentence for three sizes; unlike groups, and fleets of several, one by one."""
    sizes = [(Group(count=count),) for count in (5, 6, 7)]
    assert fleets_told(sizes) == "5, 6 or 7 × demo (speed 1)"
    assert fleets_told(sizes[:1]) == "5 × demo (speed 1)"
    two = (Group(count=2), Group(cost="fast"))
    assert fleets_told([two, (Group(),)]) == "2 × demo (speed 1), 1 × fast (speed 1) or 1 × demo (speed 1)"
