"""What people see of a pool that scales itself: admin API, metrics, `penstock pools`."""

from msgspec import Struct

from penstock.base.nouns import Purchase
from penstock.core.scale.foresight import ForecastView
from penstock.core.scale.record import Decision, Step


class UnitView(Struct, frozen=True, kw_only=True):
    """One replica that the pool runs."""

    unit: str
    state: str
    since_s: float
    """For how long it has been in its state."""
    age_s: float
    in_flight: int
    ill: bool
    purchase: Purchase = "on_demand"
    gone_in_s: float | None = None
    """Until its provider takes it back; None: it gave no notice."""


class ScaleView(Struct, frozen=True, kw_only=True):
    """A scaled pool as it stands."""

    pool: str
    min: int
    max: int
    wanted: int | None
    """Replicas that it should have; None: nobody has looked yet."""
    states: dict[str, int]
    """State of life -> replicas in it."""
    others: int
    """Replicas of the pool that somebody else runs."""
    queued: int
    hourly_cost: float
    """Of all that are there."""
    max_hourly_cost: float | None
    hourly_costs: dict[Purchase, float]
    """The same by how they are paid for, at the last look."""
    spent: dict[Purchase, float]
    """Money since this gateway looks after them, by how they are paid for."""
    notices: int
    """Replicas so far that their provider said it takes back."""
    dry_s: float
    """Spot is not asked for before, because it could not be had."""
    month_cost: float = 0.0
    """Spent in this calendar month (UTC), as far as it was looked at."""
    max_monthly_cost: float | None = None
    ration: int | None = None
    """The most replicas that what is left of it is enough for now; None: no such bound."""
    schedule: str = ""
    """Which one says `min` and `max` now; empty: none holds."""
    closing: bool
    """It does not scale itself any more: its replicas drain."""
    blind: str
    """Why the last look told nothing; empty: it did not fail."""
    failures: int
    """Starts in a row that failed."""
    start_in_s: float
    """None is started before, because of these failures."""
    panic: bool = False
    """A burst is met: it grows at once, and does not shrink."""
    alarms: int
    """Recommendations so far that cannot have been meant."""
    ups: int
    """Decisions so far for more replicas."""
    downs: int
    turns: int = 0
    """Changes so far that went the other way than the one before."""
    last: Decision | None
    units: list[UnitView]
    forecast: ForecastView | None = None
    """What it expects; None: it does not forecast."""


class ScaleStory(Struct, frozen=True, kw_only=True):
    """Why a pool has as many replicas as it has."""

    view: ScaleView
    entries: list[Decision | Step]
    """The newest first."""
