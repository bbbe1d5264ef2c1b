"""What is believed of a source's answers, so that a hiccup of a name server never empties a fleet that serves.

Pure: answers in, with the time. A new address counts at once. One that an answer lacks stays until every answer has
lacked it for `missing_after`: round-robin name servers show a part of a large set, another part each time. An empty
answer changes nothing unless `empty_after` in a row are configured to count. A failure changes nothing at all.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

from penstock.base.nouns import Found
from penstock.base.units import Seconds


def _doc(text: str) -> Meta:
    return Meta(description=text)


class TrustSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a source's answers are believed."""

    missing_after_s: Annotated[
        Seconds,
        _doc("an address is given up once all answers have lacked it for so long; then it finishes what it has"),
    ] = field(default=60.0, name="missing_after")
    empty_after: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        _doc("empty answers in a row that are believed; none: an empty answer never empties the pool"),
    ] = None
    max: Annotated[int, Meta(ge=1, le=10_000), _doc("replicas that are taken from it at most")] = 1000


class Settled:
    """The addresses of one source that are believed in, in the order in which they were first seen."""

    def __init__(self, spec: TrustSpec) -> None:
        self.spec = spec
        self.error = ""
        """Why the last look failed; empty: it did not."""
        self.looked_at: float | None = None
        self.good_at: float | None = None
        """When it last gave an answer that could be used."""
        self.looks = 0
        self.failures = 0
        """In all."""
        self.failing = 0
        """In a row."""
        self._known: dict[str, Found] = {}
        self._missing: dict[str, float] = {}
        """Address -> when an answer first lacked it, of those that the last answer lacked."""
        self._empty = 0

    def found(self) -> tuple[Found, ...]:
        """What is believed in."""
        return tuple(self._known.values())

    def missing(self, now: float) -> dict[str, float]:
        """Address -> for how many seconds answers have lacked it."""
        return {address: now - since for address, since in self._missing.items()}

    def failed(self, error: str, now: float) -> None:
        """A look failed: what was known stays."""
        self._looked(now)
        self.error = error
        self.failures += 1
        self.failing += 1

    def saw(self, found: tuple[Found, ...], now: float) -> bool:
        """A look succeeded; whether what is believed in has changed."""
        if not found and self._known and not self._believes_empty():
            self.failed("an empty answer, which is not believed", now)
            return False
        self._looked(now)
        self.error, self.failing, self.good_at = "", 0, now
        before = self.found()
        if not found:
            self._known.clear()
            self._missing.clear()
            return bool(before)
        self._empty = 0
        self._take(found, now)
        return self.found() != before

    def _looked(self, now: float) -> None:
        self.looks += 1
        self.looked_at = now

    def _believes_empty(self) -> bool:
        self._empty += 1
        return self.spec.empty_after is not None and self._empty >= self.spec.empty_after

    def _take(self, found: tuple[Found, ...], now: float) -> None:
        seen = {it.address: it for it in found}
        for address in list(self._known):
            if address in seen:
                self._missing.pop(address, None)
            elif now - self._missing.setdefault(address, now) >= self.spec.missing_after_s:
                del self._known[address], self._missing[address]
        for address, it in seen.items():
            if address in self._known or len(self._known) < self.spec.max:
                self._known[address] = it
