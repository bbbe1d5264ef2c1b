"""The Governor's two vocabularies: what it can be told, and what it can order. Closed, as the Gate's are.

A look is the clockwork: the Governor orders one, and is told the whole of what is there, never a delta. So whatever was
missed, or happened while nobody looked, is seen at the next one.
"""

from msgspec import Struct

from penstock.base.nouns import Unit
from penstock.core.scale.history import Past
from penstock.core.scale.record import Decision, Step
from penstock.core.scale.spec import ScaleSpec
from penstock.core.scale.window import Window

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


class Scaled(Struct, frozen=True, tag=True, gc=False):
    """An order to start or stop a replica came back with an error. Those that work show at the next look."""

    pool: str
    unit: str
    detail: str


class Remembered(Struct, frozen=True, tag=True):
    """What a pool's demand was before a restart, as it was ordered to be remembered."""

    pool: str
    past: Past


class Reconfigured(Struct, frozen=True, tag=True):
    """From now on these pools scale themselves, by these specs. Replicas of others are drained and stopped."""

    pools: dict[str, ScaleSpec]
    hourly_costs: dict[str, float]
    """Pool -> what one of its replicas costs an hour."""


class Woke(Struct, frozen=True, tag=True, gc=False):
    """The time that the Governor asked to be woken at has come."""


Fact = Seen | Scaled | Remembered | Reconfigured | Woke

# ===== orders =====


class Look(Struct, frozen=True, tag=True, gc=False):
    """Look at a pool and its actuator; answered by Seen."""

    pool: str


class Start(Struct, frozen=True, tag=True, gc=False):
    """Start a replica under this name. Once it has an address it joins the fleet, where the Gate probes it."""

    pool: str
    unit: str


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
    """Keep this over a restart, in the place of what was kept before."""

    pool: str
    past: Past


class Record(Struct, frozen=True, tag=True):
    """Something was decided, or a replica moved on in its life: for logs and whoever asks why."""

    entry: Decision | Step


Order = Look | Start | Drain | Stop | Remember | Record
