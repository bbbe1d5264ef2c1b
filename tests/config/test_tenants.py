"""Tenants, tiers, limits and prices as they are written, and what is said of mistakes in them."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import hashlib

import pytest

from penstock.config.diff import changes
from penstock.config.schema import KeyTerms
from penstock.core.limits.spec import STANDARD, AllowanceSpec, LimitsSpec, PriceSpec, RateSpec, ShapingSpec, TiersSpec
from tests.config.support import POOL, load_text, mistakes_of

HASH = hashlib.sha256(b"k").hexdigest()
KEY = f"hash: 'sha256:{HASH}'"


def limits(text: str) -> LimitsSpec | None:
    """What the Gate gets."""
    return load_text(POOL + text).gate.limits


def terms(text: str) -> KeyTerms:
    """The terms of the one key."""
    return load_text(POOL + text).server.key_terms.get(HASH, KeyTerms())


def test_nobody_is_limited_unless_somebody_says_so() -> None:
    """Tenants and tiers of keys alone limit nothing, and cost nothing."""
    assert limits("") is None
    assert limits(f"tenants: [{{name: t}}]\nkeys: [{{name: a, tenant: t, {KEY}}}]") is None
    assert limits("tiers: ") is None


def test_the_usual_tiers_are_switched_on_by_a_word() -> None:
    """A tier that is written has what is written; null lifts its limits; the others are as usual."""
    found = limits("tiers: {}")
    assert found is not None
    assert found.tiers == TiersSpec()
    assert found.tiers.of("standard") == STANDARD == found.tiers.of("unheard-of")
    found = limits("tiers: {free: {tokens_per_day: 5}, premium: null}")
    assert found is not None
    assert found.tiers is not None
    assert found.tiers.free == AllowanceSpec(tokens_per_day=5)
    assert found.tiers.premium is None
    assert found.tiers.standard == STANDARD


def test_everything_that_can_be_limited() -> None:
    """Tenants, keys, models, everybody, and prices."""
    found = limits(
        "tenants: [{name: t, tier: free, limits: {requests_per_minute: 5, wait: 2s, models: {m: {tokens_per_day: 9}}}}]\n"
        f"keys: [{{name: a, tenant: t, {KEY}, limits: {{budget_per_day: 1.5}}}}]\n"
        "everybody: {budget_per_month: 100, over_budget: warn}\n"
        "prices: {m: {prompt: 0.15, completion: 0.6}}\nunknown_price: free\ndefault_max_tokens: 100\n"
        "shaping: {burst: 3}\n"
    )
    assert found == LimitsSpec(
        tenants={"t": AllowanceSpec(requests_per_minute=5, wait_s=2.0, models={"m": RateSpec(tokens_per_day=9)})},
        keys={"a": AllowanceSpec(budget_per_day=1.5)},
        everybody=AllowanceSpec(budget_per_month=100, over_budget="warn"),
        prices={"m": PriceSpec(prompt=0.15, completion=0.6)}, unknown_price="free", default_max_tokens=100,
        shaping=ShapingSpec(burst=3, per_second=5.0),
    )  # fmt: skip


def test_a_key_has_its_tenants_name_and_tier() -> None:
    """Named by `tenant`, or by its own name; without such a tenant it is one itself."""
    free = "tenants: [{name: t, tier: free}]\n"
    assert terms(free + f"keys: [{{name: a, tenant: t, {KEY}}}]") == KeyTerms(tenant="t", tier="free")
    assert terms(free + f"keys: [{{name: t, {KEY}}}]") == KeyTerms(tier="free")
    assert terms(free + f"keys: [{{name: a, {KEY}, tier: premium}}]") == KeyTerms(tier="premium")


@pytest.mark.parametrize(
    "text, most",
    [
        ("tiers: {standard: {requests_per_minute: 1}}", None),
        ("tiers: {}", 1024),
        ("tiers: {standard: {tokens_per_minute: 400}}", 100),
        ("tiers: {standard: {tokens_per_day: 1}}", 1),
        ("tiers: {standard: {models: {m: {tokens_per_hour: 80}}}}", 20),
        ("everybody: {budget_per_day: 1}\nunknown_price: free", 1024),
        ("everybody: {tokens_per_minute: 4000}\ndefault_max_tokens: 50", 50),
        ("tiers: {standard: {tokens_per_minute: 400}}\ntenants: [{name: a, limits: {requests_per_day: 1}}]", None),
    ],
)
def test_answers_are_bounded_where_a_limit_on_tokens_applies(text: str, most: int | None) -> None:
    """By the default, and by a quarter of the least of these limits; where none applies, not at all."""
    assert terms(f"{text}\nkeys: [{{name: a, {KEY}}}]").most_tokens == most


def test_calls_without_a_key_are_limited_as_well() -> None:
    """They are the tenant `anonymous`, of the standard tier."""
    assert load_text(POOL + "tiers: {}").server.most_tokens == 1024


@pytest.mark.parametrize(
    "text, mistake",
    [
        (f"tenants: [{{name: acme}}]\nkeys: [{{name: a, tenant: acne, {KEY}}}]", "keys[0].tenant (line 3): found 'acne', expected the name of one of `tenants`; did you mean `acme`?"),
        (f"keys: [{{name: a, tenant: t, {KEY}}}]", "keys[0].tenant (line 2): found 't', expected the name of one of `tenants`; list it under `tenants`"),
        (f"tenants: [{{name: t}}]\nkeys: [{{name: a, tenant: t, tier: free, {KEY}}}]", "keys[0].tier (line 3): the tenant 't' has a tier of its own; leave it out here"),
        ("tenants: [{name: t}, {name: t}]", "tenants[1].name (line 2): there is a tenant 't' already"),
        ("tenants: [{name: t, limits: {requests_per_minut: 1}}]", "tenants[0].limits.requests_per_minut (line 2): there is no such field here; did you mean `requests_per_minute`?"),
        ("tenants: [{name: t, limits: {requests_per_minute: 0}}]", "tenants[0].limits.requests_per_minute (line 2): found the number 0, expected a whole number of at least 1 or null"),
        ("tiers: {gold: {}}", "tiers.gold (line 2): there is no such field here; its fields are free, standard, premium, enterprise"),
        ("everybody: {budget_per_day: 1}", "unknown_price: there is a budget, and models may have no price: expected `refuse` (their calls get 403) or `free`"),
        ("everybody: {over_limit: wait}", "everybody.over_limit (line 2): found 'wait', expected one of queue, refuse"),
        ("prices: {m: {prompt: -1}}", "prices.m.prompt (line 2): found the number -1, expected a number of at least 0"),
        ("prices: {fast: {prompt: 1}}\naliases: {fast: m}", "prices.fast (line 2): 'fast' is an alias; name the model: m"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_a_way_out(text: str, mistake: str) -> None:
    """Where, what was found, what is expected."""
    assert mistakes_of(POOL + text) == [mistake]


def test_limits_for_models_that_nobody_serves_are_mistakes() -> None:
    """Where all pools say what they serve; otherwise nobody can know."""
    pools = "pools: [{name: p, models: [llama], replicas: [{url: 'http://h:1'}]}]\n"
    assert mistakes_of(pools + "prices: {lama: {prompt: 1}}\neverybody: {models: {x: {requests_per_day: 1}}}") == [
        "prices.lama (line 2): no pool serves a model 'lama'; did you mean `llama`?",
        "everybody.models.x (line 3): no pool serves a model 'x'",
    ]


def test_a_reload_tells_which_limits_changed() -> None:
    """By tenant, key and tier, field by field."""
    old = load_text(POOL + "tiers: {}\ntenants: [{name: t, limits: {requests_per_day: 1}}]")
    new = load_text(
        POOL + "tiers: {free: null}\ntenants: [{name: t, limits: {requests_per_day: 2}}]\nprices: {m: {prompt: 1}}\n"
        "unknown_price: free\nshaping: {}"
    )
    assert changes(old, new) == [
        "limits of tenant t: requests_per_day: 1 -> 2",
        "price of m: added",
        "limits of tier free: removed",
        "shaping: none -> burst 10, per_second 5.0, wait 10 s",
        "unknown_price: refuse -> free",
    ]
