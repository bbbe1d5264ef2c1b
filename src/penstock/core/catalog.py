"""Which pool serves what a client asks for: rules by host and path, aliases, models, fallback chains [R7].

Worked out anew when the spec, or what engines list, has changed; looking up is a dictionary access for all but the
first of a kind.
"""

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from math import fsum
from typing import NamedTuple

from penstock.base.nouns import Call
from penstock.core.spec import GateSpec, PoolSpec, RouteRule


class Target(NamedTuple):
    """One place that can serve a call."""

    pool: str
    model: str
    """Served name; empty: the call names none and the pool's replicas decide."""


def rule_matches(rule: RouteRule, host: str, path: str) -> bool:
    """Whether a request's host (any case, with or without a port) and path fall under the rule."""
    if rule.path is not None and not path.startswith(rule.path):
        return False
    if rule.host is None:
        return True
    name, colon, _ = host.lower().partition("]:" if host.startswith("[") else ":")
    if colon == "]:":
        name += "]"
    wanted = rule.host.lower()
    return name.endswith(wanted[1:]) if wanted.startswith("*.") else name == wanted


class Catalog:
    """The index from what clients name to targets in order of preference."""

    def __init__(
        self, spec: GateSpec, listed: Mapping[str, Iterable[str]], settled: Collection[str] = frozenset()
    ) -> None:
        """`listed`: pool name -> models that its replicas list, for the pools that name none themselves. `settled`: the
        pools whose replicas have all said what they serve."""
        self.respec(spec, listed, settled)

    def respec(
        self, spec: GateSpec, listed: Mapping[str, Iterable[str]], settled: Collection[str] = frozenset()
    ) -> None:
        """This holds from now on."""
        self._spec = spec
        self._pools = {pool.name: pool for pool in spec.pools}
        self._serving: dict[str, list[str]] = {}
        for pool in spec.pools:
            for model in pool.models or sorted(listed.get(pool.name, ())):
                self._serving.setdefault(model, []).append(pool.name)
        self._open = [pool.name for pool in spec.pools if not pool.models and pool.name not in settled]
        self._known: dict[str, tuple[Target, ...]] = {
            name: self._chain(name) for name in [*self._serving, *spec.aliases, *spec.fallback]
        }
        self._offered = dict.fromkeys([*self._known, *spec.splits])

    def models(self) -> list[str]:
        """Every name that a client may use."""
        return sorted(self._offered)

    def serves(self, model: str) -> bool:
        """Whether this served name is known."""
        return model in self._serving

    def offers(self, target: Target) -> bool:
        """Whether this pool still serves this model, as far as is known."""
        return target.pool in self._serving.get(target.model, self._open)

    def targets(self, call: Call) -> tuple[Target, ...]:
        """Where the call may go, best first. Empty: nobody serves its model."""
        for rule in self._spec.routes:
            if rule_matches(rule, call.host, call.path):
                name = rule.model or call.model
                return self._ruled(self._pools[rule.pool], self._drawn(name, call) if self._spec.splits else name)
        if not call.model:
            return self._unnamed()
        return self._named(self._drawn(call.model, call) if self._spec.splits else call.model)

    def _named(self, name: str) -> tuple[Target, ...]:
        known = self._known.get(name)
        if known is not None:
            return known
        # a pool that lists its models later may yet turn out to serve it
        return tuple(Target(pool, name) for pool in self._open)

    def _drawn(self, name: str, call: Call) -> str:
        """The name that this call's lot draws where the named model is split. Drawn from what ties calls together, so
        that a session or a user stays with one; else from the call's id, which no two calls share."""
        split = self._spec.splits.get(name)
        if split is None:
            return name
        total = fsum(split.values())
        who = call.session or call.user or call.id
        digest = blake2b(f"{name}/{who}".encode(), digest_size=8).digest()
        lot = int.from_bytes(digest, "big") / (1 << 64) * total
        for other, weight in split.items():
            lot -= weight
            if lot < 0:
                return other
        return next(reversed(split))

    def _alias(self, model: str) -> str:
        seen = 0
        while model in self._spec.aliases and seen <= len(self._spec.aliases):
            model, seen = self._spec.aliases[model], seen + 1
        return model

    def _chain(self, name: str) -> tuple[Target, ...]:
        served = self._alias(name)
        names = [served, *map(self._alias, self._spec.fallback.get(name, self._spec.fallback.get(served, ())))]
        found = [Target(pool, model) for model in names for pool in self._serving.get(model, self._open)]
        return tuple(dict.fromkeys(found))

    def _ruled(self, pool: PoolSpec, model: str) -> tuple[Target, ...]:
        served = self._alias(model)
        if not pool.models or served in pool.models:
            return (Target(pool.name, served),)
        if not served and len(pool.models) == 1:
            return (Target(pool.name, pool.models[0]),)
        return ()

    def _unnamed(self) -> tuple[Target, ...]:
        """A path that needs no model in its body: unambiguous only where there is one pool."""
        if len(self._pools) != 1:
            return ()
        (pool,) = self._pools.values()
        return self._ruled(pool, "")
