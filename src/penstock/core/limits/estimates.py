"""How many tokens a prompt is: learnt from what engines say they were, per model and length.

The door only knows a prompt's bytes. A limit needs more than a good guess: what is held must not be less than what will
be charged. So of every model and class of length two ratios to the guess are kept: the typical one, and a high one that
begins at four (a token for every byte: hardly any prompt has more), sinks by a quarter of its distance with every lower
ratio, and is never below the highest of the last hundred: prompts of several kinds (code and prose, chats and
embeddings) come mixed, and a run of one kind says nothing about the next of another.
"""

from math import ceil
from typing import Final

HIGHEST: Final = 4.0
"""The guess is a quarter of the bytes."""
SINKS: Final = 0.25
ALPHA: Final = 0.1
REMEMBERED: Final = 100
"""So many ratios at least, and at most twice as many, are remembered by their highest."""
MOST_CLASSES: Final = 4096


class _Class:
    """What prompts of one model and length were, as multiples of what was guessed."""

    __slots__ = ("_before", "_count", "_recent", "_sinking", "high", "typical")

    def __init__(self, ratio: float) -> None:
        self.high = self._sinking = HIGHEST
        self.typical = ratio
        self._recent = self._before = 0.0
        self._count = 0

    def learn(self, ratio: float) -> None:
        """One was so."""
        sinking = self._sinking
        self._sinking = sinking = ratio if ratio >= sinking else sinking + SINKS * (ratio - sinking)
        self._recent = max(self._recent, ratio)
        self.high = max(sinking, self._recent, self._before)
        self.typical += ALPHA * (ratio - self.typical)
        self._count += 1
        if self._count == REMEMBERED:
            self._before, self._recent, self._count = self._recent, 0.0, 0


class Estimates:
    """What has been learnt."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], _Class] = {}
        """By model and class of length."""

    def high(self, model: str, guess: int) -> int:
        """What is held for a prompt of that guess."""
        known = self._known.get((model, guess.bit_length()))
        return ceil(guess * (HIGHEST if known is None else known.high))

    def typical(self, model: str, guess: int) -> int:
        """What is charged for it where the engine does not say."""
        known = self._known.get((model, guess.bit_length()))
        return guess if known is None else round(guess * known.typical)

    def learn(self, model: str, guess: int, tokens: int) -> None:
        """An engine said how many they were."""
        if guess <= 0 or tokens <= 0:
            return
        ratio, key = tokens / guess, (model, guess.bit_length())
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST_CLASSES:
                self._known.clear()
            known = self._known[key] = _Class(ratio)
        known.learn(ratio)
