"""Tenants, tiers, limits and prices: what the file says of who may use how much, checked, as the Gate reads it."""

from collections.abc import Iterator

from penstock.base.nouns import Tier
from penstock.config.mistakes import Mistakes, Path, did_you_mean
from penstock.config.schema import File, KeyConf
from penstock.core.limits.account import SHARE
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, RateSpec, SharedSpec

BUDGETS = ("budget_per_day", "budget_per_month")
TOKENS = ("tokens_per_minute", "tokens_per_hour", "tokens_per_day")


class Tenants:
    """Who pays for what, by the file."""

    def __init__(self, file: File, mistakes: Mistakes) -> None:
        self._file = file
        self._mistakes = mistakes
        self._tiers: dict[str, Tier] = {}
        self._limits: dict[str, AllowanceSpec] = {}
        for at, tenant in enumerate(file.tenants):
            if mistakes.any_below("tenants", at, "name"):
                continue
            if tenant.name in self._tiers:
                mistakes.say(("tenants", at, "name"), f"there is a tenant {tenant.name!r} already")
            self._tiers[tenant.name] = tenant.tier
            if tenant.limits is not None:
                self._limits[tenant.name] = tenant.limits

    def limits(self) -> LimitsSpec | None:
        """What the Gate needs; None: nobody is limited, and nothing has a price."""
        file, keys = self._file, {key.name: key.limits for key in self._file.keys if key.limits is not None}
        self._check_models()
        self._check_budgets()
        given = self._limits or keys or file.prices or file.everybody or file.shaping
        rated = file.limits.per_client is not None
        if (
            not given and not rated and file.tiers is None and file.ledger is None
        ):  # a ledger needs what calls are charged
            return None
        return LimitsSpec(
            tiers=file.tiers, tenants=self._limits, keys=keys, everybody=file.everybody, shaping=file.shaping,
            per_client=file.limits.per_client,
            prices=file.prices, unknown_price=file.unknown_price or "refuse",
            default_max_tokens=file.default_max_tokens, shared=self._shared(),
        )  # fmt: skip

    def _shared(self) -> SharedSpec | None:
        shared = self._file.shared_limits
        if shared is None:
            return None
        return SharedSpec(away=shared.away, share=shared.share, aside=shared.aside, lease_s=shared.lease_s)

    # ===== keys =====

    def of_key(self, key: KeyConf, path: Path) -> tuple[str, Tier]:
        """The tenant of a key, and its tier."""
        name = key.tenant or key.name
        if key.tenant is not None and name not in self._tiers and not self._mistakes.any_below("tenants"):
            hint = did_you_mean(name, self._tiers) or "list it under `tenants`"
            self._mistakes.wrong((*path, "tenant"), name, "the name of one of `tenants`", hint)
        if name not in self._tiers:
            return name, key.tier
        if self._mistakes.is_written((*path, "tier")):
            self._mistakes.say((*path, "tier"), f"the tenant {name!r} has a tier of its own", "leave it out here")
        return name, self._tiers[name]

    def most_tokens(self, tenant: str, tier: Tier, key: AllowanceSpec | None) -> int | None:
        """How many tokens an answer may have where the request does not say; None: no limit asks."""
        file = self._file
        tiers = file.tiers.of(tier) if file.tiers is not None else None
        specs = [spec for spec in (self._limits.get(tenant, tiers), key, file.everybody) if spec is not None]
        given: list[int | None] = [getattr(spec, name) for _, spec in _rates(specs) for name in TOKENS]
        limits = [limit for limit in given if limit is not None]
        if limits:
            return min(file.default_max_tokens, max(1, min(limits) // SHARE))
        return file.default_max_tokens if any(_has_budget(spec) for _, spec in _rates(specs)) else None

    def models_of_key(self, key: KeyConf, path: Path) -> tuple[str, ...] | None:
        """The names that a key may ask for: those that are listed, and the aliases that lead to them; None: all."""
        if key.models is None:
            return None
        file = self._file
        for at, name in enumerate(key.models):
            if name not in file.aliases:
                self._check_served((*path, "models", at), name)
        return tuple(sorted({*key.models, *(name for name in file.aliases if self._meant(name) in key.models)}))

    def _meant(self, alias: str) -> str:
        """Where a chain of aliases ends; one that goes round in a circle is a mistake that is told elsewhere."""
        name, aliases = alias, self._file.aliases
        for _ in aliases:
            name = aliases.get(name, name)
        return name

    # ===== checks =====

    def _allowances(self) -> Iterator[tuple[Path, AllowanceSpec]]:
        file = self._file
        given: list[tuple[Path, AllowanceSpec | None]] = [(("everybody",), file.everybody)]
        given += [(("tenants", at, "limits"), tenant.limits) for at, tenant in enumerate(file.tenants)]
        given += [(("keys", at, "limits"), key.limits) for at, key in enumerate(file.keys)]
        if file.tiers is not None:
            given += [(("tiers", name), getattr(file.tiers, name)) for name in file.tiers.__struct_fields__]
        return ((path, spec) for path, spec in given if spec is not None)

    def _check_budgets(self) -> None:
        """What an unknown price means is to be said, not guessed."""
        specs = [spec for _, spec in self._allowances()]
        said = self._file.unknown_price is not None or self._mistakes.is_broken(("unknown_price",))
        if not said and any(_has_budget(spec) for _, spec in _rates(specs)):
            text = "there is a budget, and models may have no price: expected `refuse` (their calls get 403) or `free`"
            self._mistakes.say(("unknown_price",), text)

    def _check_models(self) -> None:
        """Limits and prices are for served models: an alias would never match."""
        named: list[tuple[Path, str]] = [(("prices", name), name) for name in self._file.prices]
        for path, spec in self._allowances():
            named += [((*path, "models", name), name) for name in spec.models]
        for path, name in named:
            if name in self._file.aliases:
                self._mistakes.say(path, f"{name!r} is an alias", f"name the model: {self._file.aliases[name]}")
            else:
                self._check_served(path, name)

    def _check_served(self, path: Path, name: str) -> None:
        """It is a mistake where the pools say all that they serve, and this is not among it."""
        pools = self._file.pools
        served = {model for pool in pools for model in pool.models}
        complete = bool(pools) and all(pool.models for pool in pools) and not self._mistakes.any_below("pools")
        if complete and name not in served:
            self._mistakes.say(path, f"no pool serves a model {name!r}", did_you_mean(name, served))


def _rates(specs: list[AllowanceSpec]) -> Iterator[tuple[str, RateSpec]]:
    """The limits and those for single models."""
    for spec in specs:
        yield "", spec
        yield from spec.models.items()


def _has_budget(spec: RateSpec) -> bool:
    return any(getattr(spec, name) is not None for name in BUDGETS)
