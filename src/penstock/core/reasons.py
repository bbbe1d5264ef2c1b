"""Reasons: why a replica was no candidate of a choice, in few words, and what was said beside the scores.

For `trails`, when a call is sent: until then the seats are as the choice found them. Pure reads.
"""

from collections.abc import Callable, Sequence
from re import sub
from typing import Final, NamedTuple

from penstock.base.nouns import Call
from penstock.core.flight import Flight
from penstock.core.load import Seat
from penstock.core.pool import Pool
from penstock.core.route.filters import SCORE_ALL
from penstock.core.route.notes import Chooser, Notes
from penstock.core.steps import UNTIL, Note, Pairs

MOST_LEFT: Final = 32
"""So many of those that were left out are named; all are counted."""


class Known(NamedTuple):
    """What holds of a pool's seats for a model until health or membership change."""

    usable: Sequence[Seat]
    names: tuple[str, ...]
    unfit: Pairs
    unfit_count: int
    pool: str
    model: str
    strategy: str
    regional: bool = False
    """Another attempt is made in another region, where it can."""


def why_queued(flight: Flight, pool: Pool, model: str) -> str:
    """Why a call waits that has just joined a line; what its pool found out when it was asked, and not asked again:
    asking a pool whether a call may pass is a fact for it."""
    call, line = flight.call, pool.lines.get(model)
    if not pool.usable(model):
        return "nobody"
    if pool.shed.active and pool.shed.shut[call.priority]:
        return "held"
    if pool.full:
        return "bound"
    if flight.pin is not None:
        return "pinned"
    if not flight.attempt and pool.fair.capped(call.tenant):
        return "share"
    return "behind" if not flight.attempt and line is not None and len(line.fresh) > 1 else "full"


def unfit(seat: Seat, pool: Pool, model: str) -> str:
    """Why a seat cannot serve the model."""
    health = seat.health
    if not health.usable:
        until = health.ejected_until if health.ejected else health.open_until if health.breaker == "open" else 0.0
        return f"{ill(seat)}{UNTIL}{until:.3f}" if until and health.life == "healthy" else ill(seat)
    return "backup" if pool.serves(seat, model) else "other models"


_SHOWN_BY: Final = {
    "failure_share": ": most of its calls fail",
    "success_rate": ": far more of its calls fail than of the others'",
    "latency": ": its first tokens have become slow, and the others' have not",
}
"""Which comparison it was, in words."""


def ill(seat: Seat) -> str:
    """Why a seat is not well."""
    health = seat.health
    if health.life == "healthy" and health.ejected:
        return f"put out as an outlier{_SHOWN_BY.get(health.ejected_by, '')}"
    if health.life == "healthy" and health.breaker == "open":
        return f"breaker open after {_in_a_row(health.failures, 'failed call')}"
    if health.life == "unhealthy" and health.probe_bad:
        return f"unhealthy after {_in_a_row(health.probe_bad, 'failed health probe')}"
    return health.shown()


def _in_a_row(count: int, what: str) -> str:
    return f"{count} {what}s in a row" if count > 1 else f"a {what}"


def full(seat: Seat) -> str:
    """Why a usable seat takes no call now."""
    health = seat.health
    if health.seats == 0:
        return "all its seats are other workers'"
    if health.limit == 0:
        return "asked for a pause" if health.paused else "its engine's own queue is too long"
    if health.limit == seat.seats:
        return "no free seat"
    if not health.well:
        return f"{ill(seat)}, on trial while its pool panics"
    since = f"after {_in_a_row(health.failures, 'failed call')}"
    if health.breaker == "half_open":
        return f"breaker half open {since}, on trial with {health.limit} at a time"
    return f"suspect {since}, one call at a time"


def left_out(notes: Notes, known: Known, tried: frozenset[str] | None, found: Sequence[Seat]) -> tuple[Pairs, int]:
    """Who is not among the candidates and why, and how many; those of a sample that were not drawn do not count."""
    left = list(known.unfit)
    unnamed = known.unfit_count - len(left) // 2
    if len(notes.considered) < len(known.usable) <= SCORE_ALL:
        here = {seat.id for seat in notes.considered}
        failed = {seat.replica.region for seat in known.usable if known.regional and seat.id in (tried or ())}
        for seat in known.usable:
            if seat.id not in here:
                why = "" if seat.replica.region not in failed else "in a region that failed it"
                left += (seat.id, _why_not_considered(seat.id, notes.rival, tried, why))
    for seat in notes.looked:
        if seat.in_flight >= seat.health.limit:
            left += (seat.id, full(seat))
    kept = {seat.id for seat in found}
    for each, before, after in notes.filtered:
        name = snake(type(each).__name__)
        passed = {seat.id for seat in after}
        for seat in before:
            if seat.id not in passed and seat.id not in kept:
                left += (seat.id, f"filter {name}")
    return tuple(left[: 2 * MOST_LEFT]), unnamed + len(left) // 2


def _why_not_considered(name: str, rival: str, tried: frozenset[str] | None, otherwise: str) -> str:
    if name == rival:
        return "has the first attempt"
    return "tried before" if tried is not None and name in tried else otherwise or "slow start"


def owner(pipeline: Chooser, call: Call) -> Note:
    """The ring's owner of the key that was placed last, and what the key is."""
    placer = pipeline.placer
    found = "" if placer is None else next(placer.ring.walk(placer.last), "")
    return (found, "session" if call.session else "user" if call.user else "beginning of the prompt")


def passed_over(owner: str, chosen: Seat, pool: Pool, known: Known) -> Pairs:
    """Why the ring's owner was passed over, where it was."""
    if owner == chosen.id or owner in known.unfit[::2]:
        return ()
    seat = next((seat for seat in pool.seats if seat.id == owner), None)
    if seat is None:
        return ()
    return (owner, full(seat) if seat.in_flight >= seat.health.limit else "beyond its share of the load")


def aside(notes: Notes, drawn: Callable[[], Note] | None) -> Note:
    """Filters that left nobody, so that they were passed over; else what the picker has to say."""
    nobody = tuple(snake(type(each).__name__) for each, _, after in notes.filtered if not after)
    return nobody if nobody or drawn is None else drawn()


def snake(name: str) -> str:
    """`FewestInFlight` -> fewest_in_flight."""
    return sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
