"""The report: one page that says what was run and shows it."""

from html.parser import HTMLParser

import pytest

from penstock.config.scenarios import Expect, Group, Policy
from penstock.core.route.presets import LeastLoaded, RoundRobin
from penstock.sim.compare import Comparison, Number, Trial, Yardstick, compare, verdicts
from penstock.sim.report import BESIDE, FIGURES, after, html, roof, shown, shown_number
from tests.sim.support import request, scenario, steady


class Page(HTMLParser):
    """What stands in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Note it."""
        self.text += data


def page(name: str = "b") -> str:
    """Two policies' report."""
    policies = {"a": Policy(strategy=RoundRobin()), name: Policy(strategy=LeastLoaded())}
    trials = {each: Trial(scenario(), policy) for each, policy in policies.items()}
    found = compare(trials, (1, 2), lambda seed: steady(200), lambda policy, seed: None)
    return html("A title", ["what was run"], found, list(verdicts(found, [Expect(metric="failed", at_most=0)])))


def test_a_page_shows_the_table_the_lines_and_the_bars() -> None:
    """Every number has its row, and there is a picture over time and one of the load."""
    made = Page(page())
    assert {"table", "svg", "polyline", "rect"} <= set(made.tags)
    assert "TTFT, p95" in made.text
    assert "what was run" in made.text
    assert "holds" in made.text


@pytest.mark.parametrize(
    ("most", "end"), [(1.21, 1.6), (0.607, 0.8), (1, 1), (99.9, 100), (1050, 1200), (0.02, 0.02), (0, 0)]
)
def test_axes_end_at_numbers_that_are_easily_read(most: float, end: float) -> None:
    """Not at 1.21, whose half is 0.607; and nothing is cut off above."""
    assert roof(most) == pytest.approx(end)
    assert (after(0.0), after(27.5)) == ("0", "27.5 s")


def test_every_picture_over_time_is_there_where_it_has_something() -> None:
    """Two tenants, shared beginnings and a price: all figures; without them those that would be empty are left out."""
    priced = scenario(fleet=(Group(count=2, cost="fast", seats=4, hourly_cost=3.0),))
    told = [
        request(0.05 * at, 600, 5, tenant=f"t{at % 2}", blocks=(7,), block_tokens=512) for at in range(60)
    ]  # fmt: skip
    full = compare({"a": Trial(priced, priced.policy)}, (1,), lambda seed: told, lambda policy, seed: None)
    seen = [head for head, _ in FIGURES if head in html("t", [], full, [])]
    assert len(seen) == len(FIGURES) - 1  # nothing failed
    bare = compare({"a": Trial(scenario(), Policy())}, (1,), lambda seed: steady(60), lambda policy, seed: None)
    page = html("t", [], bare, [])
    assert [head for head in seen if head not in page] == [
        "Prompt tokens found cached, share of each moment",
        "Fairness between tenants (Jain), of all that was served so far",
        "Cost per million output tokens of each moment",
    ]


def test_yardsticks_stand_beside_and_are_never_the_best() -> None:
    """A column of its own, a dash where it has nothing, and a line that tells what it is."""
    bare = compare({"a": Trial(scenario(), Policy())}, (1,), lambda seed: steady(20), lambda policy, seed: None)
    beside = Yardstick(name="bound", numbers={"ttft_p50_s": Number(mean=0.25, half_width=None)})
    page = html("t", [], Comparison(seeds=[1], columns=bare.columns, yardsticks=[beside]), [])
    assert "<th>a<th>bound" in page
    assert "<td class=beside>250 ms" in page
    assert "<td class=beside>–" in page
    assert BESIDE in page


def test_rows_that_say_nothing_are_left_out() -> None:
    """Without prices, impatience and retries there is no row for them; what failed is always told."""
    text = Page(page()).text
    assert "failed or refused" in text
    assert not [row for row in ("cost of the fleet", "left by their clients", "had been refused") if row in text]


def test_a_page_needs_nothing_from_elsewhere() -> None:
    """No script, no style, no picture is fetched."""
    assert not {"script", "link", "img", "iframe"} & set(Page(page()).tags)


def test_names_cannot_break_out_of_the_page() -> None:
    """A policy's name is a file's name: it is text."""
    made = page("<script>alert(1)</script>")
    assert "<script>" not in made
    assert "&lt;script&gt;" in made


def test_numbers_are_shown_by_their_kind() -> None:
    """Times with units, shares in percent, large numbers with commas, intervals where they matter."""
    assert (shown(0.25, "time"), shown(0.5, "share"), shown(12345.0, "count")) == ("250 ms", "50.0 %", "12,345")
    assert shown_number(Number(mean=0.2, half_width=0.05), "time") == "200 ms ± 50 ms"
    assert shown_number(Number(mean=0.2, half_width=0.0), "time") == "200 ms"
