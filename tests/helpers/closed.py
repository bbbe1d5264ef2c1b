"""The arena with clients that ask again when they have their answer: as many calls are about as there are clients."""

from collections import deque
from collections.abc import Iterable

from penstock.base.nouns import CallRow
from penstock.core.effects import Effect, Record
from penstock.core.events import Arrived
from tests.helpers.arena import Arena, Visit


class ClosedArena(Arena):
    """A closed loop. When visits come is not looked at."""

    _todo: "deque[Visit]" = deque()

    def run_closed(self, visits: Iterable[Visit], clients: int) -> list[CallRow]:
        """So many clients work off the visits; the rows in the order of their ends."""
        self._todo = deque(visits)
        self._to_the_last = True
        self.visits = {visit.call.id: visit for visit in self._todo}
        for _ in range(clients):
            self._ask()
        self.kernel.run()
        return self.rows

    def _ask(self) -> None:
        if self._todo:
            self.kernel.at(self.kernel.clock(), self.pump.tell, Arrived(self._todo.popleft().call))

    def _perform(self, order: Effect) -> None:
        super()._perform(order)
        if isinstance(order, Record):
            self._ask()
