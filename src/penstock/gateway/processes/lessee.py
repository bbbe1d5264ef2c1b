"""Carries what the Gate has to say to the store of shared limits there, and the answers back."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from penstock.adapters.stores.lessors import lessor_of
from penstock.base.leases import Question
from penstock.base.ports import LeaseStore
from penstock.core.effects import Lease, Return
from penstock.core.events import Event, Leased, LeaseLost, Reconfigured
from penstock.core.spec import GateSpec

log = logging.getLogger("penstock.gateway")

TIMEOUT_S: Final = 1.0
"""For an answer; calls may wait for it."""


class Lessee:
    """One process' way to the store. Made inside a running event loop."""

    def __init__(
        self, store: LeaseStore, tell: Callable[[Event], None], timeout_s: float = TIMEOUT_S, peer: str = ""
    ) -> None:  # fmt: skip
        self._store = store
        self._tell = tell
        self._timeout_s = timeout_s
        self._peer = peer or new_peer()
        self._tasks: set[asyncio.Task[None]] = set()
        self.away = ""
        """Why the store cannot be reached; empty: it can."""
        self.asked = self.granted = self.lost = 0
        """Messages; those of them that got leases; those that were not answered."""

    def perform(self, order: Lease | Return) -> None:
        """Send it; what comes of it is told to the Gate later."""
        task = asyncio.get_running_loop().create_task(self._exchange(order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _exchange(self, order: Lease | Return) -> None:
        event: Event
        self.asked += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._store.exchange(Question(self._peer, order.number, order.lasts_s, order.asks))
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError
            self.lost += 1
            self._note(f"{error}" or type(error).__name__)
            event = LeaseLost(order.number, type(error).__name__)
        else:
            self._note("")
            self.granted += any(grant.granted for answer in reply.answers for grant in answer.grants)
            event = Leased(order.number, reply.now, reply.answers)
        if isinstance(order, Lease):
            self._tell(event)

    def _note(self, away: str) -> None:
        if away and not self.away:
            log.warning("the store of shared limits cannot be reached: %s", away)
        elif self.away and not away:
            log.info("the store of shared limits can be reached again")
        self.away = away

    def metrics(self) -> dict[str, float]:
        """Family -> value."""
        return {
            "lease_messages": self.asked, "lease_grants": self.granted, "lease_lost": self.lost,
            "lease_store_up": int(not self.away),
        }  # fmt: skip

    async def close(self) -> None:
        """Let the last message arrive, and end."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=self._timeout_s)
        await self._store.close()


def new_peer() -> str:
    """A name that no process ever had."""
    return secrets.token_hex(8)


def open_lessee(url: str, tell: Callable[[Event], None], peer: str = "") -> Lessee:
    """The way to the store at this URL. Raises OSError where it cannot be had."""
    try:
        return Lessee(lessor_of(url), tell, peer=peer)
    except ValueError as wrong:
        raise OSError(f"shared_limits.store: {wrong}") from None


async def give_back(lessee: Lessee | None, spec: GateSpec, tell: Callable[[Event], None]) -> None:
    """The process ends: the store hears what was used, and gets back what was not."""
    if lessee is not None:
        if spec.limits is not None:
            tell(Reconfigured(replace(spec, limits=replace(spec.limits, shared=None))))
        await lessee.close()
