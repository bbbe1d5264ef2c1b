"""Which answers are kept, the least recently used first: keys, sizes and times. The bytes are the edge's."""

from collections import OrderedDict
from typing import NamedTuple

from penstock.core.cache.spec import CacheSpec


class Entry(NamedTuple):
    """One answer that is kept."""

    size: int
    at: float
    """When it was made."""
    until: float
    tenant: str
    model: str
    tags: tuple[str, ...]


class Index:
    """What is kept in memory: bounded in number and bytes."""

    __slots__ = ("_entries", "bytes", "evictions", "expired", "invalidated", "kept", "spec")

    def __init__(self, spec: CacheSpec) -> None:
        self.spec = spec
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.bytes = 0
        self.kept = self.evictions = self.expired = self.invalidated = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, now: float) -> Entry | None:
        """The answer of this key, which was used by that; None: there is none that may be given now."""
        entry = self._entries.get(key)
        if entry is None or now >= entry.until:
            return None
        self._entries.move_to_end(key)
        return entry

    def lapsed(self, key: str, now: float) -> bool:
        """Let go of the answer of this key where its time is over; whether it was."""
        entry = self._entries.get(key)
        if entry is None or now < entry.until:
            return False
        self._remove(key)
        self.expired += 1
        return True

    def takes(self, size: int) -> bool:
        """Whether an answer of this size may be kept at all."""
        return 0 < size <= min(self.spec.largest_bytes, self.spec.memory_bytes)

    def add(self, key: str, entry: Entry) -> tuple[str, ...]:
        """Keep it, which `takes` its size; the keys of those that had to go."""
        if key in self._entries:
            self._remove(key)
        self._entries[key] = entry
        self.bytes += entry.size
        self.kept += 1
        return self.shrink()

    def shrink(self) -> tuple[str, ...]:
        """Let go until the bounds hold; the keys of those that went."""
        gone: list[str] = []
        while len(self._entries) > self.spec.entries or self.bytes > self.spec.memory_bytes:
            key = next(iter(self._entries))
            self._remove(key)
            gone.append(key)
        self.evictions += len(gone)
        return tuple(gone)

    def drop(self, tag: str | None, model: str | None, tenant: str | None) -> tuple[str, ...]:
        """Let go of all that match; their keys."""
        gone = tuple(key for key, entry in self._entries.items() if matches(entry, tag, model, tenant))
        for key in gone:
            self._remove(key)
        self.invalidated += len(gone)
        return gone

    def _remove(self, key: str) -> None:
        self.bytes -= self._entries.pop(key).size


def matches(entry: Entry, tag: str | None, model: str | None, tenant: str | None) -> bool:
    """Whether all that is named applies to it; where nothing is, everything does."""
    return (
        (tag is None or tag in entry.tags)
        and (model is None or model == entry.model)
        and (tenant is None or tenant == entry.tenant)
    )
