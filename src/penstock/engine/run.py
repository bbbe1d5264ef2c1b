"""A run: steps of one batch that does not change, and when each of them ends, without counting them one by one.

While nobody joins or leaves, each step computes one token of each sequence. The context grows by the same number of
tokens every time, and the cost models promise that a step's time is linear in it. So the durations are an arithmetic
series, and the end of step j is `begins + j first + growth j (j - 1) / 2`.
"""

from math import inf, sqrt


class Run:
    """Steps in a row, of which `done` are over; the next one is under way. Idle: `ends_at` is infinite."""

    __slots__ = ("begins_at", "done", "ends_at", "first_s", "growth_s", "steps")

    def __init__(self) -> None:
        self.begins_at = 0.0
        self.first_s = 0.0
        """Duration of the first step."""
        self.growth_s = 0.0
        """How much longer each step takes than the one before it."""
        self.steps = 0
        self.done = 0
        self.ends_at = inf
        """The end of the last step."""

    def begin(self, first_s: float, growth_s: float, steps: int, at: float) -> None:
        """A new batch is under way. `steps` ≥ 1."""
        self.begins_at, self.first_s, self.growth_s = at, first_s, growth_s
        self.steps, self.done = steps, 0
        self.ends_at = at + steps * (first_s + 0.5 * growth_s * (steps - 1))

    def rest(self) -> None:
        """There is nothing to do."""
        self.steps = self.done = 0
        self.ends_at = inf

    def end_of(self, step: int) -> float:
        """When the step of this number (1: the first) ends."""
        return self.begins_at + step * (self.first_s + 0.5 * self.growth_s * (step - 1))

    def done_by(self, now: float) -> int:
        """Steps that have ended at `now`, which is before the run's end."""
        passed_s, growth_s = now - self.begins_at, self.growth_s
        if growth_s > 0:
            straight = self.first_s - 0.5 * growth_s
            step = int((sqrt(straight * straight + 2 * growth_s * max(0.0, passed_s)) - straight) / growth_s)
        else:
            step = int(passed_s / self.first_s)
        step = min(max(step, self.done), self.steps)
        while step > self.done and self.end_of(step) > now:
            step -= 1
        while step < self.steps and self.end_of(step + 1) <= now:
            step += 1
        return step

    def cut(self) -> None:
        """The batch will change: the step that is under way is the last of this run."""
        if self.steps > self.done + 1:
            self.steps = self.done + 1
            self.ends_at = self.end_of(self.steps)
