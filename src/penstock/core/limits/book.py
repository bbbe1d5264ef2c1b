"""The book of shared limits: what was used, and who holds which lease. The one truth of several gateways.

What is granted counts as taken until it is told to be used, and when; then it is in the window of that time. So
whatever processes do and whenever they die, what was used and what might be used is never more than the limit. A
process that is silent for longer than its lease lasts may no longer spend it, and what it had counts as used at that
moment; should it come back, that is undone, and what it tells counts.

Pure: told questions and the time, it answers. An account is plain data, so a store can keep it anywhere.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

from penstock.base.leases import AccountKey, Answer, Ask, Grant, Question, Reply, Want
from penstock.core.limits.spans import span_of

SHARE: Final = 4
"""What is granted beside what calls need now is this part of what is left at most: near its end a limit is granted to
the last unit where it is needed, and nowhere else."""
KEEP_S: Final = 3600.0
"""How long a process that is silent is remembered, so that a message of it that comes twice counts once."""
SWEEP_S: Final = 60.0


class Meter(Struct, array_like=True):
    """One limit's window."""

    limit: int
    used: list[tuple[int, int]] = field(default_factory=list)
    """Stretches of time and what was used in each, in their order."""

    def add(self, index: int, amount: int) -> None:
        """It was used then; less than none is taken back, as far as it is there."""
        used = self.used
        at = len(used)
        while at and used[at - 1][0] > index:
            at -= 1
        if at and used[at - 1][0] == index:
            used[at - 1] = (index, max(0, used[at - 1][1] + amount))
        elif amount > 0:
            used.insert(at, (index, amount))

    def roll(self, oldest: int) -> None:
        """What is older counts no more."""
        used = self.used
        if used and used[0][0] < oldest:
            self.used = [one for one in used if one[0] >= oldest]


class Peer(Struct, array_like=True):
    """One process."""

    number: int = 0
    """Of its last message."""
    batch: int = 0
    """Up to which what it said to have used is counted."""
    until: float = 0.0
    """How long its lease lasts."""
    charged: bool = False
    """It is over, and what it had is counted as used at that time."""
    granted: dict[str, int] = field(default_factory=dict)
    """Limit -> what it has of it."""


class Account(Struct, array_like=True):
    """All limits of one account."""

    epoch: float
    now: float
    meters: dict[str, Meter] = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)

    def exchange(self, question: Question, ask: Ask, now: float) -> Answer | None:
        """Take what a process says, and answer it; None: the message was overtaken."""
        now = self.now = max(self.now, now)
        self._roll(ask, now)
        peer = self.peers.setdefault(question.peer, Peer())
        if question.number <= peer.number:
            return None
        if peer.charged:
            self._charge(peer, -1)
        if ask.batch > peer.batch:
            self._count(ask, now)
            peer.batch = ask.batch
        peer.number, peer.until = question.number, now + question.lasts_s
        peer.granted = {want.what: want.kept for want in ask.wants}
        return Answer(ask.account, self.epoch, tuple(self._grant(peer, want, now) for want in ask.wants))

    def sweep(self, now: float) -> bool:
        """Forget what means nothing any more; whether anything is left."""
        self._roll(None, max(self.now, now))
        return bool(self.peers) or any(meter.used for meter in self.meters.values())

    def lasts_until(self) -> float:
        """From when on nothing of it means anything, if nobody asks again."""
        ends = [span_of(what).free_at(meter.used[-1][0]) for what, meter in self.meters.items() if meter.used]
        for peer in self.peers.values():
            ends.append(peer.until + KEEP_S)
            ends += [span_of(what).free_at(span_of(what).index(peer.until)) for what in peer.granted]
        return max(ends, default=self.now)

    def _roll(self, ask: Ask | None, now: float) -> None:
        """On to this time: windows slide, leases end, who was silent for long is forgotten."""
        for want in ask.wants if ask is not None else ():
            meter = self.meters.setdefault(want.what, Meter(want.limit))
            meter.limit = want.limit
        for peer in self.peers.values():
            if not peer.charged and peer.until <= now:
                self._charge(peer, 1)
        for what, meter in self.meters.items():
            span = span_of(what)
            meter.roll(span.oldest(span.index(now)))
        silent = [name for name, peer in self.peers.items() if self._forgotten(peer, now)]
        for name in silent:
            del self.peers[name]

    def _charge(self, peer: Peer, sign: int) -> None:
        """What it has counts as used when its lease ended; or does no more."""
        peer.charged = sign > 0
        for what, amount in peer.granted.items():
            span, meter = span_of(what), self.meters.get(what)
            index = span.index(peer.until)
            if meter is not None and index >= span.oldest(span.index(self.now)):
                meter.add(index, sign * amount)

    @staticmethod
    def _forgotten(peer: Peer, now: float) -> bool:
        if not peer.charged or now < peer.until + KEEP_S:
            return False
        spans = [span_of(what) for what, amount in peer.granted.items() if amount]
        return all(span.index(peer.until) < span.oldest(span.index(now)) for span in spans)

    def _count(self, ask: Ask, now: float) -> None:
        for want in ask.wants:
            span = span_of(want.what)
            present = span.index(now)
            for index, amount in want.used:
                at = min(index, present)
                if at >= span.oldest(present):
                    self.meters[want.what].add(at, amount)

    def _grant(self, peer: Peer, want: Want, now: float) -> Grant:
        """Give what can be given of one limit."""
        meter, what = self.meters[want.what], want.what
        used = sum(amount for _, amount in meter.used)
        held = sum(one.granted.get(what, 0) for one in self.peers.values() if not one.charged)
        free = meter.limit - used - held
        given = 0
        if free > 0:
            if want.due <= free:
                given = want.due + min(want.ahead, (free - want.due) // SHARE)
            elif want.least <= free:
                given = free
        peer.granted[what] += given
        lacks = max(0, want.least - free)
        fits_s = max(0.0, _fits_at(what, meter, lacks, now) - now) if lacks else 0.0
        taken = used + held + given
        free_s = max(0.0, _free_at(what, meter, held + given, now) - now) if taken else 0.0
        return Grant(what, peer.granted[what], taken, held + given, fits_s, free_s)


def _fits_at(what: str, meter: Meter, lacks: int, now: float) -> float:
    """When so much of what was used counts no more."""
    span = span_of(what)
    for index, amount in meter.used:
        lacks -= amount
        if lacks <= 0:
            return span.free_at(index)
    return max(span.free_at(span.index(now)), now + 1.0)


def _free_at(what: str, meter: Meter, held: int, now: float) -> float:
    span = span_of(what)
    return span.free_at(span.index(now) if held or not meter.used else meter.used[-1][0])


class LeaseBook:
    """All accounts, in memory."""

    __slots__ = ("_accounts", "_sweep_at")

    def __init__(self) -> None:
        self._accounts: dict[AccountKey, Account] = {}
        self._sweep_at = 0.0

    def __len__(self) -> int:
        return len(self._accounts)

    def exchange(self, question: Question, now: float) -> Reply:
        """Take what a process says, and answer it. Raises ValueError for limits that there are not."""
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            gone = [key for key, account in self._accounts.items() if not account.sweep(now)]
            for key in gone:
                del self._accounts[key]
        answers: list[Answer] = []
        for ask in question.asks:
            for want in ask.wants:
                span_of(want.what)
            account = self._accounts.get(ask.account)
            if account is None:
                account = self._accounts[ask.account] = Account(now, now)
            answer = account.exchange(question, ask, now)
            if answer is not None:
                answers.append(answer)
        return Reply(now, tuple(answers))

    def accounts(self) -> Iterator[tuple[AccountKey, Account]]:
        """Every account that something is known of."""
        yield from self._accounts.items()
