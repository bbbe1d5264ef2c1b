"""One call in progress: joins the client's connection, the request's bytes and the attempts at replicas.

The Gate decides by the call's id; here its orders meet the sockets. The request's bytes are kept until an answer has
begun, so that another attempt can be made, and then dropped.
"""

from collections.abc import Mapping
from math import inf

from penstock.adapters.wire.response import ResponseHead
from penstock.base.errors import Label
from penstock.base.nouns import Rates, Usage
from penstock.core.effects import Refuse, Send
from penstock.core.events import ClientGone, Ended, Failed
from penstock.gateway.call.answers import error_page, last_event, rate_lines, raw_page, without_rates
from penstock.gateway.call.attempt import Attempt
from penstock.gateway.call.owner import Owner
from penstock.gateway.call.packing import framed
from penstock.gateway.call.splice import with_model, with_most_tokens, with_usage
from penstock.gateway.client.head import Head
from penstock.gateway.fleet.pool import Pool
from penstock.gateway.plane import Connection, Plane


class Exchange(Owner[Attempt]):
    """One call."""

    __slots__ = (
        "attempts", "body", "cookie", "cookies", "inbound", "item_at", "model", "model_at", "most_tokens", "over",
        "rates", "sent",
    )  # fmt: skip

    def __init__(
        self, plane: Plane, inbound: Connection, id: str, head: Head, body: bytes, model: str, wants_usage: bool
    ) -> None:
        self.plane = plane
        self.pulse = plane.pulse
        self.inbound: Connection | None = inbound
        self.client = inbound
        """Where attempts write: the same, but where several clients have one answer."""
        self.id = id
        self.head = head
        self.body: bytes | None = body
        self.model = model
        """As it stands in the body; empty: it names none."""
        self.model_at = (0, 0)
        """Where the model stands in a form."""
        self.item_at = (0, 0, 0, 0)
        """Where the value of the field stands that may be a list of inputs, and in it the one input; all zero:
        nowhere."""
        self.cookie = b""
        """The session that this client was given, as it named none; empty: none."""
        self.cookies: Mapping[str, bytes] = {}
        """Pool -> the header line that gives it to the client, with a place for it."""
        self.wants_usage = wants_usage
        """A stream whose client did not ask for its usage: we do, and keep the extra event to ourselves."""
        self.most_tokens: int | None = None
        """Tokens that its answer may have, to be written into the request, which does not say."""
        self.rates: Rates | None = None
        """What the client is told of its limits."""
        self.attempts: list[Attempt] = []
        self.sent = 0
        """Attempts so far."""
        self.winner = None
        """The attempt whose answer has begun."""
        self.over = False
        plane.buffered_bytes += len(body)

    # ===== orders of the Gate =====

    def send(self, order: Send, pool: Pool | None) -> None:
        """Make an attempt."""
        self.sent = order.attempt
        self.rates = order.rates
        if self.over or self.winner is not None or self.body is None:
            return
        if pool is None:
            self.plane.tell(Failed(self.id, order.attempt, "connect_refused"))
            return
        attempt = Attempt(self, order, pool)
        self.attempts.append(attempt)
        attempt.start()

    def cancel(self, number: int) -> None:
        """Stop an attempt at its replica; nothing more is told of it."""
        for attempt in self.attempts:
            if attempt.number == number:
                self.attempts.remove(attempt)
                attempt.drop()
                return

    def refuse(self, order: Refuse) -> None:
        """The client does not get (the rest of) an answer."""
        self.rates = order.rates
        self.end_with(order.label, order.status, order.detail, order.retry_after_s)

    def end_with(self, label: Label, status: int, detail: str = "", retry_after_s: float | None = None) -> None:
        """Tell the client that it does not get (the rest of) an answer, and end the call here."""
        inbound = self.inbound
        winner = self.winner
        self.close()
        if inbound is None or self.over:
            self.over = True
            return
        self.over = True
        if winner is not None:
            if winner.can_take_event:
                head = self.head
                inbound.write(last_event(label, detail, chunked=not head.http10, named=head.route.named_events))
                inbound.answered(False)
            else:
                inbound.cut(reset=self.head.http10)
            return
        self._refuse(inbound, label, status, detail, retry_after_s)

    def _refuse(self, inbound: Connection, label: Label, status: int, detail: str, retry_after_s: float | None) -> None:
        head = self.head
        keep = head.keep_alive and not self.pulse.draining
        inbound.write(
            error_page(
                label, status, detail=detail, close=not keep, lines=self._lines(), retry_after_s=retry_after_s,
                head_only=head.head_only,
            )
        )  # fmt: skip
        inbound.answered(keep)

    def close(self) -> None:
        """Drop what is held: attempts and the request's bytes."""
        self.winner = None
        for attempt in self.attempts:
            attempt.drop()
        self.attempts.clear()
        self.release_body()
        self.inbound = self.client = None

    # ===== of the attempts =====

    def request(self, order: Send) -> bytes:
        """The body to send: as it came, with another model and the wish for usage where needed."""
        body = self.body or b""
        start, end = self.model_at
        if order.model and order.model != self.model:
            if end:
                body = body[:start] + order.model.encode() + body[end:]
            elif self.head.route.body == "json":
                body = with_model(body, order.model)
        if self.wants_usage:
            body = with_usage(body)
        if self.most_tokens is not None:
            body = with_most_tokens(body, self.head.route.most_tokens, self.most_tokens)
        return body

    def release_body(self) -> None:
        """No other attempt will be made."""
        if self.body is not None:
            self.plane.buffered_bytes -= len(self.body)
            self.body = None

    @property
    def slow(self) -> bool:
        """The client has yet to read what was written before."""
        inbound = self.inbound
        return inbound is not None and inbound.paused and self.client is inbound

    @property
    def gzip(self) -> bool | None:
        """The client takes an answer compressed."""
        return self.head.gzip

    @property
    def http10(self) -> bool:
        """The client knows no chunks."""
        return self.head.http10

    def take_part(
        self, attempt: Attempt, response: ResponseHead, body: bytes, usage: Usage | None, queue_s: float
    ) -> None:
        """This call's part of an answer that it shares with others."""
        inbound = self.inbound
        if inbound is None or self.over:
            return
        self.winner, self.sent = attempt, attempt.number
        framing, body = framed(response, body, self.plane.server.compression, self.head.gzip)
        inbound.write(self.answer_head(response, framing, queue_s) + body)
        self.release_body()
        self.answered(Ended(self.id, attempt.number, response.status, usage))

    def answer_head(self, response: ResponseHead, framing: bytes, queue_s: float | None = None) -> bytes:
        """The head of the answer that has begun, as the client gets it."""
        head = self.head
        winner = self.winner
        assert winner is not None
        return (
            b"%b%b%bx-request-id: %b\r\nx-penstock-replica: %b\r\n"
            b"x-penstock-queue-ms: %d\r\nx-penstock-attempts: %d\r\n%b\r\n"
        ) % (
            response.status_line,
            response.block if self.rates is None else without_rates(response.block),
            framing,
            (head.client_id or self.id).encode(),
            winner.pool.label,
            int((winner.order.queue_s if queue_s is None else queue_s) * 1000),
            self.sent,
            (b"" if head.keep_alive and not self.pulse.draining else b"connection: close\r\n")
            + (self._given(winner.pool.replica.pool) if self.cookie else b"")
            + (b"" if self.rates is None else rate_lines(self.rates)),
        )

    def _given(self, pool: str) -> bytes:
        line = self.cookies.get(pool)
        return b"" if line is None else line % self.cookie

    def _lines(self) -> bytes:
        return b"x-request-id: %b\r\nx-penstock-attempts: %d\r\n%b" % (
            (self.head.client_id or self.id).encode("ascii"),
            self.sent,
            b"" if self.rates is None else rate_lines(self.rates),
        )

    def answered(self, ended: Ended) -> None:
        """An attempt's answer was relayed to its end."""
        inbound = self.inbound
        self.over = True
        if len(self.attempts) > 1:
            for attempt in self.attempts:
                attempt.drop()  # of the winner nothing is left to drop
        self.winner = None
        self.attempts.clear()
        self.inbound = self.client = None
        self.plane.tell(ended)
        if inbound is not None:
            inbound.answered(self.head.keep_alive)

    def answer_instead(self, status: int, payload: bytes) -> None:
        """The engine found the client's mistake only after it had begun a stream: it becomes a plain answer."""
        if self.inbound is not None:
            self.inbound.write(raw_page(status, payload, close=not self.head.keep_alive, lines=self._lines()))

    def failed(self, attempt: Attempt, label: Label, status: int, retry_after_s: float | None) -> None:
        """The attempt ended otherwise."""
        if attempt in self.attempts:
            self.attempts.remove(attempt)
            self.plane.tell(Failed(self.id, attempt.number, label, status, retry_after_s, attempt.relayed_tokens))

    # ===== of the client =====

    def client_gone(self) -> None:
        """The client closed before its answer was complete. The Gate cancels what is under way."""
        self.inbound = self.client = None
        if not self.over:
            tokens = self.winner.relayed_tokens if self.winner is not None else 0
            self.plane.tell(ClientGone(self.id, tokens))

    def pause(self) -> None:
        """The client reads slowly."""
        if self.winner is not None:
            self.winner.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self.winner is not None:
            self.winner.resume()

    def expire(self, now: float) -> float:
        """Check what may have taken too long; when to check again."""
        inbound = self.inbound
        if inbound is not None and inbound.paused:
            return inbound.unread_deadline(now)
        for attempt in list(self.attempts):
            attempt.expire(now)
        if self.over:
            return inf
        return min((attempt.deadline() for attempt in self.attempts), default=inf)
