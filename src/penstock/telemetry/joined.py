"""What several processes show of replicas and pools, as one picture: what they hold is added up, what was seen of a
replica is who looked's, and where they judge differently the picture says so rather than hides it.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import fsum

from msgspec.structs import replace

from penstock.base.contents import CacheView
from penstock.base.nouns import AccountView, GaugeView, PoolView, ReplicaView
from penstock.core.scale.window import ReplicaSeen, Window

_STATES = ("healthy", "busy", "overloaded", "unhealthy", "warming", "draining", "provisioning", "gone")
"""The best first."""
_BREAKERS = ("open", "half_open", "closed")
"""The worst first."""


def replicas(own: Sequence[ReplicaView], others: Iterable[Sequence[ReplicaView]]) -> list[ReplicaView]:
    """The fleet: `own` is of who looks at replicas and sends them nothing, the others are of those who send. A replica
    is in the best state that any of those sees, unless who looks knows better; its breaker is the worst of theirs."""
    by_id: dict[str, list[ReplicaView]] = {}
    for views in others:
        for view in views:
            by_id.setdefault(view.id, []).append(view)
    return [_replica(view, by_id.get(view.id, [])) for view in own]


def _replica(own: ReplicaView, told: list[ReplicaView]) -> ReplicaView:
    if not told:
        return own
    state = own.state
    if state == "healthy":
        state = min((view.state for view in told), key=_STATES.index)
    served = sum(view.served for view in told)
    return replace(
        own, state=state, breaker=min((view.breaker for view in told), key=_BREAKERS.index),
        suspect=any(view.suspect for view in told), ejected=any(view.ejected for view in told),
        in_flight=sum(view.in_flight for view in told), load=_mean((view.load, view.seats) for view in told) or 0.0,
        ttft_ewma_s=_mean((view.ttft_ewma_s, view.served) for view in told),
        error_rate=_mean((view.error_rate, view.served + view.failed) for view in told) or 0.0,
        served=served, failed=sum(view.failed for view in told), pinned=sum(view.pinned for view in told),
    )  # fmt: skip


def _mean(pairs: Iterable[tuple[float | None, float]]) -> float | None:
    """By weight; None: there is nothing."""
    known = [(value, weight or 1e-9) for value, weight in pairs if value is not None]
    return fsum(value * weight for value, weight in known) / fsum(weight for _, weight in known) if known else None


def pools(own: Sequence[PoolView], others: Iterable[Sequence[PoolView]]) -> list[PoolView]:
    """The pools: as for replicas. Seats are counted by who looks: some are always on their way between those who send.
    A pool's fairness is that of the worker that is least fair."""
    by_name: dict[str, list[PoolView]] = {}
    for views in others:
        for view in views:
            by_name.setdefault(view.name, []).append(view)
    return [_pool(view, by_name.get(view.name, [])) for view in own]


def _pool(own: PoolView, told: list[PoolView]) -> PoolView:
    if not told:
        return own
    fair = [view.fairness for view in told if view.fairness is not None]
    return replace(
        own, queued=sum(view.queued for view in told), queued_bytes=sum(view.queued_bytes for view in told),
        oldest_s=max(view.oldest_s for view in told),
        queued_by_priority=summed(view.queued_by_priority for view in told),
        queued_by_tenant=summed(view.queued_by_tenant for view in told),
        fairness=min(fair, default=None), in_flight=sum(view.in_flight for view in told),
        healthy=min(view.healthy for view in told),
        panic=any(view.panic for view in told), ejections=summed(view.ejections for view in told),
    )  # fmt: skip


def accounts(own: Sequence[AccountView], others: Iterable[Sequence[AccountView]]) -> list[AccountView]:
    """What everybody may use and has used: calls are each worker's, limits are everybody's, and who has heard most of
    them knows best. Accounts come and go with calls, so all that anybody knows are shown."""
    by_key: dict[tuple[str, str, str], list[AccountView]] = {}
    for views in others:
        for view in views:
            by_key.setdefault((view.kind, view.name, view.model), []).append(view)
    for view in own:
        by_key.setdefault((view.kind, view.name, view.model), [view])
    return [_account(told) for told in by_key.values()]


def _account(told: list[AccountView]) -> AccountView:
    gauges: dict[str, GaugeView] = {}
    for view in told:
        for gauge in view.limits:
            known = gauges.get(gauge.what)
            if known is None or gauge.used > known.used:
                gauges[gauge.what] = gauge
    return replace(
        told[0], in_flight=sum(view.in_flight for view in told), waiting=sum(view.waiting for view in told),
        limits=list(gauges.values()),
    )  # fmt: skip


def stores(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The way to a store that processes share, of all: counters are sums, and it is up where it is for each."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = min(total.get(name, 1), value) if name.endswith("_up") else total.get(name, 0) + value
    return total


def summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Name by name."""
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total


def window(own: Window, told: Sequence[Window]) -> Window:
    """A pool as the Governor sees it. How long calls take is the mean of what the workers say, by their answers."""
    by_id: dict[str, list[ReplicaSeen]] = {}
    for one in told:
        for seen in one.replicas:
            by_id.setdefault(seen.id, []).append(seen)
    answers = [one.answers for one in told if one.answers is not None]
    return replace(
        own, queued=sum(one.queued for one in told),
        replicas=tuple(_seen(seen, by_id.get(seen.id, [])) for seen in own.replicas),
        rps=_sum(one.rps for one in told), rps_now=_sum(one.rps_now for one in told),
        p95_s=_mean((one.p95_s, one.answers or 0) for one in told), answers=sum(answers) if answers else None,
    )  # fmt: skip


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fsum(known) if known else None


def _seen(own: ReplicaSeen, told: list[ReplicaSeen]) -> ReplicaSeen:
    if not told:
        return own
    return replace(
        own, well=own.well and any(one.well for one in told), in_flight=sum(one.in_flight for one in told),
        ttft_s=_mean((one.ttft_s, one.served) for one in told), served=sum(one.served for one in told),
    )  # fmt: skip


def caches(own: CacheView | None, others: Iterable[CacheView]) -> CacheView:
    """One cache of all: each process keeps its own answers."""
    views = [*([] if own is None else [own]), *others]
    names = [name for name in CacheView.__struct_fields__ if name != "calls"]
    sums = {name: sum(getattr(view, name) for view in views) for name in names}
    return CacheView(calls=summed([view.calls for view in views]), **sums)
