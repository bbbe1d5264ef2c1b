"""Which strategy, and how many replicas: what a comparison over fleets of several sizes says, in one table."""

from collections.abc import Sequence
from typing import NamedTuple

from penstock.sim.compare import Comparison, Number, Verdict
from penstock.sim.opponents import MARK

HEADS = ("replicas", "policy", "goodput", "TTFT, p95", "cost an hour", "expected")


class Option(NamedTuple):
    """One policy over one fleet."""

    name: str
    """The column's."""
    policy: str
    replicas: int
    goodput: Number
    ttft_p95_s: Number
    cost_per_hour: Number
    holds: bool | None
    """All that is expected; None: nothing is."""

    @property
    def verdict(self) -> str:
        """For people."""
        return "–" if self.holds is None else "holds" if self.holds else "MISSED"


def options(comparison: Comparison, verdicts: Sequence[Verdict]) -> list[Option]:
    """All that were tried, by size; none where all fleets are of one size."""
    tried = [column for column in comparison.columns if not column.measured]
    sizes = {column.replicas for column in tried if not column.policy.startswith(MARK)}
    if len(sizes) < 2:
        return []
    found = []
    for column in sorted(tried, key=lambda column: column.replicas):
        own = [verdict.holds for verdict in verdicts if verdict.policy == column.policy]
        found.append(
            Option(
                column.policy, column.policy.removesuffix(f" x{column.replicas}"), column.replicas,
                column.numbers["goodput"], column.numbers["ttft_p95_s"], column.numbers["cost_per_hour"],
                all(own) if own else None,
            )
        )  # fmt: skip
    return found


def answer(found: Sequence[Option]) -> str:
    """The cheapest that are enough; where nothing costs anything, the smallest."""
    if all(option.holds is None for option in found):
        return "Nothing is expected (`expect`), so nothing says which of them is enough."
    enough = [option for option in found if option.holds]
    if not enough:
        return "None of them holds all that is expected."
    priced = any(option.cost_per_hour.mean for option in found)
    price = min(_price(option, priced) for option in enough)
    names = ", ".join(option.name for option in enough if _price(option, priced) == price)
    which = f"cheapest that is ({price:.4g} an hour)" if priced else "smallest that is"
    return f"Enough, and the {which}: {names}."


def _price(option: Option, priced: bool) -> float:
    return option.cost_per_hour.mean if priced else float(option.replicas)
