"""What tenants, keys and models may use, and what a token costs: the settings of this room."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from penstock.base.units import Seconds


def _doc(text: str) -> Meta:
    return Meta(description=text)


Count = Annotated[int, Meta(ge=1)]
Money = Annotated[float, Meta(ge=0)]
OverLimit = Literal["refuse", "queue"]
OverBudget = Literal["stop", "throttle", "warn"]


class _Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class RateSpec(_Spec, frozen=True, kw_only=True):
    """Limits on the calls to one model. What is left out is not limited. Rates are over sliding windows: in no minute,
    whenever it begins, are more calls admitted than `requests_per_minute`."""

    requests_per_second: Annotated[Count | None, _doc("calls admitted in any second")] = None
    requests_per_minute: Annotated[Count | None, _doc("calls admitted in any minute")] = None
    requests_per_hour: Annotated[Count | None, _doc("calls admitted in any hour")] = None
    requests_per_day: Annotated[Count | None, _doc("calls admitted in any 24 hours")] = None
    tokens_per_minute: Annotated[Count | None, _doc("tokens, of prompts and answers, of the calls admitted in any minute")] = None
    tokens_per_hour: Annotated[Count | None, _doc("the same in any hour")] = None
    tokens_per_day: Annotated[Count | None, _doc("the same in any 24 hours")] = None
    concurrency: Annotated[Count | None, _doc("calls at once, those that wait for a replica included")] = None
    budget_per_day: Annotated[Money | None, _doc("money for the calls admitted on one day (UTC), in the currency of `prices`")] = None
    budget_per_month: Annotated[Money | None, _doc("the same in one calendar month (UTC)")] = None
    over_budget: Annotated[OverBudget, _doc("stop: calls that the budget may not cover are refused; throttle: they are served one at a time; warn: they are served, and the admin API and metrics tell")] = "stop"
    over_limit: Annotated[OverLimit, _doc("what happens to a call over a limit. refuse: 429; it waits only for what calls in flight may still give back. queue: it waits until the window allows it. Neither waits longer than `wait`, nor at all where that could not help")] = "refuse"
    wait_s: Annotated[Seconds, _doc("longest wait for that; then 429")] = field(default=10.0, name="wait")


class AllowanceSpec(RateSpec, frozen=True, kw_only=True):
    """What a tenant, a key, or everybody together may use. What is left out is not limited. Rates are over sliding
    windows: in no minute, whenever it begins, are more calls admitted than `requests_per_minute`."""

    models: Annotated[dict[str, RateSpec], _doc("served model -> further limits for the calls to it")] = field(default_factory=dict)


class ShapingSpec(_Spec, frozen=True, kw_only=True):
    """Smooths the calls to each model, those of each priority apart, whoever sends them: a burst passes, the others wait
    for their turn at a steady rate."""

    burst: Annotated[Count, _doc("calls of one model and priority that pass at once")] = 10
    per_second: Annotated[float, Meta(gt=0, description="calls a second that pass then")] = 5.0
    wait_s: Annotated[Seconds, _doc("longest wait for that; then 429")] = field(default=10.0, name="wait")


class PriceSpec(_Spec, frozen=True, kw_only=True):
    """What a model's tokens cost, per million."""

    prompt: Annotated[Money, _doc("a million tokens of prompts")] = 0.0
    completion: Annotated[Money, _doc("a million tokens of answers")] = 0.0
    cached: Annotated[Money | None, _doc("a million tokens of prompts that the engine had cached; none: as `prompt`")] = None


def _usual(minute: int, hour: int, day: int, tokens: int) -> AllowanceSpec:
    return AllowanceSpec(
        requests_per_minute=minute, requests_per_hour=hour, requests_per_day=day, tokens_per_day=tokens
    )


FREE = _usual(10, 100, 1_000, 10_000)
STANDARD = _usual(60, 1_000, 10_000, 100_000)
PREMIUM = _usual(300, 5_000, 50_000, 1_000_000)
ENTERPRISE = _usual(1_000, 20_000, 200_000, 10_000_000)


class TiersSpec(_Spec, frozen=True, kw_only=True):
    """Limits of every tenant, by its tier. `tiers: {}` switches on the usual ones; a tier that is written has what is
    written there and nothing else, and null lifts its limits."""

    free: Annotated[AllowanceSpec | None, _doc("left out: 10 requests a minute, 100 an hour, 1,000 a day; 10,000 tokens a day")] = FREE
    standard: Annotated[AllowanceSpec | None, _doc("left out: 60, 1,000, 10,000; 100,000 tokens a day")] = STANDARD
    premium: Annotated[AllowanceSpec | None, _doc("left out: 300, 5,000, 50,000; 1,000,000 tokens a day")] = PREMIUM
    enterprise: Annotated[AllowanceSpec | None, _doc("left out: 1,000, 20,000, 200,000; 10,000,000 tokens a day")] = ENTERPRISE

    def of(self, tier: str) -> AllowanceSpec | None:
        """A tier's limits; an unknown one counts as standard."""
        found: AllowanceSpec | None = getattr(self, tier, self.standard)
        return found


class SharedSpec(_Spec, frozen=True, kw_only=True):
    """How limits that several processes share are used here."""

    away: Annotated[Literal["refuse", "local"], _doc("what limited tenants get while the store cannot be reached. refuse: 503 with Retry-After; local: each gateway serves a part of every limit by itself (`aside`, `share`)")] = "refuse"
    share: Annotated[float, Meta(gt=0, le=1, description="with `away: local`, that share; one divided by the number of gateways, so that all together stay within the limits")] = 0.25
    aside: Annotated[float, Meta(ge=0, lt=1, description="with `away: local`, the part of every limit that is never leased, so that each gateway can serve its share of it as soon as the store is away; of limits below 100 one at most. The whole share follows when what others may have used before counts no more: a window later")] = 0.05
    lease_s: Annotated[Seconds, _doc("how long a gateway may use what it was granted without being heard; what a gateway that dies had, counts as used from then on")] = field(default=3.0, name="lease")


class LimitsSpec(_Spec, frozen=True, kw_only=True):
    """All limits, as the Gate reads them."""

    tiers: TiersSpec | None = None
    tenants: dict[str, AllowanceSpec] = field(default_factory=dict)
    """Tenants with limits of their own, instead of their tier's."""
    keys: dict[str, AllowanceSpec] = field(default_factory=dict)
    """Key's name -> its limits, beside its tenant's."""
    everybody: AllowanceSpec | None = None
    """All tenants together."""
    shaping: ShapingSpec | None = None
    per_client: Count | None = None
    """Calls a second of every single client, a key or an address; None: no such limit."""
    prices: dict[str, PriceSpec] = field(default_factory=dict)
    unknown_price: Literal["refuse", "free"] = "refuse"
    """What becomes of a call to a model without a price where a budget applies."""
    default_max_tokens: Count = 1024
    """Tokens of an answer that are held where the call does not say how many it may have."""
    shared: SharedSpec | None = None
    """Limits are shared with other processes, by leases of one store; None: they are this process's alone."""
