"""How many tokens a prompt is: learnt from what engines say they were, per model and length.

The door only knows a prompt's bytes. A limit needs more than a good guess: what is held must not be less than what will
be charged. So of every model and class of length two ratios to the guess are kept: the typical one, and a high one that
begins at four (a token for every byte: hardly any prompt has more), jumps up with every higher ratio, and sinks by a
quarter of its distance with every lower one.
"""

from math import ceil
from typing import Final, NamedTuple

HIGHEST: Final = 4.0
"""The guess is a quarter of the bytes."""
SINKS: Final = 0.25
ALPHA: Final = 0.1
MOST_MODELS: Final = 256


class Ratio(NamedTuple):
    """What prompts were, as multiples of what was guessed."""

    high: float = HIGHEST
    typical: float = 1.0


_UNKNOWN = Ratio()


class Estimates:
    """What has been learnt."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, dict[int, Ratio]] = {}

    def _of(self, model: str, guess: int) -> Ratio:
        known = self._known.get(model)
        return _UNKNOWN if known is None else known.get(guess.bit_length(), _UNKNOWN)

    def high(self, model: str, guess: int) -> int:
        """What is held for a prompt of that guess."""
        return ceil(guess * self._of(model, guess).high)

    def typical(self, model: str, guess: int) -> int:
        """What is charged for it where the engine does not say."""
        return round(guess * self._of(model, guess).typical)

    def learn(self, model: str, guess: int, tokens: int) -> None:
        """An engine said how many they were."""
        if guess <= 0 or tokens <= 0:
            return
        known = self._known.get(model)
        if known is None:
            if len(self._known) >= MOST_MODELS:
                self._known.clear()
            known = self._known[model] = {}
        size, ratio = guess.bit_length(), tokens / guess
        before = known.get(size)
        if before is None:
            known[size] = Ratio(max(ratio, HIGHEST + SINKS * (ratio - HIGHEST)), ratio)
        else:
            high, typical = before
            high = ratio if ratio >= high else high + SINKS * (ratio - high)
            known[size] = Ratio(high, typical + ALPHA * (ratio - typical))
