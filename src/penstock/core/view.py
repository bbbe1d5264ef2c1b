"""What people see of a pool: the numbers of the admin API and the metrics. Pure reads; decides nothing."""

from penstock.base.nouns import PoolView
from penstock.core.pool import Pool
from penstock.core.shed import saturation


def pool_view(pool: Pool, now: float) -> PoolView:
    """A pool as it stands."""
    pinned = () if pool.pins is None else pool.pins.lines.values()
    waiting = [line.head_at() for line in (*pool.lines.values(), *pinned)]
    return PoolView(
        name=pool.spec.name,
        strategy=str(pool.spec.strategy.__struct_config__.tag),
        models=pool.models(),
        queued=pool.counts.calls,
        queued_bytes=pool.counts.bytes,
        oldest_s=now - min(waiting) if waiting else 0.0,
        queued_by_priority=pool.counts.shown_by_priority(),
        queued_by_tenant=pool.counts.shown_by_tenant(),
        fairness=pool.fair.index(now),
        saturation=saturation(pool.seats, pool.shed.spec, now),
        in_flight=sum(seat.in_flight for seat in pool.seats),
        seats=sum(seat.health.limit for seat in pool.seats),
        replicas=len(pool.seats),
        healthy=sum(seat.health.well for seat in pool.seats),
        panic=pool.panic,
        ejections={str(reason): count for reason, count in pool.outliers.ejections.items() if count},
    )
