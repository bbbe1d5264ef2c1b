"""The roster: who should be in the fleet, from the configuration, the admin API, scaled pools and sources of replicas
together.

It hands over whole snapshots. What the admin API added, drained or removed outlives a reload of the file; a replica
that the file itself no longer names is gone with the reload. Where two name the same replica, the file's word comes
first, then the admin API's, then that of pools that run it themselves, then that of sources in the file's order.
"""

from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from penstock.adapters.discovery.registry import describe
from penstock.base.nouns import EngineAbout, Found, Replica
from penstock.config.schema import Access, Discovered, Settings

SourceKey = tuple[str, str]
"""A pool, and what one of its sources asks for."""


class RosterError(Exception):
    """A wish that cannot be met. `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def key_of(source: Discovered) -> SourceKey:
    """What tells a source from all others."""
    return (source.pool, describe(source.spec))


def placed(source: Discovered, found: Found) -> Replica:
    """The replica that a source has found: its id is what a replica of the file at this address has by default."""
    like, spec = source.template, source.spec
    path = spec.path.rstrip("/")
    return replace(
        like, id=f"{found.address}{path}", url=f"{spec.scheme}://{found.address}{path}",
        weight=like.weight * found.weight, backup=like.backup or found.backup,
    )  # fmt: skip


def informed(replica: Replica, access: Access, about: EngineAbout | None) -> Replica:
    """The replica with what its engine tells of itself, where the configuration leaves that to it."""
    if about is None:
        return replica
    told = replace(replica, version=about.version, max_model_len=about.max_model_len)
    if access.asks_engine:
        told = replace(told, engine=about.engine)
    if access.asks_seats and about.seats is not None:
        told = replace(told, max_concurrent_requests=about.seats)
    return told


class Roster:
    """The wished-for fleet. Every change is announced as a whole to `announce(settings)`."""

    def __init__(self, settings: Settings, announce: Callable[[Settings], None], most: int = 10_000) -> None:
        self._settings = settings
        self._announce = announce
        self._most = most
        self._added: dict[str, tuple[Replica, Access]] = {}
        self._drained: set[str] = set()
        self._removed: set[str] = set()
        self._found: Mapping[SourceKey, tuple[Found, ...]] = {}
        self._about: Mapping[str, EngineAbout] = {}
        self._scaled: tuple[tuple[Replica, Access], ...] = ()

    def learnt(self, about: Mapping[str, EngineAbout]) -> None:
        """What all engines that were asked say of themselves, by replica."""
        self._about = about
        self._announce(self.effective())

    def found(self, found: Mapping[SourceKey, tuple[Found, ...]]) -> None:
        """What all sources have found, as far as it is believed."""
        self._found = found
        self._forget()
        self._announce(self.effective())

    def scaled(self, replicas: tuple[tuple[Replica, Access], ...]) -> None:
        """All that scaled pools run now, by themselves."""
        self._scaled = replicas
        self._forget()
        self._announce(self.effective())

    def configured(self, settings: Settings) -> None:
        """The file was read again."""
        self._settings = settings
        asked = set(map(key_of, settings.sources))
        self._found = {key: found for key, found in self._found.items() if key in asked}
        self._forget()
        self._announce(self.effective())

    def _forget(self) -> None:
        """Wishes about who is no longer named by anybody."""
        file = {replica.id for replica in self._settings.replicas}
        known = file | {replica.id for replica, _ in self._sighted()} | {replica.id for replica, _ in self._scaled}
        self._removed &= known
        # where the API took the file's replica out and put in another of that id, its own one stays
        self._added = {name: kept for name, kept in self._added.items() if name not in file - self._removed}
        self._drained &= known | set(self._added)

    def _sighted(self) -> Iterator[tuple[Replica, Access]]:
        for source in self._settings.sources:
            for found in self._found.get(key_of(source), ()):
                yield placed(source, found), source.access

    def effective(self) -> Settings:
        """The settings with the fleet as it should be now."""
        replicas = [replica for replica in self._settings.replicas if replica.id not in self._removed]
        access = {replica.id: self._settings.access.get(replica.id, Access()) for replica in replicas}
        pools = {pool.name for pool in self._settings.gate.pools}
        for replica, entry in self._added.values():
            if replica.pool in pools:  # a reload may have taken the pool away; with it comes back who was added to it
                replicas.append(replica)
                access[replica.id] = entry
        for replica, entry in self._scaled:
            if replica.pool in pools and replica.id not in access and replica.id not in self._removed:
                replicas.append(replica)
                access[replica.id] = entry
        for replica, entry in self._sighted():
            if replica.id not in access and replica.id not in self._removed and len(replicas) < self._most:
                replicas.append(replica)
                access[replica.id] = entry
        known = [informed(replica, access[replica.id], self._about.get(replica.id)) for replica in replicas]
        marked = tuple(replace(replica, drain=True) if replica.id in self._drained else replica for replica in known)
        return replace(self._settings, replicas=marked, access=access)

    def add(self, replica: Replica, access: Access) -> None:
        """Take one more replica. Raises RosterError where its id or pool is wrong."""
        effective = self.effective()
        if any(replica.id == known.id for known in effective.replicas):
            raise RosterError(409, f"a replica {replica.id!r} is in the fleet already: remove it first, or give `id`")
        pools = [pool.name for pool in effective.gate.pools]
        if replica.pool not in pools:
            raise RosterError(404, f"there is no pool {replica.pool!r}: the pools are {', '.join(pools)}")
        if len(effective.replicas) >= self._most:
            raise RosterError(409, f"the fleet has {self._most} replicas already, which is the most that it takes")
        self._added[replica.id] = (replica, access)
        self._announce(self.effective())

    def drain(self, replica_id: str, drain: bool = True) -> None:
        """Let a replica finish what it has and take nothing new; or take it back. Raises RosterError."""
        self.must_know(replica_id)
        (self._drained.add if drain else self._drained.discard)(replica_id)
        self._announce(self.effective())

    def remove(self, replica_id: str) -> None:
        """Take a replica out: nothing new goes there, streams finish, then it is forgotten. Raises RosterError."""
        self.must_know(replica_id)
        self._added.pop(replica_id, None)
        self._removed.add(replica_id)  # whoever else names it
        self._forget()
        self._drained.discard(replica_id)
        self._announce(self.effective())

    def must_know(self, replica_id: str) -> None:
        """Raises RosterError where there is no such replica."""
        if all(replica_id != replica.id for replica in self.effective().replicas):
            raise RosterError(404, f"there is no replica {replica_id!r} in the fleet")
