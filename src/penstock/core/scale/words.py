"""The Governor's two vocabularies: what it can be told, and what it can order. Closed, as the Gate's are.

A look is the clockwork: the Governor orders one, and is told the whole of what is there, never a delta. So whatever was
missed, or happened while nobody looked, is seen at the next one.
"""

from msgspec import Struct

from penstock.base.nouns import Purchase, Unit
from penstock.core.scale.budget import Purse
from penstock.core.scale.history import Past
from penstock.core.scale.record import Decision, Step
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.window import Window

Part = Purse | Past
"""What must survive a restart of the gateway, each whole by itself: what a pool has spent, what was asked of it."""

# ===== facts =====


class Seen(Struct, frozen=True, tag=True):
    """A pool was looked at."""

    pool: str
    window: Window
    """What the Gate knows of it."""
    units: tuple[Unit, ...] | None
    """All that its actuator runs or has run; None: it could not say."""
    detail: str = ""
    """Why it could not."""
    wall_s: float | None = None
    """What the wall clock says, in seconds since 1970; None: it is not known, and what held last holds on."""


class Scaled(Struct, frozen=True, tag=True, gc=False):
    """An order to start or stop a replica came back with an error. Those that work show at the next look."""

    pool: str
    unit: str
    detail: str


class Remembered(Struct, frozen=True, tag=True):
    """What an earlier life of the gateway was told to remember of a pool."""

    pool: str
    part: Part


class Reconfigured(Struct, frozen=True, tag=True):
    """From now on these pools scale themselves, by these specs. Replicas of others are drained and stopped."""

    pools: dict[str, ScaleSpec]
    hourly_costs: dict[str, float]
    """Pool -> what one of its replicas costs an hour."""


class Noticed(Struct, frozen=True, tag=True, gc=False):
    """A provider gave notice that it takes a replica back: it drains, and another one is ordered. Told again, it holds
    the earlier end."""

    pool: str
    unit: str
    within_s: float
    """Until it is gone."""


class Woke(Struct, frozen=True, tag=True, gc=False):
    """The time that the Governor asked to be woken at has come."""


Fact = Seen | Scaled | Reconfigured | Noticed | Remembered | Woke

# ===== orders =====


class Look(Struct, frozen=True, tag=True, gc=False):
    """Look at a pool and its actuator; answered by Seen."""

    pool: str


class Start(Struct, frozen=True, tag=True, gc=False):
    """Start a replica under this name. Once it has an address it joins the fleet, where the Gate probes it."""

    pool: str
    unit: str
    purchase: Purchase = "on_demand"
    """How it is to be had; other than on demand only in a pool with `spot`."""


class Drain(Struct, frozen=True, tag=True, gc=False):
    """Let a replica finish what it has and take nothing new; or take it back."""

    pool: str
    unit: str
    drain: bool = True


class Stop(Struct, frozen=True, tag=True, gc=False):
    """End a replica, and forget it once it has ended. Ordered again where it goes on."""

    pool: str
    unit: str


class Remember(Struct, frozen=True, tag=True):
    """Write a part of what a pool must not forget down, in the place of what was there; after a restart it comes back
    as Remembered."""

    pool: str
    part: Part


class Record(Struct, frozen=True, tag=True):
    """Something was decided, or a replica moved on in its life: for logs and whoever asks why."""

    entry: Decision | Step


Order = Look | Start | Drain | Stop | Remember | Record
