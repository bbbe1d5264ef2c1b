"""What calls hold: all or nothing, given back to the last token, whoever's limit it is."""

from typing import Any

import pytest

from penstock.base.nouns import Usage
from penstock.core.catalog import Target
from penstock.core.flight import Flight
from penstock.core.limits.limits import Limits
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec, RateSpec, ShapingSpec, SharedSpec, TiersSpec
from tests.core.playbook import call

MODEL = (Target("main", "m"),)


def limits(**spec: Any) -> Limits:
    """Limits by this spec."""
    made = Limits()
    made.respec(LimitsSpec(**spec))
    return made


def of_tenant(**allowance: Any) -> Limits:
    """Limits of the tenant `t`."""
    return limits(tenants={"t": AllowanceSpec(**allowance)})


def flight(id: str = "c1", model: str = "m", **fields: Any) -> Flight:
    """A call of the tenant `t`."""
    return Flight(call(id, **{"tenant": "t", "prompt_tokens": 10, **fields}), (Target("main", model),), 0.0)


def used(made: Limits, now: float = 0.0) -> dict[str, tuple[float, float]]:
    """What is used and held, by limit."""
    return {gauge.what: (gauge.used, gauge.held) for view in made.views(now) for gauge in view.limits}


def test_an_id_is_held_once_a_tenant() -> None:
    """The same id of the same tenant is refused until it is given back; of another tenant it is another id."""
    made = Limits()
    assert made.enter(call("c1", client_id="x", tenant="t")) is None
    assert made.enter(call("c2", client_id="x", tenant="t")) == "duplicate_request_id"
    assert made.enter(call("c3", client_id="x", tenant="u")) is None
    assert len(made) == 2
    made.leave(call("c1", client_id="x", tenant="t"))
    assert made.enter(call("c4", client_id="x", tenant="t")) is None


def test_calls_without_an_id_hold_none() -> None:
    """No id, nothing to meet."""
    made = Limits()
    assert made.enter(call("c1")) is made.enter(call("c2")) is None
    assert len(made) == 0
    made.leave(call("c1"))


def test_without_limits_nothing_is_held() -> None:
    """No spec, or a tenant that no limit is for: no hold, and nothing to tell a client."""
    for made in (Limits(), limits(tenants={"other": AllowanceSpec(requests_per_minute=1)})):
        one = flight()
        assert made.hold(one, 0.0) is None
        assert one.hold is None
        assert made.rates(one, 0.0) is None
        made.settle(one, "ok", 200, None, 0, True)
        assert made.holds == 0


def test_a_hold_is_settled_to_what_was_used() -> None:
    """Forty for a prompt guessed at ten, and the longest answer; then what the engine says."""
    made, one = of_tenant(tokens_per_minute=1000), flight(max_tokens=100)
    assert made.hold(one, 0.0) is None
    assert used(made) == {"tokens per minute": (140, 140)}
    made.settle(one, "ok", 200, Usage(prompt_tokens=12, completion_tokens=30), 30, True)
    assert used(made) == {"tokens per minute": (42, 0)}
    assert made.holds == 0


def test_who_gets_nothing_is_charged_nothing() -> None:
    """Requests and tokens come back, and the place among the calls at once."""
    made, one = of_tenant(tokens_per_minute=1000, requests_per_minute=1, concurrency=1), flight()
    assert made.hold(one, 0.0) is None
    assert made.hold(flight("c2"), 0.0) is not None
    made.settle(one, "upstream_5xx", 502, None, 0, True)
    assert used(made) == {"tokens per minute": (0, 0), "requests per minute": (0, 0)}
    assert made.hold(flight("c3"), 0.0) is None


def test_it_is_all_or_nothing() -> None:
    """A call that the tenant's limit lets pass and the key's does not takes of neither."""
    made = limits(tenants={"t": AllowanceSpec(requests_per_minute=5)}, keys={"k": AllowanceSpec(requests_per_minute=1)})
    assert made.hold(flight("c1", key="k"), 0.0) is None
    bar = made.hold(flight("c2", key="k"), 0.0)
    assert bar is not None
    assert bar.who == "key k"
    assert [gauge.used for view in made.views(0.0) for gauge in view.limits] == [1, 1]
    assert made.hold(flight("c3", key="other"), 0.0) is None


def test_tiers_limit_whoever_has_no_limits_of_his_own() -> None:
    """By the call's tier; a tenant's own limits stand in their place, and each tenant has a window of its own."""
    made = limits(
        tiers=TiersSpec(free=AllowanceSpec(requests_per_minute=1), standard=None),
        tenants={"t": AllowanceSpec(requests_per_minute=2)},
    )
    assert [made.hold(flight(f"c{number}", tier="free"), 0.0) is None for number in range(3)] == [True, True, False]
    for tenant in ("u", "v"):
        own = [made.hold(flight(f"{tenant}{at}", tenant=tenant, tier="free"), 0.0) is None for at in range(2)]
        assert own == [True, False]
    assert all(made.hold(flight(f"s{at}", tenant="s", tier="standard"), 0.0) is None for at in range(9))


def test_models_have_limits_of_their_own() -> None:
    """Beside the tenant's, for the served model."""
    made = of_tenant(requests_per_minute=3, models={"big": RateSpec(requests_per_minute=1)})
    assert made.hold(flight("c1", "big"), 0.0) is None
    bar = made.hold(flight("c2", "big"), 0.0)
    assert bar is not None
    assert bar.who == "tenant t and model big"
    assert made.hold(flight("c3", "small"), 0.0) is None


def test_everybody_shares_what_is_for_all() -> None:
    """One tenant's calls take from another's."""
    made = limits(everybody=AllowanceSpec(requests_per_minute=1))
    assert made.hold(flight("c1", tenant="a"), 0.0) is None
    bar = made.hold(flight("c2", tenant="b"), 0.0)
    assert bar is not None
    assert bar.who == "everybody"


def test_a_prompt_is_never_larger_than_the_limit_by_caution_alone() -> None:
    """Four times the guess may be above the limit: then all of the limit is held, and the call passes alone."""
    made, one = of_tenant(tokens_per_minute=100), flight(prompt_tokens=50, max_tokens=20)
    assert made.hold(one, 0.0) is None
    assert used(made) == {"tokens per minute": (100, 100)}
    bar = made.hold(flight("c2", prompt_tokens=90, max_tokens=20), 0.0)
    assert bar is not None
    assert bar.label == "too_large"


def test_the_dearest_target_is_held_and_the_one_that_served_is_charged() -> None:
    """A call that may fall back to a dearer model holds its price."""
    made = limits(
        tenants={"t": AllowanceSpec(budget_per_day=1.0)},
        prices={"m": PriceSpec(prompt=1.0, completion=1.0), "dear": PriceSpec(prompt=10.0, completion=10.0)},
    )
    one = flight(max_tokens=100)
    one.targets = (Target("main", "m"), Target("main", "dear"))
    assert made.hold(one, 0.0) is None
    assert used(made) == {"budget per day": (0.0014, 0.0014)}
    made.settle(one, "ok", 200, Usage(prompt_tokens=10, completion_tokens=10), 0, True)
    assert used(made) == {"budget per day": (0.00002, 0.0)}
    assert one.cost == 0.00002


def test_an_unknown_price_is_refused_or_free() -> None:
    """As the settings say; without a budget nobody asks."""
    allowance = {"t": AllowanceSpec(budget_per_day=1.0)}
    bar = limits(tenants=allowance).hold(flight(), 0.0)
    assert bar is not None
    assert (bar.label, bar.detail(0.0)) == ("no_price", "The model 'm' has no price here, and a budget applies.")
    made, one = limits(tenants=allowance, unknown_price="free"), flight()
    assert made.hold(one, 0.0) is None
    made.settle(one, "ok", 200, Usage(prompt_tokens=10, completion_tokens=10), 0, True)
    assert used(made) == {"budget per day": (0.0, 0.0)}


def test_prices_cost_without_budgets() -> None:
    """Who has no limit has a cost all the same, where there is a price."""
    made, one = limits(prices={"m": PriceSpec(prompt=1.0)}), flight()
    assert made.hold(one, 0.0) is None
    made.settle(one, "ok", 200, Usage(prompt_tokens=1000), 0, True)
    assert one.cost == 0.001


def test_other_settings_keep_what_was_used_and_held() -> None:
    """A call that holds by the old limits gives back by the new ones; an unused account is forgotten."""
    made, one = of_tenant(tokens_per_minute=1000), flight(max_tokens=100)
    assert made.hold(one, 0.0) is None
    made.respec(LimitsSpec(tenants={"t": AllowanceSpec(tokens_per_minute=500, tokens_per_day=900)}))
    made.settle(one, "ok", 200, Usage(prompt_tokens=12, completion_tokens=30), 30, True)
    assert used(made) == {"tokens per minute": (42, 0), "tokens per day": (0, 0)}
    made.respec(LimitsSpec(tenants={"u": AllowanceSpec(requests_per_day=1)}))
    assert [view.name for view in made.views(0.0)] == ["u"]
    made.respec(LimitsSpec(tenants={"t": AllowanceSpec(tokens_per_minute=500)}))
    assert used(made) == {"tokens per minute": (42, 0)}
    made.respec(None)
    assert made.views(0.0) == []
    assert made.hold(flight("c2"), 0.0) is None


def test_clients_are_told_what_is_left() -> None:
    """The tightest of the limits on requests, and of those on tokens, holds included."""
    made, one = of_tenant(requests_per_minute=5, requests_per_hour=100, tokens_per_minute=1000), flight(max_tokens=60)
    assert made.hold(one, 0.0) is None
    rates = made.rates(one, 1.0)
    assert rates is not None
    assert (rates.limit_requests, rates.remaining_requests, rates.reset_requests_s) == (5, 4, 60.0)
    assert (rates.limit_tokens, rates.remaining_tokens, rates.reset_tokens_s) == (1000, 900, 60.0)


def test_a_clock_that_jumps_back_is_not_believed() -> None:
    """What was held is found again, and nothing comes free early."""
    made, one, two = of_tenant(tokens_per_minute=1000), flight("c1", max_tokens=100), flight("c2", max_tokens=100)
    assert made.hold(one, 5000.0) is None
    assert made.hold(two, 10.0) is None
    for each in (one, two):
        made.settle(each, "ok", 200, Usage(prompt_tokens=1, completion_tokens=1), 1, True)
    assert used(made, 20.0) == {"tokens per minute": (4, 0)}


@pytest.mark.parametrize("shared", [None, SharedSpec()], ids=["alone", "shared"])
def test_accounts_of_keys_that_are_gone_are_forgotten_when_nothing_of_them_counts(shared: SharedSpec | None) -> None:
    """Who makes and revokes keys all day does not fill the memory."""
    made = Limits()
    for number in range(50):
        at = 100.0 * number
        made.respec(LimitsSpec(tenants={f"t{number}": AllowanceSpec(requests_per_minute=5)}, shared=shared), at)
        one = flight(f"c{number}", tenant=f"t{number}")
        if shared is None:  # else it would wait for a lease
            assert made.hold(one, at) is None
            made.settle(one, "ok", 200, Usage(prompt_tokens=12, completion_tokens=30), 30, True)
        made.views(at)
    made.respec(LimitsSpec(shared=shared), 5_000.0)
    assert made._former == {}


@pytest.mark.parametrize("shared", [None, SharedSpec()], ids=["alone", "shared"])
def test_other_settings_bring_no_new_burst(shared: SharedSpec | None) -> None:
    """A key that comes or goes does not let calls pass that a steady pace holds back; another pace holds at once."""
    shaping = ShapingSpec(burst=2, per_second=1.0)
    made = limits(shaping=shaping, shared=shared)
    assert [made.hold(flight(f"a{number}"), 0.0) is None for number in range(3)] == [True, True, False]
    made.respec(LimitsSpec(shaping=shaping, shared=shared, keys={"k": AllowanceSpec(requests_per_day=9)}), 0.0)
    bar = made.hold(flight("b"), 0.0)
    assert bar is not None
    assert bar.at == pytest.approx(1.0, abs=1e-3)
    made.respec(LimitsSpec(shaping=ShapingSpec(burst=2, per_second=4.0), shared=shared), 0.0)
    bar = made.hold(flight("c"), 0.0)
    assert bar is not None
    assert bar.at == pytest.approx(0.25, abs=1e-3)
    assert made.hold(flight("d"), 0.3) is None
