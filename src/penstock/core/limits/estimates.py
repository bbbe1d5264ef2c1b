"""How many tokens a prompt is: learnt from what engines say they were, per model and length.

The door only knows a prompt's bytes. A limit needs more than a good guess: what is held must not be less than what will
be charged. So of every model and class of length two ratios to the guess are kept: the typical one, and a high one that
begins at four (a token for every byte: hardly any prompt has more), jumps up with every higher ratio, and sinks by a
quarter of its distance with every lower one.
"""

from math import ceil
from typing import Final

HIGHEST: Final = 4.0
"""The guess is a quarter of the bytes."""
SINKS: Final = 0.25
ALPHA: Final = 0.1
MOST_CLASSES: Final = 4096


class Estimates:
    """What has been learnt."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], list[float]] = {}
        """Model and class of length -> what prompts were as multiples of what was guessed: at most, and typically."""

    def high(self, model: str, guess: int) -> int:
        """What is held for a prompt of that guess."""
        known = self._known.get((model, guess.bit_length()))
        return ceil(guess * (HIGHEST if known is None else known[0]))

    def typical(self, model: str, guess: int) -> int:
        """What is charged for it where the engine does not say."""
        known = self._known.get((model, guess.bit_length()))
        return guess if known is None else round(guess * known[1])

    def learn(self, model: str, guess: int, tokens: int) -> None:
        """An engine said how many they were."""
        if guess <= 0 or tokens <= 0:
            return
        ratio, key = tokens / guess, (model, guess.bit_length())
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST_CLASSES:
                self._known.clear()
            known = self._known[key] = [HIGHEST, ratio]
        high = known[0]
        known[0] = ratio if ratio >= high else high + SINKS * (ratio - high)
        known[1] += ALPHA * (ratio - known[1])
