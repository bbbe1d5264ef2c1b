"""A call's states move only along their table, and its row is made from what it went through."""

from typing import get_args

import pytest

from penstock.core.catalog import Target
from penstock.core.flight import MOVES, Flight, State
from penstock.core.health import Health
from penstock.core.load import Seat
from penstock.core.spec import BreakerSpec, ProbeSpec
from tests.core.playbook import USED, call, record, replica


def test_every_state_has_its_row_in_the_table() -> None:
    """No state is forgotten, and every state can be reached from `new` and can end."""
    assert set(MOVES) == set(get_args(State))
    reached, look = {"new"}, ["new"]
    while look:
        fresh = MOVES[look.pop()] - reached  # type: ignore[index]
        reached |= fresh
        look += sorted(fresh)
    assert reached == set(MOVES)
    assert all("over" in MOVES[state] for state in MOVES if state != "over")


def test_nothing_follows_the_end_and_only_the_end_follows_a_beginning() -> None:
    """After the first byte there is no way back to another attempt, and after the end there is none at all."""
    assert MOVES["begun"] == {"over", "given"}, "given: another call has its attempt from now on, and this one ends"
    assert MOVES["over"] == set()


@pytest.mark.parametrize("state", sorted(MOVES))
def test_a_move_that_is_not_in_the_table_is_a_bug(state: State) -> None:
    """Every move outside the table raises and leaves the state as it was; every move in it is made."""
    for wanted in MOVES:
        flight = Flight(call(), (), 0.0)
        flight.state = state
        if wanted in MOVES[state]:
            flight.move(wanted)
            assert flight.state == wanted
        else:
            with pytest.raises(ValueError, match=f"no move from {state} to {wanted}"):
                flight.move(wanted)
            assert flight.state == state


def test_a_row_counts_from_the_arrival() -> None:
    """Latency and TTFT are seconds since the call arrived; the pool is the one it was last meant for."""
    flight = Flight(call("c1", tenant="t"), (Target("first", "m"), Target("main", "n")), 10.0)
    flight.target, flight.attempt, flight.began, flight.queue_s = 1, 2, 12.5, 1.5
    row = flight.row("ok", 200, USED, 7, "a", 20.0)
    assert (
        row
        == record(
            "c1", at=10.0, tenant="t", attempts=2, latency_s=10.0, ttft_s=2.5, queue_s=1.5, usage=USED, relayed_tokens=7
        ).row
    )


def test_a_row_without_a_target_has_no_pool() -> None:
    """A call for an unknown model was meant for no pool."""
    assert Flight(call(), (), 0.0).row("model_not_found", 404, None, 0, "", 0.0).pool == ""


def test_an_heir_has_the_attempts_and_remains_itself() -> None:
    """What the attempts of a call have been through is the heir's, with their state and their seat; who it is, when it
    came and how long it waited stays its own. The other one ends as one that was given an answer."""
    flight, heir = Flight(call("c1"), (Target("main", "m"),), 1.0), Flight(call("c2"), (Target("spare", "n"),), 2.0)
    seat, failed = Seat(replica("a"), Health(BreakerSpec(), ProbeSpec(), 1), 0), frozenset({"b"})
    flight.seat, flight.attempt, flight.number, flight.target_attempts, flight.spared = seat, 3, 3, 3, 1
    flight.tried, flight.last, flight.free_used, flight.hedge, flight.hedged = failed, "upstream_5xx", True, "won", 3
    flight.sent_at, flight.deadline, flight.expected, flight.queue_s = 5.0, 31.0, 64.0, 4.0
    flight.move("sent")
    heir.queue_s = 0.5
    heir.move("given")
    flight.hand_over(heir)
    assert (heir.state, heir.seat, heir.attempt, heir.number, heir.target_attempts) == ("sent", seat, 3, 3, 3)
    assert (heir.spared, heir.tried, heir.last, heir.free_used) == (1, failed, "upstream_5xx", True)
    assert (heir.hedge, heir.hedged, heir.sent_at, heir.deadline, heir.expected) == ("won", 3, 5.0, 31.0, 64.0)
    assert heir.targets == flight.targets
    assert (heir.call.id, heir.arrived, heir.queue_s) == ("c2", 2.0, 0.5)
    left: State = flight.state
    assert (left, flight.attempt, flight.hedge) == ("given", 0, "")
    assert flight.running() == []
