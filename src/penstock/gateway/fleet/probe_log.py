"""What the log says of health probes: who does not answer them, and who does again.

It hears what each probe brought in the process that probes, and knows nothing of the fleet's states: those are the
Gate's, whose own facts it repeats to people.
"""

import logging

from penstock.core.events import Probed

TOLD_AFTER = 3
"""Failed probes in a row before a line is written: one that is lost is no news."""

log = logging.getLogger("penstock.gateway")


class ProbeLog:
    """One line when a replica stops answering, one when it answers again: never one a probe."""

    def __init__(self) -> None:
        self._failed: dict[str, int] = {}
        self._seen: set[str] = set()

    def heard(self, event: Probed, url: str) -> None:
        """A probe of the replica at `url` came back."""
        name = event.replica
        if event.ok:
            self._seen.add(name)
            if self._failed.pop(name, 0) >= TOLD_AFTER:
                log.info("replica %s answers its health probes", name)
            return
        self._failed[name] = self._failed.get(name, 0) + 1
        if self._failed[name] == TOLD_AFTER:
            since = (
                "does not answer its health probes any more" if name in self._seen else "answered no health probe yet"
            )
            log.warning("replica %s (%s) %s: %s", name, url, since, event.detail or "no reason told")

    def forget(self, name: str) -> None:
        """The replica is gone."""
        self._failed.pop(name, None)
        self._seen.discard(name)
