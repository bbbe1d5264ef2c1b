"""The cache: what of it the Gate asks for each call, and what it counts."""

from penstock.base.contents import CacheState, CacheView
from penstock.core.cache.index import Entry, Index, matches
from penstock.core.cache.rules import Use, frame_of, key_of, rule_of, use_of
from penstock.core.cache.spec import CacheSpec
from penstock.core.flight import Flight, Sharing


class Cache:
    """What is kept, and what is being made for more than one."""

    __slots__ = ("beside", "calls", "index", "looks_up", "sharings", "spec")

    def __init__(self, spec: CacheSpec, looks_up: bool, beside: bool = False) -> None:
        self.spec = spec
        self.looks_up = looks_up
        """Gateways share answers."""
        self.beside = beside
        """There are other workers."""
        self.index = Index(spec)
        self.sharings: dict[str, Sharing] = {}
        """Those that may be joined."""
        self.calls: dict[CacheState, int] = dict.fromkeys(("hit", "coalesced", "miss", "bypass"), 0)
        if spec.semantic is not None:
            self.calls["similar"] = 0

    def respec(self, spec: CacheSpec, looks_up: bool, beside: bool = False) -> tuple[str, ...]:
        """Other settings hold from now on; the keys of what is not kept any more."""
        old, self.spec, self.looks_up, self.beside = self.spec, spec, looks_up, beside
        self.index.spec = spec
        if spec.semantic is not None:
            self.calls.setdefault("similar", 0)
        if old.version != spec.version or old.isolate != spec.isolate:  # nobody would find them again
            return self.index.drop(None, None, None)
        return self.index.shrink()

    def use(self, flight: Flight) -> Use:
        """What the cache has to do with this call, which has targets."""
        spec, call = self.spec, flight.call
        rule = rule_of(spec, call, flight.targets[0].model) if spec.rules else None
        return use_of(call, spec.mode if rule is None else rule.mode)

    def key(self, flight: Flight) -> str:
        """Under which its answer stands."""
        return key_of(self.spec, flight.call, flight.targets[0])

    def lead(self, key: str, flight: Flight) -> Sharing:
        """This call runs, and others may join it."""
        content = flight.call.content
        rule = rule_of(self.spec, flight.call, flight.targets[0].model) if self.spec.rules else None
        ttl_s = self.spec.ttl_s if rule is None or rule.ttl_s is None else rule.ttl_s
        if (older := self.sharings.get(key)) is not None:
            older.keep = False  # it began before this one, and may end after it
        sharing = self.sharings[key] = Sharing(key, flight, content.tags if content else (), ttl_s)
        sharing.frame = self.frame(flight)
        return sharing

    def frame(self, flight: Flight) -> str:
        """Among which questions one in other words may stand for its own; empty: none may."""
        return "" if self.spec.semantic is None else frame_of(self.spec, flight.call, flight.targets[0])

    def alike(self, sharing: Sharing, key: str, similarity: float, now: float) -> Entry | None:
        """The answer of this key, if it may be given for a question that is so similar to its own."""
        semantic, call = self.spec.semantic, sharing.leader.call
        if semantic is None or not sharing.keep or not similarity >= semantic.threshold:
            return None
        entry = self.index.get(key, now)
        if entry is None or entry.model != sharing.leader.targets[0].model:
            return None
        return None if self.spec.isolate and entry.tenant != call.tenant else entry

    @staticmethod
    def entry(sharing: Sharing, size: int, at: float, until: float) -> Entry:
        """Its answer, as it is kept."""
        leader = sharing.leader
        return Entry(size, at, until, leader.call.tenant, leader.targets[0].model, sharing.tags)

    def close(self, sharing: Sharing) -> None:
        """Nobody joins it any more."""
        if self.sharings.get(sharing.key) is sharing:
            del self.sharings[sharing.key]

    def invalidate(self, tag: str | None, model: str | None, tenant: str | None) -> tuple[str, ...]:
        """The keys of what must not be given any more; what is being made now is not kept, and not joined."""
        for sharing in list(self.sharings.values()):
            if matches(self.entry(sharing, 0, 0.0, 0.0), tag, model, tenant):
                sharing.keep = False
                self.close(sharing)
        return self.index.drop(tag, model, tenant)

    def view(self) -> CacheView:
        """For people."""
        index, brought = self.index, sum(one.brought for one in self.sharings.values())
        return CacheView(
            entries=len(index), bytes=index.bytes, calls={str(state): count for state, count in self.calls.items()},
            kept=index.kept, evicted=index.evictions, expired=index.expired, invalidated=index.invalidated,
            leading=len(self.sharings) - brought,
            following=brought + sum(len(one.followers) for one in self.sharings.values()),
        )  # fmt: skip
