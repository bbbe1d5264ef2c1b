"""Notes on the choice that is being made: references to the lists that routing has in its hands anyway.

There is one such sheet a Gate, written over with each choice; only what becomes of it when a call is really sent is
kept, packed (`core.trails`). Nothing is computed here, and where nobody asks for explanations there is no sheet at all.
"""

from collections.abc import Sequence
from typing import Protocol

from penstock.core.load import Seat
from penstock.core.route.filters import Filter
from penstock.core.route.hashed import Around
from penstock.core.route.pickers import Picker
from penstock.core.route.scorers import Scorer

Scorers = tuple[tuple[float, Scorer], ...]


class Chooser(Protocol):
    """What explanations read of a pipeline."""

    picker: Picker
    placer: Around | None


class Notes:
    """The last choice: whoever begins one sets `considered`, and the rest to nothing."""

    __slots__ = ("considered", "filtered", "found", "looked", "parts", "pipeline", "rival", "scorers")

    def __init__(self) -> None:
        self.considered: Sequence[Seat] = ()
        """Usable ones without those that were tried before or sit this choice out."""
        self.pipeline: Chooser | None = None
        """Whose picker had the last word; None: nobody was asked, a session went where it had been."""
        self.looked: Sequence[Seat] = ()
        """Of them, those that were looked at: all, or a sample."""
        self.found: Sequence[Seat] | None = None
        """Who was scored; None: the ring had the word."""
        self.parts: list[list[float]] = []
        """A list of scores for each scorer."""
        self.scorers: Scorers = ()
        """These, with their weights: they may depend on the call."""
        self.rival = ""
        """The replica that has the call's first attempt already, where this is its hedge."""
        self.filtered: list[tuple[Filter, Sequence[Seat], Sequence[Seat]]] = []
        """Filters, in turn, with the seats before and after each."""

    def begin(self, seats: Sequence[Seat], owner: Chooser | None = None, rival: str = "") -> None:
        """A choice among these seats begins. `owner`: there is none to make, this strategy's ring has the word.
        `rival`: the replica that has the first of two attempts."""
        self.considered, self.pipeline, self.found, self.rival = seats, owner, None, rival
        if self.filtered:
            self.filtered = []
