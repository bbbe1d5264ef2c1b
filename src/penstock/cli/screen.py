"""What `penstock top` shows: a look and its rates as tables that fit a terminal. Pure: numbers in, renderables out."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.base.nouns import PRIORITIES, PoolView, ReplicaView
from penstock.cli.rates import Look, Rates

Sort = Literal["state", "load", "errors", "ttft", "rate", "name"]
SORTS: tuple[Sort, ...] = ("state", "load", "errors", "ttft", "rate", "name")
WORST = {"unhealthy": 0, "overloaded": 1, "warming": 2, "provisioning": 3, "draining": 4, "busy": 5, "healthy": 6}
STYLES = {"unhealthy": "red", "overloaded": "magenta", "busy": "yellow", "healthy": "green"}
MOST_POOLS = 8
BAR = 6
SMALLEST = 3
"""Replicas that are shown however low the window is."""


class Screen(Struct, frozen=True, kw_only=True):
    """Everything that is shown."""

    url: str
    look: Look
    rates: Rates | None
    sort: Sort = "state"
    trouble: str = ""
    """What is wrong now; what is shown is older then."""
    keys: bool = False


def milliseconds(value: float | None) -> str:
    """A time in four or five characters."""
    if value is None:
        return "-"
    return f"{value * 1e3:.0f}ms" if value < 1 else f"{value:.1f}s" if value < 100 else f"{value:.0f}s"


def percent(value: float | None) -> str:
    """A share in at most four characters."""
    return "-" if value is None else f"{value * 100:.0f}%"


def rate(value: float | None) -> str:
    """A number a second in at most five characters."""
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}" if value < 10_000 else f"{value / 1e3:.0f}k"


def bar(taken: int, seats: int) -> str:
    """How full."""
    full = 0 if seats <= 0 else min(BAR, -(-taken * BAR // seats))
    return "█" * full + "·" * (BAR - full)


def ordered(look: Look, rates: Rates | None, sort: Sort) -> list[ReplicaView]:
    """The replicas, the worst first."""
    errors = rates.replica_error_share if rates else {}
    done = rates.replica_calls_per_s if rates else {}
    keys: dict[Sort, Callable[[ReplicaView], tuple[float, ...]]] = {
        "state": lambda one: (WORST.get(one.state, 0), -one.load),
        "load": lambda one: (-one.load,),
        "errors": lambda one: (-errors.get(one.id, 0.0), -one.error_rate),
        "ttft": lambda one: (-(one.ttft_ewma_s or 0.0),),
        "rate": lambda one: (-done.get(one.id, 0.0),),
        "name": lambda one: (),
    }
    key = keys[sort]
    return sorted(look.replicas, key=lambda one: (*key(one), one.id))


# ===== the parts =====


def heading(screen: Screen) -> Text:
    """Two lines about the whole."""
    look, rates = screen.look, screen.rates
    healthy = sum(pool.healthy for pool in look.pools)
    taken, seats = sum(pool.in_flight for pool in look.pools), sum(pool.seats for pool in look.pools)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("penstock top", style="bold")
    text.append(f"  {healthy:,}/{len(look.replicas):,} replicas well  in flight {taken:,}/{seats:,}")
    text.append(f"  queued {sum(pool.queued for pool in look.pools):,}  {screen.url}\n")
    if rates is None:
        text.append("rates come with the next look")
    else:
        wrong = "red" if rates.error_share else ""
        text.append(f"{rate(rates.calls_per_s)} req/s  {rate(rates.completion_tokens_per_s)} tok/s out")
        text.append(f"  {rate(rates.prompt_tokens_per_s)} in  ")
        text.append(f"errors {percent(rates.error_share)}", style=wrong)
        text.append(f"  TTFT p50 {milliseconds(rates.ttft_p50_s)} p95 {milliseconds(rates.ttft_p95_s)}")
    if screen.trouble:
        text.append(f"\n{screen.trouble}", style="bold red")
    return text


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", expand=False)
    for name, side in columns:
        right = side == "right"
        table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    return table


def pools_table(pools: list[PoolView]) -> Table:
    """A line a pool, those with the longest queues first."""
    table = _table(
        ("pool", ""), ("strategy", ""), ("seats", ""), ("queued", "right"), ("crit/high/norm/low/batch", "right"),
        ("oldest", "right"), ("satur", "right"), ("fair", "right"),
    )  # fmt: skip
    shown = sorted(pools, key=lambda pool: (-pool.queued, -pool.saturation, pool.name))
    for pool in shown[:MOST_POOLS]:
        by = "/".join(str(pool.queued_by_priority.get(name, 0)) for name in PRIORITIES)
        table.add_row(
            pool.name, pool.strategy, f"{bar(pool.in_flight, pool.seats)} {pool.in_flight}/{pool.seats}",
            str(pool.queued), by, milliseconds(pool.oldest_s) if pool.queued else "-", f"{pool.saturation:.2f}",
            "-" if pool.fairness is None else f"{pool.fairness:.2f}",
        )  # fmt: skip
    if len(shown) > MOST_POOLS:
        table.add_row(f"and {len(shown) - MOST_POOLS} more")
    return table


def gpus_of(one: ReplicaView) -> str:
    """Utilisation and heat, the highest of its GPUs; else what its engine says."""
    used = [gpu.utilisation for gpu in one.gpus or () if gpu.utilisation is not None]
    heat = [gpu.temperature_c for gpu in one.gpus or () if gpu.temperature_c is not None]
    if not used and one.stats is not None and one.stats.gpu_utilisation is not None:
        used = [one.stats.gpu_utilisation]
    parts = [percent(max(used))] if used else []
    return " ".join([*parts, f"{max(heat):.0f}°"] if heat else parts)


def replicas_table(shown: list[ReplicaView], rates: Rates | None) -> Table:
    """A line a replica. A column of which nobody knows anything is left out."""
    with_gpu = any(gpus_of(one) for one in shown)
    engine = [("run", "right"), ("wait", "right"), ("kv", "right"), ("hit", "right")]
    table = _table(
        ("replica", ""), ("state", ""), ("seats", ""), ("load", "right"), ("ttft", "right"), ("req/s", "right"),
        ("err", "right"), *engine, *([("gpu", "right")] if with_gpu else []),
    )  # fmt: skip
    done = rates.replica_calls_per_s if rates else {}
    failed = rates.replica_error_share if rates else {}
    hits = rates.replica_hit_share if rates else {}
    for one in shown:
        stats = one.stats
        numbers = (stats.running, stats.waiting) if stats is not None else (None, None)
        state = f"{one.state}?" if one.suspect and one.state != "unhealthy" else one.state
        cells: list[str | Text] = [
            _name(one.id), Text(state, style=STYLES.get(one.state, "")),
            f"{bar(one.in_flight, one.seats)} {one.in_flight}/{one.seats}", f"{one.load:.2f}",
            milliseconds(one.ttft_ewma_s), rate(done.get(one.id)), percent(failed.get(one.id, one.error_rate)),
            *("-" if number is None else str(number) for number in numbers),
            percent(stats.kv_usage if stats is not None else None), percent(hits.get(one.id)),
        ]  # fmt: skip
        table.add_row(*cells, *([gpus_of(one) or "-"] if with_gpu else []))
    return table


def _name(id: str) -> str:
    """An id in so few characters that the rest has its place: the end tells replicas of one host apart."""
    return id if len(id) <= 22 else f"…{id[-21:]}"


def draw(screen: Screen, height: int | None) -> RenderableType:
    """The whole, no higher than the window; None: as many lines as there are replicas."""
    shown = ordered(screen.look, screen.rates, screen.sort)
    pools = screen.look.pools
    rows = len(shown)
    if height is not None:
        used = 2 + bool(screen.trouble) + 1 + 1 + min(len(pools), MOST_POOLS) + (len(pools) > MOST_POOLS) + 1 + 1 + 1
        rows = min(rows, max(SMALLEST, height - used))
    more = len(shown) - rows
    foot = f"sorted by {screen.sort}, the worst first" + (f"; {more:,} more replicas" if more else "")
    foot += "; s: sort by another, q: end" if screen.keys else ""
    return Group(
        heading(screen), Text(), pools_table(pools), Text(), replicas_table(shown[:rows], screen.rates),
        Text(foot, style="dim", no_wrap=True, overflow="ellipsis"),
    )  # fmt: skip
