"""A call that has to do with the cache: it leads, it follows another, or it gets an answer that was kept.

What it is, the Gate decides; a call that is none of these is a plain Exchange whose head tells how the cache saw it.
"""

import asyncio
from math import inf
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from penstock.adapters.wire.response import ResponseHead
from penstock.base.errors import Label
from penstock.core.effects import Answer, Send
from penstock.core.events import Began, ClientGone, Ended, Failed
from penstock.gateway.cache.handed import Feed
from penstock.gateway.cache.question import Question
from penstock.gateway.cache.share import Share
from penstock.gateway.cache.shelf import Kept
from penstock.gateway.call.answers import last_event, rate_lines
from penstock.gateway.call.exchange import Exchange
from penstock.gateway.call.packing import liked, may_change
from penstock.gateway.client.head import Head
from penstock.gateway.fleet.pool import Pool
from penstock.gateway.plane import Connection, Plane

_LENGTH: Final = b"content-length: "


class CachedExchange(Exchange):
    """One call."""

    __slots__ = ("_headed", "_pace", "_word", "at", "epoch", "kept", "question", "share")

    def __init__(
        self, plane: Plane, inbound: Connection, id: str, head: Head, body: bytes, model: str, wants_usage: bool
    ) -> None:
        super().__init__(plane, inbound, id, head, body, model, wants_usage)
        self.share: Share | None = None
        self.kept: Kept | None = None
        self.at = 0
        """Pieces that its client has got."""
        self.epoch: int | None = None
        """How new its answer is where gateways share them; None: nobody asked."""
        self.question: Question | None = None
        """Where it may be answered although it is in other words."""
        self._headed = False
        """The head of its answer went out."""
        self._word = b"bypass"
        self._pace: asyncio.TimerHandle | None = None

    @property
    def deadline(self) -> float:
        """Of its client's connection."""
        return inf if self.inbound is None else self.inbound.deadline

    @deadline.setter
    def deadline(self, at: float) -> None:
        if self.inbound is not None:
            self.inbound.deadline = at

    # ===== orders of the Gate =====

    def send(self, order: Send, pool: Pool | None) -> None:
        """See Exchange."""
        if order.cache != "lead":
            self._word = b"miss" if order.cache == "miss" else b"bypass"
        else:
            self._word = b"miss"
            self.lead()
        super().send(order, pool)

    def lead(self) -> Share:
        """What its attempts bring is for others as well."""
        share = self.share
        if share is None:
            share = self.share = Share(self, self.plane.cache)
        share.owner = self
        self.client = share
        return share

    def follow(self, order: Answer, leader: "CachedExchange | None") -> None:
        """Get what another call gets."""
        self._word, self.rates = b"coalesced", order.rates
        share = None if leader is None else leader.shared()
        if share is None or not share.join(self):
            self.plane.tell(Failed(self.id, 0, "stale_connection"))
            return
        self.share = share
        if share.response is not None:
            share.spread()

    def shared(self) -> Share | None:
        """What others get with it; None: it is over."""
        return None if self.over else self.share or self.lead()

    def follow_abroad(self, order: Answer, feed: Feed | None) -> None:
        """Get what a call of another worker gets, and those here that follow this one with it."""
        self._word, self.rates = b"coalesced", order.rates
        if feed is None or self.over:
            self.plane.tell(Failed(self.id, 0, "stale_connection"))
        else:
            feed.bring(self.lead(), self.id)

    def adopt(self) -> None:
        """What is made for the one that it has followed is for this one from now on."""
        share = self.share
        if share is None:
            return
        if isinstance(share.owner, Feed):
            share.owner.call = self.id
            return
        old = share.owner
        share.owner = self
        self.client = share
        if isinstance(old, CachedExchange):
            self.attempts, old.attempts = old.attempts, []
            self.winner, old.winner = old.winner, None
            self.sent, self.epoch = old.sent, old.epoch
            for attempt in self.attempts:
                attempt.exchange = self
        if self.inbound is not None:
            self.inbound.deadline = min([self.inbound.deadline, *(each.deadline() for each in self.attempts)])
        self.pull()

    def part(self) -> None:
        """Another call has what was made for this one. Whose client is there, as its limits alone keep it waiting, gets
        an answer of its own later."""
        if self.inbound is not None and not self.over:
            self._leave()
            self.client = self.inbound

    def dated(self, epoch: int) -> None:
        """An answer that is made from now on is so new."""
        self.epoch = epoch

    def give(self, order: Answer, kept: Kept | None) -> None:
        """Get an answer that was kept; None: it is not there any more."""
        self.rates = order.rates
        self._leave()
        if kept is None:
            self.plane.tell(Failed(self.id, 0, "stale_connection"))
            return
        inbound = self.inbound
        if inbound is None or self.over:
            return
        self.release_body()
        self._word, self.kept = b"hit", kept
        lines = b"age: %d\r\n" % order.age_s
        if order.similarity is not UNSET:
            lines += b"x-penstock-cache-similarity: %.4f\r\n" % order.similarity
        if kept.delays_ms:
            self._headed = True
            self.plane.tell(Began(self.id, 0))
            inbound.write(self._head(kept.status_line, kept.block, kept.framing, lines))
            self._replay()
            return
        body = kept.pieces[0] if kept.pieces else b""
        framing, body = self._as_liked(kept.framing, body, kept.may_pack)
        inbound.write(self._head(kept.status_line, kept.block, framing, lines) + body)
        self._finish(kept.status, kept)

    def _replay(self) -> None:
        """A kept stream at the pace at which it came."""
        kept, inbound = self.kept, self.inbound
        self._pace = None
        if kept is None or inbound is None or self.over or inbound.paused:
            return
        at = self.at
        inbound.write(kept.pieces[at])
        self.at = at + 1
        if self.at == len(kept.pieces):
            self._finish(kept.status, kept)
            return
        wait_s = (kept.delays_ms[at + 1] - kept.delays_ms[at]) / 1000
        self._pace = asyncio.get_running_loop().call_later(wait_s, self._replay)

    # ===== of the answer =====

    @property
    def gzip(self) -> bool | None:
        """See Exchange."""
        return self.head.gzip if self.share is None else None

    def answer_head(self, response: ResponseHead, framing: bytes, queue_s: float | None = None) -> bytes:
        """See Exchange. Where others may have the answer, each client is told its own."""
        share, winner = self.share, self.winner
        if share is None:
            return super().answer_head(response, framing, queue_s)[:-2] + b"x-penstock-cache: %b\r\n\r\n" % self._word
        assert winner is not None
        share.response, share.framing = response, framing
        share.origin = (winner.pool.label, self.sent, int(winner.order.queue_s * 1000))
        return b""

    def _head(self, status_line: bytes, block: bytes, framing: bytes, lines: bytes = b"") -> bytes:
        head, winner = self.head, self.winner
        return b"%b%b%bx-request-id: %b\r\nx-penstock-cache: %b\r\n%b%b%b%b\r\n" % (
            status_line,
            block,
            framing,
            (head.client_id or self.id).encode(),
            self._word,
            lines,
            b"" if head.keep_alive and not self.pulse.draining else b"connection: close\r\n",
            self._given(winner.pool.replica.pool) if self.cookie and winner is not None else b"",
            b"" if self.rates is None else rate_lines(self.rates),
        )

    def _as_liked(self, framing: bytes, body: bytes, may_pack: bool) -> tuple[bytes, bytes]:
        """A whole answer, compressed for those who take that."""
        if not may_pack or not framing.startswith(_LENGTH):
            return framing, body
        share, taken = self.share, self.head.gzip
        framing, out = liked(body, self.plane.server.compression, taken, share.zipped if share is not None else b"")
        if share is not None and out is not body:
            share.zipped = out
        return framing, out

    def pull(self) -> None:
        """Take what is there of the answer."""
        share, inbound = self.share, self.inbound
        if share is None or inbound is None or inbound.paused or self.over:
            return
        self._take(share)
        if share.whole and share.owner is not self:
            share.leave(self, paused=False)
            self._finish(share.status, share)

    def _take(self, share: Share) -> None:
        inbound = self.inbound
        data = b"".join(share.since(self.at))
        self.at = share.end
        share.moved()
        if not self._headed and share.response is not None:
            data = self._first(share, share.response, data)
        if data and inbound is not None:
            inbound.write(data)

    def _first(self, share: Share, response: ResponseHead, body: bytes) -> bytes:
        """Its beginning."""
        self._headed = True
        self.release_body()
        framing = share.framing
        if share.owner is not self and not share.whole:
            self.plane.tell(Began(self.id, 0))
        if self._is_whole(share, body):
            framing, body = self._as_liked(framing, body, may_change(response))
        replica, attempts, queue_ms = share.origin
        lines = b"x-penstock-replica: %b\r\nx-penstock-queue-ms: %d\r\nx-penstock-attempts: %d\r\n"
        return self._head(response.status_line, response.block, framing, lines % (replica, queue_ms, attempts)) + body

    @staticmethod
    def _is_whole(share: Share, body: bytes) -> bool:
        return share.framing == b"content-length: %d\r\n" % len(body)

    def cut(self) -> None:
        """It has read so slowly that what comes next for it is not held any more."""
        inbound = self.inbound
        tokens = self._relayed()
        self._leave()
        self.over = True
        self.inbound = self.client = None
        if inbound is not None:
            inbound.cut(reset=False)
        self.plane.tell(ClientGone(self.id, tokens))

    def _finish(self, status: int, answer: Share | Kept) -> None:
        """Its client has all of what another call, or an earlier one, was answered."""
        inbound = self.inbound
        self.over = True
        self.inbound = self.client = None
        self.plane.tell(Ended(self.id, 0, status, answer.usage, answer.tokens))
        if inbound is not None:
            inbound.answered(self.head.keep_alive)

    def answered(self, ended: Ended) -> None:
        """See Exchange. Who still reads goes on."""
        share = self.share
        if share is not None:
            size = share.ended(ended.status, ended.usage, ended.relayed_tokens)
            ended = replace(ended, kept_bytes=UNSET if size is None else size)
            inbound = self.inbound
            if inbound is not None:
                self._take(share)
            share.leave(self, paused=inbound is not None and inbound.paused)
            if share.readers:
                share.spread()
        super().answered(ended)

    def answer_instead(self, status: int, payload: bytes) -> None:
        """See Exchange."""
        share = self.share
        if share is None or list(share.readers) == [self]:
            super().answer_instead(status, payload)
            self._headed = True
            return
        response = ResponseHead(status)
        response.block, response.content_type = b"content-type: application/json\r\n", b"application/json"
        self.answer_head(response, b"content-length: %d\r\n" % len(payload))
        share.write(payload)

    def _relayed(self) -> int:
        share, kept = self.share, self.kept
        if share is not None:
            return share.relayed(self.at) if self._headed else 0
        if kept is not None and self._headed:
            return kept.tokens * self.at // len(kept.pieces)
        return self.winner.relayed_tokens if self.winner is not None else 0

    # ===== its end =====

    def _leave(self) -> None:
        share, inbound = self.share, self.inbound
        self.share = None
        if self._pace is not None:
            self._pace.cancel()
            self._pace = None
        if share is not None:
            share.leave(self, paused=inbound is not None and inbound.paused)

    def end_with(self, label: Label, status: int, detail: str = "", retry_after_s: float | None = None) -> None:
        """See Exchange. Others that have the answer with it are told by the Gate."""
        share, inbound, headed = self.share, self.inbound, self._headed
        if share is None and self.kept is None:
            super().end_with(label, status, detail, retry_after_s)
            return
        fits = share is not None and share.event_may_follow(self.at)
        self._leave()
        self.close()
        over, self.over = self.over, True
        if inbound is None or over:
            return
        if not headed:
            self._refuse(inbound, label, status, detail, retry_after_s)
        elif fits:
            inbound.write(last_event(label, detail, chunked=True, named=self.head.route.named_events))
            inbound.answered(False)
        else:
            inbound.cut(reset=False)

    # ===== of the client =====

    def client_gone(self) -> None:
        """See Exchange. If others read what is made for it, the Gate says whose it is then."""
        share, tokens = self.share, self._relayed()
        if self._pace is not None:
            self._pace.cancel()
            self._pace = None
        if share is not None:
            paused = self.inbound is not None and self.inbound.paused
            share.leave(self, paused=paused)
        self.inbound = None
        if share is None or share.owner is not self or not share.readers:
            self.client = None
        if not self.over:
            self.plane.tell(ClientGone(self.id, tokens))

    def pause(self) -> None:
        """See Exchange."""
        if self.share is not None:
            self.share.pauses()
        elif self.kept is None:
            super().pause()

    def resume(self) -> None:
        """See Exchange."""
        share = self.share
        if share is not None:
            share.resumes()
            self.pull()
        elif self.kept is not None:
            if self._pace is None and not self.over:
                self._replay()
        else:
            super().resume()

    def watched(self, now: float) -> None:
        """See `share.Reader`."""
        if self.inbound is None:
            self.expire(now)

    def expire(self, now: float) -> float:
        """See Exchange. An attempt is watched although its owner's client reads slowly, as long as others read."""
        inbound, share = self.inbound, self.share
        if inbound is None or not inbound.paused or share is None or share.held or not self.attempts:
            return super().expire(now)
        for attempt in list(self.attempts):
            attempt.expire(now)
        if self.over or self.inbound is None:
            return inf
        return min([inbound.unread_deadline(now), *(attempt.deadline() for attempt in self.attempts)])
