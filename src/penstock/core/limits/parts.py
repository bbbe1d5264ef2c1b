"""Parts: what this process may take of limits that it shares with others, as windows that look like any other.

A part takes from its lease. `used` is the limit but for what is left of the lease, so that whoever asks a window
whether something fits asks a part in the same way, and far from a limit a call costs no more than without leases. What
the store knew when it was heard last is told to people and clients; what was used, and in which stretch of time, is
kept until the store has been told.
"""

from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Final

from penstock.base.leases import AccountKey, Grant, Want
from penstock.base.ports import Sheet
from penstock.core.limits.absence import Absence
from penstock.core.limits.spans import Span, span_of
from penstock.core.limits.spec import SharedSpec
from penstock.core.limits.windows import Bucket, Gauge, Shown

FRESH_S: Final = 0.25
"""So long what the store said of a limit that was full is believed without asking again."""


class Axis:
    """Where the store's clock is, seen from ours, and what all parts of this process have in common beside it."""

    __slots__ = ("absence", "ahead", "sheet")

    def __init__(self, spec: SharedSpec | None = None) -> None:
        self.absence = Absence(spec or SharedSpec())
        self.ahead = 0.0
        """By so many seconds it is ahead of ours at most: a stretch of time must not be told too early."""
        self.sheet: Sheet | None = None
        """Where it is noted what was spent: others read it should this process die."""


class Drawn(Bucket):
    """What was taken of a part in one stretch of time."""

    __slots__ = ("spent", "told")

    def __init__(self, gauge: Gauge, index: int) -> None:
        super().__init__(gauge, index)
        self.spent = 0
        """What of it stands on the sheet: of calls that have been sent on, and of those that are over."""
        self.told = 0
        """What the store knows to be used in it."""

    def change(self, used: int, held: int) -> None:
        """What was taken was more or less. What the store knows comes back by the store, the rest at once."""
        if not self.gone:
            gauge, told, before = self.gauge, self.told, self.used
            after = self.used = before + used
            self.held += held
            gauge.held += held
            gauge.used += used if before >= told <= after else max(after, told) - max(before, told)


class Part(Gauge):
    """This process's part of a limit."""

    __slots__ = (
        "_axis", "_buckets", "_ends", "_index", "_mark", "_owed", "_since", "above", "alone", "denied_at", "expires",
        "fits_at", "free", "full_at", "heard_at", "hungry", "reserve", "row", "shares_at", "size", "span", "taken",
        "theirs",
    )  # fmt: skip

    def __init__(self, what: str, limit: int, axis: Axis) -> None:
        super().__init__(what, limit)
        self.span: Span = span_of(what)
        self._axis = axis
        self._index = -1
        self._ends = -inf
        self._buckets: deque[Drawn] = deque()
        self._owed: list[tuple[int, int]] = []
        """Of stretches that count no more: what was not told of them."""
        self.expires = -inf
        """When the lease ends."""
        self.reserve = 0
        """What is left of the lease when more is asked for already."""
        self.used = self._mark = limit
        self.size = 0
        """What is asked for beside what calls need now."""
        self.hungry = False
        """More was needed than there was, or is about to be."""
        self.heard_at = -inf
        """When the store said this:"""
        self.taken = 0
        """by everybody,"""
        self.theirs = 0
        """of it granted, and may come back,"""
        self.free = limit
        """and not granted to anybody;"""
        self.above = 2 * limit
        """So much above what is used is what may still be taken, here and elsewhere; kept, for every answer tells."""
        self.fits_at = self.full_at = -inf
        """when what was asked for fits, and when all is there again."""
        self.denied_at = -inf
        """When it had less than was needed."""
        self.alone = False
        """The store is away, and what is certain is served without it."""
        self.shares_at = -inf
        """When that is our share of the limit."""
        self._since = (0, 0)
        """The stretch in which that began, and what had been used in it."""
        self.row = -1
        """Of the sheet; -1: nothing is noted."""

    # ===== what a window does =====

    def roll(self, now: float) -> None:
        """See `Gauge`."""
        if now >= self._ends:
            index = self.span.index(now + self._axis.ahead)
            if index > self._index:
                self._index = index
                self.bucket = None
                self._drop(self.span.oldest(index))
            self._ends = max(now, self.span.ends(self._index) - self._axis.ahead)
        if self.alone:
            self._serve_alone(now)
        elif now >= self.expires:
            self.set(0)
        self.until = self._ends if self.expires <= now else min(self._ends, self.expires)

    def _drop(self, oldest: int) -> None:
        buckets = self._buckets
        while buckets and buckets[0].index < oldest:
            bucket = buckets.popleft()
            bucket.gone = True
            self.held -= bucket.held
            if bucket.used > bucket.told:
                self._owed.append((bucket.index, bucket.used - bucket.told))
            self._note(max(bucket.used, bucket.told) - bucket.spent)  # all of it will have been told

    def begin(self) -> Bucket:
        """See `Gauge`."""
        drawn = Drawn(self, self._index)
        self._buckets.append(drawn)
        self.bucket = drawn
        return drawn

    def allows_at(self, amount: int) -> float:
        """See `Gauge`."""
        return self.fits_at

    def free_at(self, now: float) -> float:
        """See `Gauge`."""
        return max(now, self.full_at)

    def relimit(self, limit: int) -> None:
        """See `Gauge`."""
        self.used += limit - self.limit
        self.above += limit - self.limit
        self._mark += limit - self.limit
        self.limit = limit

    @property
    def shared(self) -> int:
        """What of the limit the store grants to all together."""
        return self.limit - self._axis.absence.aside(self.limit)

    @property
    def left(self) -> int:
        """What may still be taken by anybody who asks here: what is not granted, and our own lease."""
        return min(self.limit, max(0, self.above - self.used))

    def shown(self, now: float) -> Shown:
        """See `Gauge`: as the store knew it, and what was taken here since."""
        left = self.left
        return Shown(self.limit - left, self.held, left, self.free_at(now) - now)

    @property
    def pristine(self) -> bool:
        """See `Gauge`."""
        return not self._buckets and not self._owed

    # ===== the sheet =====

    def open_row(self, account: AccountKey) -> None:
        """From now on it stands on the sheet what was spent, if there is one."""
        if self._axis.sheet is not None:
            self.row = self._axis.sheet.open(account, self.name)

    def spend(self, bucket: Bucket, amount: int) -> None:
        """What was taken in this stretch is no longer surely ours to give back."""
        if not bucket.gone and isinstance(bucket, Drawn):
            bucket.spent += amount
            self._note(amount)

    def _note(self, amount: int) -> None:
        if self.row >= 0 and amount and self._axis.sheet is not None:
            self._axis.sheet.add(self.row, amount)

    def _final(self, bucket: Drawn) -> int:
        """What of a stretch is to be told: with a sheet no more than stands there, so that it is always the greater."""
        final = bucket.used - bucket.held
        return final if self.row < 0 else min(final, bucket.spent)

    # ===== the lease =====

    @property
    def balance(self) -> int:
        """What is left of the lease."""
        return self.limit - self.used + self.reserve

    @property
    def spent(self) -> int:
        """What was taken since that was said last."""
        return max(0, self.used - self._mark)

    def set(self, balance: int, reserve: int = 0) -> None:
        """So much is left of it."""
        self.reserve = reserve
        self.used = self._mark = self.limit - balance + reserve
        self.above = self.free + self.limit + reserve

    def open_reserve(self) -> None:
        """Take from the reserve as well from now on, and ask for more."""
        if self.reserve:
            self.used -= self.reserve
            self.above -= self.reserve
            self._mark -= self.reserve
            self.reserve = 0
            self.hungry = True

    def kept(self) -> int:
        """What calls in flight hold, and what was used and not told."""
        waiting = sum(amount for _, amount in self._owed)
        return waiting + sum(max(0, bucket.used - bucket.told) for bucket in self._buckets)

    def untold(self) -> bool:
        """Whether something was used that the store should know."""
        return bool(self._owed) or any(self._final(bucket) != bucket.told for bucket in self._buckets)

    def tell(self) -> tuple[tuple[int, int], ...]:
        """What was used and not told; from now on it counts as told."""
        told = self._owed
        self._owed = []
        for bucket in self._buckets:
            amount = self._final(bucket) - bucket.told
            if amount:
                told.append((bucket.index, amount))
                bucket.told += amount
        return tuple(told)

    def tell_again(self, told: tuple[tuple[int, int], ...]) -> None:
        """The store has forgotten everything but this: all else that still counts is told once more."""
        known = dict(told)
        for bucket in self._buckets:
            before, bucket.told = bucket.told, known.get(bucket.index, 0)
            self._note(before - bucket.told)  # what is told twice was spent twice, for who reads the sheet

    def want(self, used: tuple[tuple[int, int], ...], least: int, due: int, idle: bool, now: float) -> Want:
        """What is said of it. What is left of the lease stays ours as far as it is of use; what is not is given back,
        here and now."""
        self._resize(idle, now)
        room = self.room(now)
        least, due = least if least <= room else 0, min(due, room)
        if self.alone:  # what is left is no lease
            self.hungry = False
            return Want(self.name, self.shared, used, self.kept(), least, due, min(self.size, room))
        balance = max(0, self.balance)
        if least > balance and self.denies(least, now):
            balance = 0  # it would keep others from what they need, who might keep us from the rest
        ours = min(balance, due + self.size, room)
        self.set(ours)
        self.hungry = False
        spare = max(0, ours - due)
        return Want(
            self.name, self.shared, used, self.kept() + ours, max(0, least - ours), max(0, due - ours),
            max(0, min(self.size - spare, room - max(due, ours))),
        )  # fmt: skip

    def _resize(self, idle: bool, now: float) -> None:
        """Leases grow while they are used up at once, and shrink to what is used in a second."""
        spent, since_s = self.spent, now - self.heard_at
        if idle:
            self.size = 0
        elif self.hungry:
            self.size = min(self.limit, max(2 * self.size, spent, 1)) if since_s < FRESH_S else max(spent, self.size)
        elif since_s >= 2 * FRESH_S:
            self.size = min(self.size, 2 * spent)

    def hear(self, grant: Grant, least: int, expires: float, now: float) -> None:
        """The store has answered."""
        self.alone = False
        self.heard_at, self.expires = now, expires
        self.taken, self.theirs = grant.used, grant.held
        self.free = max(0, self.shared - grant.used)
        self.fits_at = now + grant.fits_s
        self.full_at = now + grant.free_s
        balance = min(grant.granted - self.kept(), self.room(now))
        if least > balance:
            self.denied_at = now
        self.set(balance, balance // 2 if balance > 1 and self.free > balance else 0)
        self.until = self._ends = -inf  # the store's clock may be another than was believed

    # ===== what the store said, and what is done without it =====

    def denies(self, need: int, now: float) -> bool:
        """Whether the store has said, and not long ago, that so much is not there."""
        return now < self.denied_at + FRESH_S and need - self.balance > self.free

    def firm(self, amount: int) -> bool:
        """See `Gauge`: by what the store said."""
        return self.taken - self.theirs + amount > self.shared

    def used_here(self) -> int:
        """What was taken here and counts."""
        return sum(bucket.used for bucket in self._buckets)

    def room_at(self, now: float) -> float:
        """When there may be more."""
        absence = self._axis.absence
        return absence.new_until if now < absence.new_until else min(absence.within(self.name), self.alone_until(now))

    def room(self, now: float) -> int:
        """What may be had of the store, as far as our share bounds it."""
        return self._axis.absence.room(self.name, self.limit, self.used_here(), now)

    def go_alone(self, now: float) -> None:
        """The store is away: from now on what is certain is served without it."""
        self.alone, self.until = False, -inf
        self.roll(now)
        self.alone = True
        self.shares_at = self._axis.absence.shares_at(self.span, self._axis.ahead, now)
        self._since = (self._index, 0 if self.bucket is None else self.bucket.used)
        self.until = -inf

    def end_alone(self) -> None:
        """The store is there: nothing is served before it has been heard."""
        self.alone = False
        self.set(0)

    def alone_until(self, now: float) -> float:
        """When more may be served alone: some of what was used counts no more."""
        first = self._buckets[0].index if self._buckets else self._index
        return max(now, self.span.free_at(first) - self._axis.ahead)

    def _serve_alone(self, now: float) -> None:
        absence, (began, before) = self._axis.absence, self._since
        if now >= self.shares_at:
            self.set(absence.share(self.limit) - self.used_here())
        else:
            since = sum(bucket.used for bucket in self._buckets if bucket.index >= began) - before
            aside = absence.own_aside(self.limit) - since
            again = absence.again(self.span, self._axis.ahead, now)
            self.set(min(aside, absence.share(self.limit) - self.used_here()) if again else aside)


class Money(Part):
    """Of a budget."""

    __slots__ = ()
    is_money = True


def scarcest(parts: Sequence[Gauge]) -> Gauge | None:
    """The one with least left for everybody; None: there is none."""
    found, least = None, 0
    for part in parts:
        left = part.above - part.used if isinstance(part, Part) else part.left
        if found is None or left < least:
            found, least = part, left
    return found
