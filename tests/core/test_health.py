"""One replica's health as a table: every sign in every state, and how probes, traffic and pauses add up."""

from typing import get_args

import pytest

from penstock.core.health import LIFE, Breaker, Health, Life, Sign
from penstock.core.spec import BreakerSpec, ProbeSpec

PROBED = ProbeSpec()


def healthy(**breaker: int) -> Health:
    """A replica with 8 seats that answered its first probe."""
    health = Health(BreakerSpec(**breaker), PROBED, 8)
    health.probed(True)
    return health


@pytest.mark.parametrize("life", get_args(Life))
@pytest.mark.parametrize("sign", get_args(Sign))
def test_a_sign_moves_along_the_table_or_not_at_all(life: Life, sign: Sign) -> None:
    """Every pair of state and sign is either a row of F2's table or changes nothing."""
    health = Health(BreakerSpec(), PROBED, 8)
    health.life = life
    health.sign(sign)
    assert health.life == LIFE.get((life, sign), life)


@pytest.mark.parametrize("life", get_args(Life))
def test_only_the_healthy_get_calls(life: Life) -> None:
    """In every other state `usable` is false and the limit is 0."""
    health = Health(BreakerSpec(), PROBED, 8)
    health.life = life
    health.refresh()
    assert (health.usable, health.limit) == ((True, 8) if life == "healthy" else (False, 0))
    assert health.shown() == life


def test_without_probes_a_replica_starts_healthy() -> None:
    """Nobody would ever say that it is well."""
    health = Health(BreakerSpec(), ProbeSpec(enabled=False), 8)
    assert (health.life, health.usable, health.limit) == ("healthy", True, 8)
    health.sign("drain")
    assert not health.usable
    health.sign("undrain")
    assert health.life == "healthy"


def test_the_limit_shrinks_with_the_trust() -> None:
    """All seats, one when suspect, none when open, `half_open` on trial, all again after three successes."""
    health = healthy()
    limits = []
    for _ in range(5):
        health.failed()
        limits.append(health.limit)
    assert limits == [8, 8, 1, 1, 0]
    assert (health.usable, health.breaker, health.shown()) == (False, "open", "unhealthy")
    health.half_open()
    assert (health.usable, health.limit) == (True, 1)
    for limit in (1, 1, 8):
        health.succeeded()
        assert health.limit == limit
    assert (health.breaker, health.failures) == ("closed", 0)


def test_the_trial_is_never_wider_than_the_seats() -> None:
    """`half_open` above the number of seats means all seats."""
    health = healthy(half_open=99, failures=1)
    health.failed()
    health.half_open()
    assert health.limit == 8


def test_methods_tell_whether_anything_changed() -> None:
    """Callers look again at waiting calls only when `usable` or `limit` moved."""
    health = healthy()
    assert health.succeeded() is False
    assert [health.failed() for _ in range(5)] == [False, False, True, False, True]
    assert health.succeeded() is False
    assert health.half_open() is True
    assert health.half_open() is False
    assert health.set_aside(True) is True
    assert health.set_aside(True) is False
    assert health.set_aside(False) is True
    assert health.crowd(51) is True
    assert health.crowd(50) is True
    assert health.crowd(None) is False
    assert [health.probed(False) for _ in range(3)] == [False, False, True]
    assert [health.probed(True) for _ in range(2)] == [False, True]


def test_set_aside_and_crowded_replicas_stay_usable() -> None:
    """They are waited for rather than given up: usable, with a limit of 0 for now."""
    health = healthy()
    health.set_aside(True)
    assert (health.usable, health.limit) == (True, 0)
    health.crowd(99)
    health.set_aside(False)
    assert (health.usable, health.limit) == (True, 0)
    health.crowd(None)
    assert health.limit == 8


def test_old_calls_do_not_close_an_open_breaker() -> None:
    """However many calls that were under way end well while it is open: it takes trials to close it."""
    health = healthy(failures=1)
    health.failed()
    assert [health.succeeded() for _ in range(9)] == [False] * 9
    assert (health.breaker, health.usable) == ("open", False)
    health.half_open()
    assert [health.succeeded() for _ in range(3)] == [False, False, True]


def test_only_an_open_breaker_can_be_half_opened() -> None:
    """An alarm that comes too late changes nothing about a closed one."""
    health = healthy()
    assert health.half_open() is False
    assert (health.breaker, health.limit) == ("closed", 8)


def test_a_failed_trial_opens_whatever_the_count() -> None:
    """On trial one failure is enough, also where new settings would forgive more in a row."""
    health = healthy(failures=1)
    health.failed()
    health.respec(BreakerSpec(failures=99, suspect_after=99), PROBED)
    health.half_open()
    health.failed()
    assert health.breaker == "open"


def test_no_bound_means_never_crowded() -> None:
    """`max_waiting: none` takes any queue."""
    health = Health(BreakerSpec(), ProbeSpec(enabled=False, max_waiting=None), 8)
    health.crowd(10**9)
    assert health.limit == 8


def test_a_probe_does_not_close_a_breaker() -> None:
    """Probes and traffic are judged apart: a server that answers probes may still fail every call."""
    health = healthy(failures=1)
    health.failed()
    health.probed(True)
    health.probed(True)
    assert (health.breaker, health.usable) == ("open", False)


def test_an_undrained_replica_starts_anew() -> None:
    """One good probe brings it back, and bad ones from before count no more."""
    health = healthy()
    health.probed(False)
    health.probed(False)
    health.sign("drain")
    health.sign("undrain")
    health.probed(True)
    assert health.life == "healthy"
    health.probed(False)
    health.probed(False)
    assert health.life == "healthy"


def test_new_settings_keep_what_was_learnt() -> None:
    """Failures so far count under the new bounds."""
    health = healthy()
    health.failed()
    assert health.respec(BreakerSpec(suspect_after=1), PROBED) is True
    assert health.limit == 1
    health.life = "unhealthy"
    health.respec(BreakerSpec(), ProbeSpec(enabled=False))
    assert (health.life, health.limit) == ("healthy", 8)
    draining = healthy()
    draining.sign("drain")
    draining.respec(BreakerSpec(), ProbeSpec(enabled=False))
    assert draining.life == "draining"


def test_an_ejected_replica_is_out_whatever_probes_say() -> None:
    """Only its time brings it back; the count grows with each ejection and shrinks with each interval without."""
    health = healthy()
    assert health.eject(True)
    assert (health.well, health.usable, health.limit, health.shown(), health.ejections) == (
        False, False, 0, "unhealthy", 1,
    )  # fmt: skip
    for _ in range(5):
        assert not health.probed(True)
    assert not health.eject(True)
    assert health.ejections == 1
    assert health.eject(False)
    assert (health.well, health.limit) == (True, 8)
    health.eject(True)
    assert health.ejections == 2
    for left in (1, 0, 0):
        health.behaved()
        assert health.ejections == left


@pytest.mark.parametrize("life", get_args(Life))
@pytest.mark.parametrize("breaker", ["closed", "half_open", "open"])
@pytest.mark.parametrize("ejected", [False, True])
def test_what_panic_lets_in(life: Life, breaker: Breaker, ejected: bool) -> None:
    """Who was well once, whatever probes and comparisons say now; never with an open breaker, and who needs panic to be
    let in has one seat until a call ends well there."""
    health = Health(BreakerSpec(), PROBED, 8)
    health.life, health.breaker, health.ejected = life, breaker, ejected
    health.panics(True)
    assert health.usable == (life in ("healthy", "unhealthy") and breaker != "open")
    trusted = life == "healthy" and breaker == "closed" and not ejected
    assert health.limit == ((8 if trusted else 1) if health.usable else 0)
    health.panics(False)
    assert health.usable == health.well == (life == "healthy" and breaker != "open" and not ejected)


def test_a_call_that_ends_well_in_a_panic_brings_all_seats() -> None:
    """A failure takes them again, and the end of the panic forgets both."""
    health = healthy()
    for _ in range(3):
        health.probed(False)
    assert (health.panics(True), health.panics(True)) == (True, False)
    assert health.limit == 1
    assert health.succeeded()
    assert health.limit == 8
    assert not health.succeeded()
    assert health.failed()
    assert health.limit == 1
    health.panics(False)
    assert health.limit == 0
    health.panics(True)
    assert health.limit == 1
