"""The clients of a run: whose patience ends, who asks again when refused, who waits for an answer before going on.

What they do is what the Gate would be told of live ones: a connection that closes is ClientGone, a second try is
another Arrived. Behind one request of the workload may stand several tries; it ends once, with the last of them, and
its times count from the first.
"""

from collections import deque
from collections.abc import Callable
from math import exp, inf

from msgspec.structs import replace

from penstock.base.nouns import CallRow
from penstock.base.rand import Rand
from penstock.config.clients import ClientRetries, Clients
from penstock.core.effects import Refuse
from penstock.core.events import Began, ClientGone, Event
from penstock.drive.kernel import Kernel
from penstock.workload import draws
from penstock.workload.request import NS, Request

ASK_AGAIN = (429, 503)
MOST_TOLD_S = 60.0
"""A Retry-After that is longer is not believed."""
JITTER = 0.25
AHEAD_S = 600.0
"""In closed loop the workload is read so much further than the clock: where answers are quicker than the workload
guessed, the next turn comes earlier than it says."""

Ask = Callable[[Request, int, str, bool], None]
"""Sends a request with its number and an id; whether it is the first try."""
Numbered = tuple[Request, int]


class _Asker:
    """A client that waits for an answer."""

    __slots__ = ("begun", "id", "number", "refused", "request", "since", "tries", "until")

    def __init__(self, request: Request, number: int, since: float) -> None:
        self.request, self.number, self.since = request, number, since
        self.id = ""
        """Of the try that is under way; empty: none is."""
        self.tries = 1
        self.begun = False
        self.until = inf
        """When it leaves, if nothing has come by then."""
        self.refused: Refuse | None = None


class _Session:
    """A conversation in closed loop."""

    __slots__ = ("busy", "ended_at", "turns")

    def __init__(self) -> None:
        self.busy = True
        """A turn of it is under way, or will be in its time."""
        self.ended_at = 0.0
        self.turns: deque[Numbered] = deque()
        """Those that come after it."""


class Played:
    """All clients of a run. `tell` is the Gate's ear, `ask` sends."""

    def __init__(self, spec: Clients, kernel: Kernel, tell: Callable[[Event], None], ask: Ask, rand: Rand) -> None:
        self.pending = 0
        """Requests that are known of and will be sent later."""
        self._spec = spec
        self._kernel = kernel
        self._tell = tell
        self._ask = ask
        self._rand = rand
        self._pauses = rand.stream("retries")
        self._askers: dict[str, _Asker] = {}
        """By the id of the try."""
        self._sessions: dict[str, _Session] = {}

    # ===== one request =====

    def came(self, request: Request, number: int) -> None:
        """A request's time has come."""
        asker = _Asker(request, number, self._kernel.clock())
        self._be_patient(asker)
        self._try(asker)

    def _try(self, asker: _Asker) -> None:
        first = asker.tries == 1
        asker.id = f"c{asker.number}" if first else f"c{asker.number}~{asker.tries}"
        self._askers[asker.id] = asker
        self._ask(asker.request, asker.number, asker.id, first)

    def heard(self, event: Event) -> None:
        """What an engine tells the Gate; its client hears of the first token in the same moment."""
        if type(event) is Began and (asker := self._askers.get(event.id)) is not None:
            asker.begun = True
        self._tell(event)

    def refused(self, order: Refuse) -> None:
        """The Gate refuses."""
        asker = self._askers.get(order.id)
        if asker is not None:
            asker.refused = order

    def over(self, row: CallRow) -> CallRow | None:
        """A try is over: the row of the whole request; None: it goes on."""
        asker = self._askers.pop(row.id)
        asker.id = ""
        if self._spec.retries is not None and self._asks_again(asker, self._spec.retries):
            return None
        if self._spec.closed:
            self._turn_ended(asker.request)
        if asker.tries == 1:
            return row
        earlier_s = row.at - asker.since
        ttft_s = None if row.ttft_s is None else row.ttft_s + earlier_s
        return replace(row, at=asker.since, latency_s=row.latency_s + earlier_s, ttft_s=ttft_s)

    # ===== patience =====

    def _be_patient(self, asker: _Asker) -> None:
        patience = self._spec.patience
        if patience is None:
            return
        factor = 1.0
        if patience.spread:  # a stream for each, so that whoever is compared meets the same people
            factor = exp(patience.spread * draws.normal(self._rand.stream(f"patience/{asker.number}"))())
        if patience.answer_s is not None:
            asker.until = asker.since + patience.answer_s * factor
            self._kernel.at(asker.until, self._no_answer, asker)
        if patience.first_token_s is not None:
            silent_until = asker.since + patience.first_token_s * factor
            asker.until = min(asker.until, silent_until)
            self._kernel.at(silent_until, self._no_token, asker)

    def _no_token(self, asker: _Asker) -> None:
        if not asker.begun:
            self._no_answer(asker)

    def _no_answer(self, asker: _Asker) -> None:
        if asker.id:
            self._tell(ClientGone(asker.id))

    # ===== asking again =====

    def _asks_again(self, asker: _Asker, spec: ClientRetries) -> bool:
        refused = asker.refused
        if refused is None or asker.begun or refused.status not in ASK_AGAIN or asker.tries >= spec.attempts:
            return False
        told_s = refused.retry_after_s
        if told_s is not None and 0 < told_s <= MOST_TOLD_S:
            wait_s = told_s
        else:
            wait_s = min(spec.wait_s * 2 ** (asker.tries - 1), spec.most_wait_s)
            wait_s *= 1 - JITTER * self._pauses.random()
        at = self._kernel.clock() + wait_s
        if at >= asker.until:
            return False
        asker.tries += 1
        asker.refused = None
        self.pending += 1
        self._kernel.at(at, self._again, asker)
        return True

    def _again(self, asker: _Asker) -> None:
        self.pending -= 1
        self._try(asker)

    # ===== closed loop =====

    def told(self, request: Request, number: int, at: float) -> None:
        """The workload has a request; in open loop it would come `at`."""
        self.pending += 1
        session = self._sessions.get(request.session)
        if request.turn and session is not None:
            session.turns.append((request, number))
            self._go_on(session)
            return
        if request.session:
            self._sessions[request.session] = _Session()
        self._kernel.at(at, self._turn, (request, number))

    def _turn(self, what: Numbered) -> None:
        self.pending -= 1
        self.came(*what)

    def _turn_ended(self, request: Request) -> None:
        session = self._sessions.get(request.session)
        if session is None:
            return
        session.busy = False
        session.ended_at = self._kernel.clock()
        self._go_on(session)
        if not session.busy:
            self._kernel.at(session.ended_at + AHEAD_S, self._forget, (request.session, session, session.ended_at))

    def _go_on(self, session: _Session) -> None:
        """Send the next turn in its time, if it is known and nothing of the session is under way."""
        if not session.busy and session.turns:
            session.busy = True
            request, number = session.turns.popleft()
            self._kernel.at(session.ended_at + request.think_ns / NS, self._turn, (request, number))

    def _forget(self, what: tuple[str, _Session, float]) -> None:
        """Of a session that was silent for so long nothing more is expected."""
        name, session, ended_at = what
        if self._sessions.get(name) is session and not session.busy and session.ended_at == ended_at:
            del self._sessions[name]
