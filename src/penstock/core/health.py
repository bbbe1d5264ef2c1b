"""Health: one table per replica of everything that can take it out of traffic: life cycle, probes, breaker, ejection,
pauses; and what panic lets it back in for.

Two questions matter to others: `usable` (may it get calls at all, now or as soon as a seat frees) and `limit` (how many
at once: all its seats, one while it is on trial, none while it is set aside). `well` is the judgement on itself, which
`usable` follows unless its pool panics. Nothing here knows of calls.
"""

from typing import Final, Literal

from penstock.core.spec import BreakerSpec, ProbeSpec

Life = Literal["provisioning", "warming", "healthy", "unhealthy", "draining", "gone"]
Sign = Literal["started", "well", "ill", "drain", "undrain", "emptied"]
Breaker = Literal["closed", "open", "half_open"]

LIFE: Final[dict[tuple[Life, Sign], Life]] = {
    ("provisioning", "started"): "warming",
    ("provisioning", "drain"): "draining",
    ("warming", "well"): "healthy",
    ("warming", "drain"): "draining",
    ("healthy", "ill"): "unhealthy",
    ("healthy", "drain"): "draining",
    ("unhealthy", "well"): "healthy",
    ("unhealthy", "drain"): "draining",
    ("draining", "undrain"): "warming",
    ("draining", "emptied"): "gone",
}
"""F2's transitions; a sign without a row changes nothing. Busy and overloaded are `healthy` seen with its load
(`Seat.state_at`): they change with every call and decide nothing here that `limit` does not."""


class Health:
    """One replica's row. Methods that may change `usable` or `limit` return whether they did."""

    __slots__ = (
        "_aside", "_crowded", "_proved", "breaker", "ejected", "ejected_by", "ejected_until", "ejections", "failures",
        "life", "limit", "open_until", "panic", "probe_bad", "probe_good", "returns", "seats", "spec_breaker",
        "spec_probe", "successes", "usable", "well",
    )  # fmt: skip

    def __init__(self, breaker: BreakerSpec, probe: ProbeSpec, seats: int) -> None:
        self.spec_breaker = breaker
        self.spec_probe = probe
        self.seats = seats
        self.life: Life = "warming" if probe.enabled else "healthy"
        self.breaker: Breaker = "closed"
        self.failures = 0
        """In a row, from real traffic."""
        self.open_until = self.ejected_until = 0.0
        """When the breaker that opened last lets calls try, and when the last time out ends, for explanations."""
        self.successes = 0
        """Since half-open."""
        self.probe_bad = 0
        self.probe_good = 0
        self.returns = 0
        """How often it became usable."""
        self._aside = False
        self._crowded = False
        self._proved = False
        """A call ended well there since its pool panics."""
        self.ejected = False
        self.ejected_by = ""
        """Which comparison put it out last."""
        self.ejections = 0
        """How often it was put out lately: grows with each ejection, shrinks with each interval in which it was not."""
        self.panic = False
        """Its pool panics, and lets it in whatever probes and comparisons say."""
        self.well = False
        self.usable = False
        self.limit = 0
        self.refresh()

    def refresh(self) -> bool:
        """Work out `well`, `usable` and `limit` from the rest; whether they changed."""
        before = (self.usable, self.limit, self.well)
        self.well = self.life == "healthy" and self.breaker != "open" and not self.ejected
        self.usable = self.well or (self.panic and self.member and self.breaker != "open")
        if not self.usable or self._aside or self._crowded:
            self.limit = 0
        elif self.breaker == "half_open" or not (self.well or self._proved):
            self.limit = min(self.seats, self.spec_breaker.half_open)
        else:
            self.limit = min(1, self.seats) if self.suspect else self.seats
        self.returns += self.usable and not before[0]
        return (self.usable, self.limit, self.well) != before

    @property
    def member(self) -> bool:
        """Whether its pool may count on it: it was well once and is not on its way out."""
        return self.life in ("healthy", "unhealthy")

    @property
    def trusted(self) -> bool:
        """Whether a call sent there now will likely end well: it is well, or has proved it in a panic."""
        return self.well or (self.usable and self._proved)

    @property
    def suspect(self) -> bool:
        """Failing in a row, though not yet enough to open the breaker [H2]."""
        return self.failures >= self.spec_breaker.suspect_after

    @property
    def paused(self) -> bool:
        """It asked for a pause, and has it."""
        return self._aside

    def shown(self) -> str:
        """The state for people: an open breaker or an ejection is unhealthy whatever probes say."""
        return "unhealthy" if self.life == "healthy" and not self.well else self.life

    def sign(self, sign: Sign) -> bool:
        """Move along the life cycle."""
        self.life = LIFE.get((self.life, sign), self.life)
        if sign == "undrain" and not self.spec_probe.enabled:
            self.life = "healthy"
        return self.refresh()

    def respec(self, breaker: BreakerSpec, probe: ProbeSpec) -> bool:
        """New settings hold from now on; what was learnt is kept."""
        self.spec_breaker, self.spec_probe = breaker, probe
        if not probe.enabled and self.life in ("warming", "unhealthy"):
            self.life = "healthy"
        return self.refresh()

    # ===== traffic =====

    def succeeded(self) -> bool:
        """A call ended well."""
        if self.breaker == "closed":
            if not self.failures and (self._proved or not self.panic):
                return False
            self.failures, self._proved = 0, self.panic
            return self.refresh()
        if self.breaker == "open":
            return False  # an old call that was under way when it opened proves nothing about now
        self.successes += 1
        if self.successes >= self.spec_breaker.successes:
            self.breaker, self.failures, self._proved = "closed", 0, self.panic
        return self.refresh()

    def failed(self) -> bool:
        """A call failed by the replica's fault. Where it opens `breaker`, set the alarm for `half_open`."""
        self.failures += 1
        self._proved = False
        if self.breaker == "half_open" or self.failures >= self.spec_breaker.failures:
            self.breaker = "open"
        return self.refresh()

    def cleared(self) -> bool:
        """One of its failures in a row was the call's. What an opened breaker stands for is not doubted."""
        if not self.failures or self.breaker != "closed":
            return False
        self.failures -= 1
        return self.refresh()

    def half_open(self) -> bool:
        """The open time is over: let calls try."""
        if self.breaker == "open":
            self.breaker, self.successes = "half_open", 0
        return self.refresh()

    def set_aside(self, aside: bool) -> bool:
        """It asked for a pause (429, Retry-After), or the pause is over."""
        self._aside = aside
        return self.refresh()

    # ===== among others =====

    def eject(self, ejected: bool, why: str = "") -> bool:
        """It was found to be an outlier, or its time out is over. No probe ends it: a probe says that a process
        answers, and what put it out was how it answered calls."""
        self.ejections += ejected and not self.ejected
        self.ejected = ejected
        self.ejected_by = why or self.ejected_by
        return self.refresh()

    def behaved(self) -> None:
        """An interval without an ejection."""
        self.ejections = max(0, self.ejections - 1)

    def panics(self, panic: bool) -> bool:
        """Its pool began to panic, or has calmed down. Panic doubts what probes and comparisons say of a replica and
        gives it the trial of a half-open breaker: the first call that ends well there brings all its seats back, and
        one that is frozen holds up no more than the trial. An open breaker is not doubted: real calls failed."""
        if panic == self.panic:
            return False
        self.panic, self._proved = panic, False
        return self.refresh()

    # ===== probes =====

    def probed(self, ok: bool) -> bool:
        """A probe came back [H1]. A new replica needs one good probe, one that was taken out needs several."""
        if ok:
            self.probe_bad, self.probe_good = 0, self.probe_good + 1
            if self.life == "warming" or self.probe_good >= self.spec_probe.healthy_after:
                return self.sign("well")
        else:
            self.probe_bad, self.probe_good = self.probe_bad + 1, 0
            if self.probe_bad >= self.spec_probe.unhealthy_after:
                return self.sign("ill")
        return False

    def crowd(self, waiting: int | None) -> bool:
        """The engine told the length of its own queue: over the limit it is not ready; unknown is not crowded."""
        bound = self.spec_probe.max_waiting
        self._crowded = bound is not None and waiting is not None and waiting > bound
        return self.refresh()
