"""What was used before this process began counts where it still matters, whenever its account opens."""

from penstock.base.entries import Used
from penstock.base.nouns import Usage
from penstock.core.events import Recalled
from penstock.core.limits.account import Account
from penstock.core.limits.limits import Limits
from penstock.core.limits.recall import Recollection
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec, RateSpec
from tests.core.limits.test_limits import flight, limits, used
from tests.core.playbook import arrived, fleet, gate, pool, sends

NOON = 1_700_000_000.0 // 86_400 * 86_400 + 43_200
QUARTER_S, HOUR_S, DAY_S = 900.0, 3600.0, 86_400.0
PRICES = {"m": PriceSpec(prompt=1e6)}


def told(made: Limits, *lines: Used) -> None:
    """The Gate hears it."""
    made.recollection.take(lines, lambda name: {"alias": "m"}.get(name, name))
    made.recall()


def line(at: float, requests: int = 0, tokens: int = 0, *, model: str = "m", **money: int) -> Used:
    """What tenant `t` with key `k` had used."""
    return Used("t", "k", model, at, requests, tokens, **money)


def test_windows_of_hours_and_days_go_on() -> None:
    """What is older than the window is not in it, and what is in it leaves it in its time; a minute is not recalled."""
    made = limits(tenants={"t": AllowanceSpec(requests_per_minute=5, requests_per_hour=99, tokens_per_day=1000)})
    told(made, line(NOON - DAY_S - HOUR_S, 9, 500), line(NOON - 2 * HOUR_S, 3, 100), line(NOON - 60.0, 2, 40))
    assert used(made, NOON) == {
        "requests per minute": (0, 0), "requests per hour": (2, 0), "tokens per day": (140, 0),
    }  # fmt: skip
    assert used(made, NOON + DAY_S - HOUR_S)["tokens per day"] == (40, 0)
    assert used(made, NOON + 2 * DAY_S)["tokens per day"] == (0, 0)


def test_budgets_go_on() -> None:
    """Of the day and the month, to the billionth; the next day begins anew, and so does the next month."""
    spec = AllowanceSpec(budget_per_day=5.0, budget_per_month=20.0)
    made = limits(tenants={"t": spec}, prices=PRICES)
    told(made, line(NOON, day=2_000_000_001, month=3_500_000_000), line(NOON, day=1, model="other"))
    assert used(made, NOON) == {"budget per day": (2.000000002, 0), "budget per month": (3.5, 0)}
    assert used(made, NOON + DAY_S) == {"budget per day": (0, 0), "budget per month": (3.5, 0)}
    late = limits(tenants={"t": spec}, prices=PRICES)
    told(late, line(NOON, day=2_000_000_000, month=3_500_000_000))
    assert used(late, NOON + DAY_S) == {"budget per day": (0, 0), "budget per month": (3.5, 0)}


def test_it_counts_for_everybody_it_concerns() -> None:
    """Tenant, key, all together, and their limits on one model, by the name that it is served by."""
    own = AllowanceSpec(tokens_per_day=1000, models={"m": RateSpec(tokens_per_day=500)})
    made = limits(tenants={"t": own}, keys={"k": own}, everybody=own)
    told(made, line(NOON, 1, 10), line(NOON, 1, 100, model="alias"), line(NOON, 1, 200, model="other"))
    assert made.hold(flight(key="k", max_tokens=5), NOON) is None
    seen = {(view.kind, view.model): view.limits[0].used - view.limits[0].held for view in made.views(NOON)}
    assert seen == {
        (kind, model): tokens
        for kind in ("tenant", "key", "everybody") for model, tokens in (("", 310), ("m", 110))
    }  # fmt: skip


def test_what_was_used_since_counts_beside_it() -> None:
    """Calls that came before it was told, and those after; told in parts it adds up."""
    made = limits(tenants={"t": AllowanceSpec(tokens_per_day=1000, budget_per_day=90.0)}, prices=PRICES)
    first, second = flight("c1", max_tokens=5), flight("c2", max_tokens=5)
    assert made.hold(first, NOON) is None
    told(made, line(NOON - QUARTER_S, 1, 100, day=1_000_000_000))
    told(made, line(NOON - 1.0, 1, 50), line(NOON, 0, 0, day=500_000_000))
    assert made.hold(second, NOON) is None
    for one in (first, second):
        made.settle(one, "ok", 200, Usage(1, 4), 4, True)
    assert used(made, NOON) == {"tokens per day": (160, 0), "budget per day": (3.5, 0)}


def test_what_waits_is_bounded_by_what_was_told() -> None:
    """It goes to its account, and then waits no more."""
    waiting = Recollection()
    waiting.take([line(NOON, 1, 1), line(NOON, 1, 1)], str)
    assert len(waiting) == 6
    made = limits(tenants={"t": AllowanceSpec(tokens_per_day=10)})
    waiting.give(("tenant", "t", ""), next(iter(_accounts(made))))
    assert len(waiting) == 5


def _accounts(made: Limits) -> list[Account]:
    made.views(NOON)
    return list(made._accounts.values())


def test_a_restart_gives_no_second_budget() -> None:
    """The Gate is told, by an alias as well, and refuses what the budget does not cover any more."""
    spec = LimitsSpec(tenants={"t": AllowanceSpec(budget_per_day=1.0)}, prices={"m": PriceSpec(prompt=1000.0)})
    machine = gate(pool(), limits=spec, aliases={"alias": "m"})
    machine.on(fleet("a"), NOON)
    machine.on(Recalled((Used("t", "k", "alias", NOON, day=900_000_000, month=900_000_000),)), NOON)
    assert sends(machine.on(arrived("c1", tenant="t", prompt_tokens=10, max_tokens=1), NOON)) == [("c1", "a")]
    machine.on(arrived("c2", tenant="t", prompt_tokens=100, max_tokens=1), NOON)
    ((account,),) = [machine.accounts(NOON)]
    assert account.limits[0].used == 0.94
