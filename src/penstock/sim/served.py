"""What a simulated fleet serves: its pools as the Gate reads them, and under which name a request asks for what.

A LoRA adapter is asked for as a model of its own, `model/adapter`, where the replicas of a pool hold adapters;
elsewhere the model itself answers.
"""

from typing import NamedTuple

from penstock.base.nouns import CallRow
from penstock.config.scenarios import MODEL, POOL, Policy, Scenario
from penstock.core.spec import GateSpec, PoolSpec
from penstock.workload.labels import adapters
from penstock.workload.request import Request

MOST_NAMES = 100
"""Models that are told apart in a result: a trace may name many that nobody serves."""
OTHERS = "others"


class Place(NamedTuple):
    """Where an ended request counts."""

    model: str
    """That it asked for, without an adapter."""
    elsewhere: bool
    """Another model answered."""


class Served:
    """One scenario's, under one policy."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        holding = {group.pool or POOL: None for group in scenario.fleet if group.loras is not None}
        names = list(dict.fromkeys([*adapters(scenario.workload), *scenario.adapters])) if holding else []
        self._aliases = scenario.aliases
        self._fallback = scenario.fallback
        self._usual = MODEL
        self._homes: dict[str, dict[str, None]] = {}
        """Model, or alias -> the pools that serve it itself."""
        self._base: dict[str, str] = {}
        """Name of an adapter of a model -> that model."""
        self._adapted: dict[str, None] = {}
        """Models that are served with adapters."""
        regions = None if scenario.regions is None else scenario.regions.spec()
        self.pools: tuple[PoolSpec, ...] = ()
        for name, served in scenario.pools.items() or {POOL: None}.items():
            models = (MODEL,) if served is None else served.models
            own = policy if served is None or served.policy is None else served.policy
            if name in holding:
                self._adapted |= dict.fromkeys(models)
                self._base |= {f"{model}/{adapter}": model for model in models for adapter in names}
                models = (*models, *(f"{model}/{adapter}" for model in models for adapter in names))
            for model in models:
                self._homes.setdefault(self._base.get(model, model), {})[name] = None
            self.pools += (own.pool(name, models, regions),)
        if scenario.pools:
            self._usual = next(iter(scenario.pools.values())).models[0]
        for alias, model in scenario.aliases.items():
            self._homes[alias] = self._homes[model]
        self.several = bool(scenario.pools)
        """Whether models are told apart at all."""
        self.plain = not self.several and not names
        """Whatever a request names, it asks for the one model."""
        scaled = "" if scenario.scale is None else scenario.fleet[scenario.scale.group].pool
        self.main = scaled or self.pools[0].name
        """The pool that scales itself, else the first."""
        self._seen: dict[str, None] = dict.fromkeys(self._homes)

    @property
    def adapters(self) -> dict[str, str]:
        """Names of adapters -> their models."""
        return self._base

    def spec(self, policy: Policy, max_waiting: int) -> GateSpec:
        """What the Gate is configured with."""
        return GateSpec(
            pools=self.pools, max_waiting=max_waiting, limits=policy.gate_limits(), aliases=self._aliases,
            fallback=self._fallback, cache=policy.cache,
        )  # fmt: skip

    def name(self, request: Request) -> str:
        """What it asks for. One that names no model asks for the first one of the first pool."""
        model = (request.model or self._usual) if self.several else MODEL
        if request.adapter and (served := self._aliases.get(model, model)) in self._adapted:
            return f"{served}/{request.adapter}"
        return model

    def within_reach(self, request: Request) -> tuple[str, ...]:
        """Pools that may answer a request, itself or by a fallback; empty: nobody serves its model."""
        if not self.several:
            return (self.main,)
        name = self.name(request)
        model = self._base.get(name, name)
        served = self._aliases.get(model, model)
        chain = (model, *self._fallback.get(model, self._fallback.get(served, ())))
        return tuple(dict.fromkeys(pool for each in chain for pool in self._homes.get(each, ())))

    def place(self, row: CallRow) -> Place:
        """Where an ended request counts."""
        model = self._base.get(row.model, row.model)
        if model not in self._seen:
            if len(self._seen) >= MOST_NAMES + len(self._homes):
                model = OTHERS
            self._seen[model] = None
        homes = self._homes.get(model)
        return Place(model, bool(row.replica) and homes is not None and row.pool not in homes)
