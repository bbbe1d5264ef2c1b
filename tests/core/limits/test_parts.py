"""A part looks like a window, spends from a lease, and remembers what the store was not told."""

from penstock.base.leases import Grant
from penstock.core.limits.parts import Axis, Money, Part
from penstock.core.limits.spec import SharedSpec
from tests.helpers.lessees import Paper

WHAT = "tokens per minute"


def part(granted: int = 0, free: int = 0, limit: int = 100, now: float = 10.0, least: int = 0) -> Part:
    """A part of a limit; `granted` is its lease, `free` what the store has left."""
    made = Part(WHAT, limit, Axis())
    if granted or least:
        taken = limit - free
        made.hear(Grant(WHAT, granted, taken, granted, 30.0, 61.0), least, now + 3.0, now)
        made.roll(now)
    return made


def test_nothing_may_be_taken_without_a_lease() -> None:
    """It is full, whatever the limit."""
    made = part()
    assert made.over(1, 10.0)
    assert made.balance == 0


def test_a_lease_can_be_spent_and_no_more() -> None:
    """Up to its last unit; what is given back can be spent again."""
    made = part(granted=5)
    assert not made.over(5, 10.0)
    bucket = made.take(5, 5)
    assert made.over(1, 10.0)
    bucket.change(-2, -5)
    assert not made.over(2, 10.0)
    assert made.balance == 2


def test_a_lease_ends() -> None:
    """From then on nothing is left of it."""
    made = part(granted=5)
    assert not made.over(1, 12.9)
    assert made.over(1, 13.0)
    assert made.balance == 0


def test_half_of_a_lease_is_a_reserve() -> None:
    """Where there is more to be had, asking begins before all is spent."""
    made = part(granted=8, free=50)
    assert made.over(5, 10.0)
    assert not made.over(4, 10.0)
    made.open_reserve()
    assert made.hungry
    assert not made.over(8, 10.0)


def test_what_is_settled_is_told_once() -> None:
    """What calls in flight hold is kept; what they used is told, and then what is taken back of it."""
    made = part(granted=20)
    made.take(1, 0).change(0, 0)
    held = made.take(9, 9)
    assert (made.kept(), made.untold()) == (10, True)
    assert made.tell() == ((10, 1),)
    assert (made.kept(), made.untold()) == (9, False)
    held.change(-5, -9)
    assert made.tell() == ((10, 4),)
    assert made.kept() == 0
    before = made.balance
    held.change(-1, 0)
    assert made.balance == before
    assert made.tell() == ((10, -1),)


def test_what_slides_out_is_told_before_it_is_spent_again() -> None:
    """A call in flight for longer than the window: what it holds is owed to the store, and is not ours until then."""
    made = part(granted=10)
    bucket = made.take(10, 10)
    made.roll(100.0)
    assert bucket.gone
    assert (made.kept(), made.held, made.balance) == (10, 0, 0)
    assert made.tell() == ((10, 10),)
    assert made.kept() == 0


def test_a_message_gives_back_what_is_of_no_use() -> None:
    """An idle lease goes back whole, here and now; what waiting calls need stays."""
    made = part(granted=10)
    made.take(2, 2)
    want = made.want((), 3, 3, True, 11.0)
    assert (want.kept, want.least, want.due, want.ahead) == (5, 0, 0, 0)
    assert made.balance == 3
    want = made.want((), 0, 0, True, 11.0)
    assert (want.kept, made.balance) == (2, 0)


def test_leases_grow_while_they_are_used_up_at_once() -> None:
    """Twice as much each time, and no more than the limit; slower, and they shrink to what is used."""
    made = part(granted=1, limit=10)
    sizes = []
    for _ in range(5):
        made.hungry = True
        sizes.append(made.want((), 0, 0, False, 10.1).ahead + made.balance)
    assert sizes == [1, 2, 4, 8, 10]
    made.want((), 0, 0, False, 12.0)
    assert made.size == 0


def test_a_call_that_cannot_pass_keeps_nothing_from_others() -> None:
    """The store has said that there is not enough: what is here goes back, and all of it is asked for."""
    made = part(granted=4, free=0, least=9)
    assert made.denies(9, 10.1)
    want = made.want((), 9, 9, False, 10.1)
    assert (want.kept, want.least, want.due) == (0, 9, 9)
    assert not made.denies(9, 11.0)


def test_people_are_told_the_shared_truth() -> None:
    """What is left is what the store had left and our own lease; when it comes back is what it said."""
    made = part(granted=10, free=30)
    made.take(4, 4)
    assert made.left == 36
    assert made.shown(10.0) == (64, 4, 36, 61.0)
    assert (made.allows_at(1), made.free_at(100.0)) == (40.0, 100.0)
    assert made.firm(91)
    assert not made.firm(40)


def test_another_limit_keeps_the_lease() -> None:
    """What is left of it is the same."""
    made = part(granted=10)
    made.relimit(50)
    assert (made.balance, made.limit) == (10, 50)


LOCAL = SharedSpec(away="local", share=0.25, aside=0.08)


def alone_of(limit: int, away_at: float, now: float) -> Part:
    """A part whose store was heard at 10, and away later."""
    axis = Axis(LOCAL)
    made = Part(WHAT, limit, axis)
    axis.absence.heard(10.0, 0.0, 10.0)
    axis.absence.lost(away_at)
    made.go_alone(now)
    return made


def test_alone_it_serves_what_was_set_aside_and_then_its_share() -> None:
    """A quarter of the eight of a hundred; from when on nothing counts that was granted to others, a quarter of all of
    it, less what was used here in that window."""
    made = alone_of(100, 12.0, 14.0)
    assert made.shared == 92
    assert not made.over(2, 14.0)
    made.take(2, 0)
    assert made.over(1, 30.0)
    assert made.shares_at == 76.0
    assert made.over(1, 74.9)
    assert not made.over(25, 76.0)
    made.take(25, 0)
    assert made.over(1, 100.0)
    assert made.alone_until(100.0) == 137.0
    assert not made.over(25, 137.0)


def test_what_is_held_when_that_begins_is_not_served_twice() -> None:
    """What a call gives back that had been let in before is free; what was taken before is not taken off."""
    axis = Axis(LOCAL)
    made = Part(WHAT, 100, axis)
    axis.absence.heard(10.0, 0.0, 10.0)
    made.hear(Grant(WHAT, 5, 5, 5, 0.0, 61.0), 0, 13.0, 10.0)
    made.over(1, 10.0)
    before = made.take(3, 3)
    axis.absence.lost(10.5)
    made.go_alone(10.5)
    assert not made.over(2, 10.5)
    assert made.over(3, 10.5)
    before.change(-1, -3)
    assert not made.over(3, 10.6)


def test_a_limit_that_is_small_is_nobodys_alone() -> None:
    """A quarter of three is none: four that served one each would pass it."""
    small = alone_of(3, 12.0, 14.0)
    assert small.shared == 3
    assert small.over(1, 14.0)
    assert small.over(1, 200.0)


def test_back_it_stays_within_its_share() -> None:
    """Whatever is granted, until others have been heard; what is asked for is no more than that."""
    made = alone_of(100, 12.0, 14.0)
    made._axis.absence.heard(20.0, 0.0, 20.0)
    made.end_alone()
    assert made.over(1, 20.0)
    want = made.want((), 30, 60, False, 20.0)
    assert (want.least, want.due, want.ahead) == (0, 25, 0)
    made.hear(Grant(WHAT, 60, 60, 60, 0.0, 61.0), 0, 23.0, 20.0)
    assert (made.room(20.0), made.room(25.0), made.room_at(20.0)) == (25, 100, 25.0)
    assert made.balance == 25
    made.over(1, 20.0)
    made.take(10, 0)
    assert (made.balance, made.room(21.0)) == (15, 15)
    made.hear(Grant(WHAT, 60, 60, 60, 0.0, 61.0), 0, 28.0, 25.0)
    assert made.balance == 50


def test_a_store_that_has_forgotten_is_told_all_again() -> None:
    """All but what it has just heard."""
    made = part(granted=20)
    made.take(5, 0)
    made.tell()
    made.take(2, 0)
    told = made.tell()
    made.tell_again(told)
    assert made.tell() == ((10, 5),)


def test_money_is_money() -> None:
    """Budgets are told apart."""
    assert Money("budget per day", 5, Axis()).is_money
    assert not Part(WHAT, 5, Axis()).is_money


def test_a_sheet_never_says_less_than_was_told() -> None:
    """What waited for longer than the window is told in the end, and what a store has forgotten is told twice: both
    stand on the sheet, so that it less what was told is what was not told yet."""
    axis, sheet = Axis(), Paper()
    axis.sheet = sheet
    made = Part(WHAT, 100, axis)
    made.open_row(("tenant", "t", ""))
    made.hear(Grant(WHAT, 50, 50, 50, 0.0, 0.0), 0, 500.0, 10.0)
    made.roll(10.0)
    made.spend(made.take(6, 0), 6)
    made.take(4, 0)
    told = sum(amount for _, amount in made.tell())
    assert (told, sheet.cells) == (6, [6])
    made.tell_again(())
    told += sum(amount for _, amount in made.tell())
    assert (told, sheet.cells) == (12, [12])
    made.roll(200.0)
    told += sum(amount for _, amount in made.tell())
    assert (told, sheet.cells) == (16, [16])
