"""What if: strategies over fleets of several sizes in one table, and which of them is enough."""

from penstock.config.scenarios import Expect, Group
from penstock.sim.compare import Comparison, Trial, compare, verdicts
from penstock.sim.report import html, what_if_cells
from penstock.sim.what_if import answer, options
from tests.sim.support import scenario, steady


def compared(hourly_cost: float | None = None, sizes: tuple[int, ...] = (1, 4)) -> Comparison:
    """One policy over fleets of these sizes; one replica alone is too slow for what comes."""
    trials = {}
    for count in sizes:
        made = scenario(fleet=(Group(count=count, cost="demo", seats=4, hourly_cost=hourly_cost),))
        trials[f"plain x{count}"] = Trial(made, made.policy)
    return compare(trials, (1,), lambda seed: steady(100, 0.03), lambda policy, seed: None)


def test_the_cheapest_that_is_enough_is_the_answer() -> None:
    """One replica misses the goodput, four hold it, five do as well and cost more."""
    found = compared(2.5, (1, 4, 5))
    told = options(found, list(verdicts(found, [Expect(metric="goodput", at_least=0.99)])))
    assert [(it.policy, it.replicas, it.holds) for it in told] == [
        ("plain", 1, False), ("plain", 4, True), ("plain", 5, True),
    ]  # fmt: skip
    assert answer(told) == "Enough, and the cheapest that is (10 an hour): plain x4."
    assert what_if_cells(told[1])[-1] == "10"


def test_without_prices_the_smallest_is() -> None:
    """And where none is enough, or nothing is expected, that is said."""
    found = compared()
    for expect, said in (
        (Expect(metric="ok", at_least=100), "Enough, and the smallest that is: plain x1."),
        (Expect(metric="ok", at_least=101), "None of them holds all that is expected."),
    ):
        assert answer(options(found, list(verdicts(found, [expect])))) == said
    assert answer(options(found, [])).startswith("Nothing is expected")
    assert what_if_cells(options(found, [])[0])[-1] == "–"


def test_fleets_of_one_size_are_no_question_of_size() -> None:
    """No table."""
    assert options(compared(sizes=(2,)), []) == []


def test_the_page_has_it_first() -> None:
    """Before all other numbers, with its answer."""
    found = compared(2.5)
    page = html("t", [], found, list(verdicts(found, [Expect(metric="goodput", at_least=0.99)])))
    assert page.index("<h2>What if</h2>") < page.index("TTFT, p99")
    assert "<td>4<td>plain<td>100.0 %" in page
    assert "Enough, and the cheapest that is (10 an hour): plain x4." in page
