"""The roster: who should be in the fleet, from the configuration and from the admin API together.

It hands over whole snapshots. What the admin API added, drained or removed outlives a reload of the file; a replica
that the file itself no longer names is gone with the reload.
"""

from collections.abc import Callable

from msgspec.structs import replace

from penstock.base.nouns import Replica
from penstock.config.schema import Access, Settings


class RosterError(Exception):
    """A wish that cannot be met. `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Roster:
    """The wished-for fleet. Every change is announced as a whole to `announce(settings)`."""

    def __init__(self, settings: Settings, announce: Callable[[Settings], None], most: int = 10_000) -> None:
        self._settings = settings
        self._announce = announce
        self._most = most
        self._added: dict[str, tuple[Replica, Access]] = {}
        self._drained: set[str] = set()
        self._removed: set[str] = set()

    def configured(self, settings: Settings) -> None:
        """The file was read again."""
        self._settings = settings
        known = {replica.id for replica in settings.replicas}
        self._removed &= known
        # where the API took the file's replica out and put in another of that id, its own one stays
        self._added = {name: kept for name, kept in self._added.items() if name not in known - self._removed}
        self._drained &= known | set(self._added)
        self._announce(self.effective())

    def effective(self) -> Settings:
        """The settings with the fleet as it should be now."""
        replicas = [replica for replica in self._settings.replicas if replica.id not in self._removed]
        access = {replica.id: self._settings.access.get(replica.id, Access()) for replica in replicas}
        pools = {pool.name for pool in self._settings.gate.pools}
        for replica, entry in self._added.values():
            if replica.pool in pools:  # a reload may have taken the pool away; with it comes back who was added to it
                replicas.append(replica)
                access[replica.id] = entry
        marked = tuple(replace(replica, drain=True) if replica.id in self._drained else replica for replica in replicas)
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
        if self._added.pop(replica_id, None) is None:
            self._removed.add(replica_id)
        self._drained.discard(replica_id)
        self._announce(self.effective())

    def must_know(self, replica_id: str) -> None:
        """Raises RosterError where there is no such replica."""
        if all(replica_id != replica.id for replica in self.effective().replicas):
            raise RosterError(404, f"there is no replica {replica_id!r} in the fleet")
