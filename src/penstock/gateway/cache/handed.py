"""Answers that go from worker to worker: where one follows a call of another, what that call gets goes there as well.

At the one end the other worker is a client like others: it takes the answer at its own pace. At this end it is what an
attempt is elsewhere: it brings the answer, and all clients here take it from one share. So of each answer at most one
copy goes to each worker, and what is held for slow clients is bounded at both ends.
"""

import logging
from collections.abc import Callable
from math import inf

from penstock.adapters.wire.response import ResponseHead
from penstock.base.errors import Label
from penstock.core.events import Event, Failed, Unwanted
from penstock.gateway.cache.share import Share
from penstock.gateway.cache.talk import Answering, Asking, Beat, Done, Head, Joined, Line, Lost, Nothing, Piece

log = logging.getLogger("penstock.cache")


class Outlet:
    """At the worker whose call leads: another worker, as a client of its answer."""

    def __init__(self, by: str, line: Line[Asking], tell: Callable[[Event], None]) -> None:
        self.by = by
        """Its name in the Gate."""
        self.winner = None
        self.deadline = inf
        self.at = 0
        """Pieces that it has got."""
        self._line = line
        self._tell = tell
        self._share: Share | None = None
        self._headed = False
        self._paused = False
        self._paused_at: float | None = None
        """Where it was, when it was looked at."""

    def take(self, share: Share | None, call: str, mark: int) -> None:
        """It gets what is in this share, which is the call's; `mark`: see Hand."""
        if share is None or not share.join(self):
            self._line.tell(Nothing())
            self._line.close()
            self._tell(Unwanted(self.by))
            return
        self._share = share
        self._line.tell(Joined(call, mark))
        if share.response is not None:
            share.spread()

    def pull(self) -> None:
        """See `share.Reader`."""
        share = self._share
        if share is None or self._paused:
            return
        if not self._headed and share.response is not None:
            self._headed = True
            self._line.tell(_head(share.response, share))
        data = b"".join(share.since(self.at))
        self.at = share.end
        share.moved()
        if share.whole:
            if self._share is share:
                self._leave()
                self._line.tell(Done(share.status, share.usage, share.tokens, data))
                self._line.close()
        elif data:
            self._line.tell(Piece(data, share.relayed(self.at)))

    def slow(self, paused: bool) -> None:
        """The other worker reads slowly, or has caught up."""
        self._paused, self._paused_at = paused, None
        share = self._share
        if share is None:
            return
        if paused:
            share.pauses()
        else:
            share.resumes()
            self.pull()

    def cut(self) -> None:
        """See `share.Reader`."""
        self._line.abort()

    def end(self, last: Answering) -> None:
        """There is no (more of an) answer for it: the Gate says so."""
        self._leave()
        self._line.tell(last)
        self._line.close()

    def closed(self) -> None:
        """The other worker does not want it any more, has all of it, or is gone."""
        if self._share is not None:
            self._leave()
            self._tell(Unwanted(self.by))

    def beat(self, now: float, patience_s: float) -> None:
        """Say that the call goes on; and look at its time-outs where no client of its own does. A worker that has read
        nothing for so long is stuck: slow clients of its own it would have cut by now."""
        share = self._share
        if share is None:
            return
        if not self._paused:
            self._line.tell(Beat())
        elif self._paused_at is None:
            self._paused_at = now
        elif now - self._paused_at > patience_s:
            log.warning("a worker that follows an answer has read nothing for %.0f s: it is cut", patience_s)
            self.cut()
            return
        share.owner.watched(now)

    def _leave(self) -> None:
        share, self._share = self._share, None
        if share is not None:
            share.leave(self, paused=self._paused)

    def watched(self, now: float) -> None:
        """See `share.Reader`."""


def _head(response: ResponseHead, share: Share) -> Head:
    return Head(
        response.status, response.status_line, response.block, response.content_type, response.encoded, response.fixed,
        share.framing, *share.origin,
    )  # fmt: skip


class Feed:
    """At the worker that follows: another worker's call, as what brings the answer of a share."""

    def __init__(self, line: Line[Answering], tell: Callable[[Event], None], now: float) -> None:
        self.call = ""
        """The call here that stands for all that wait."""
        self.deadline = inf
        self.at = 0
        self.heard_at = now
        self.relayed_tokens = 0
        self._line = line
        self._tell = tell
        self._share: Share | None = None
        self._held = self.over = False

    @property
    def winner(self) -> "Feed | None":
        """See `share.Reader`: it brings the answer itself."""
        return None if self.over else self

    def bring(self, share: Share, call: str) -> None:
        """Into this share, for this call and those that follow it."""
        self.call, self._share = call, share
        share.owner = share.feed = self

    def heard(self, message: Answering) -> None:
        """A word of the other worker, behind its first."""
        share = self._share
        if share is None or self.over:
            return
        match message:
            case Head():
                share.response, share.framing = _response(message), message.framing
                share.origin = (message.replica, message.attempts, message.queue_ms)
            case Piece():
                self.relayed_tokens = message.tokens
                share.write(message.data)
                share.spread()
            case Done():
                self._end()
                share.write(message.data)
                share.finished(message.status, message.usage, message.tokens)
                share.spread()
            case Lost():
                self._fail(share, message.label, message.status)
            case Nothing():
                self._fail(share, "stale_connection", 0)
            case _:
                pass

    def closed(self) -> None:
        """The other worker is gone, or has cut us off."""
        if self._share is not None and not self.over:
            self._fail(self._share, "stale_connection", 0)

    def look(self, now: float, silence_s: float) -> None:
        """Whether the other worker has been silent for too long."""
        if self._held:
            self.heard_at = now
        elif self._share is not None and now > self.heard_at + silence_s:
            self.closed()

    def _fail(self, share: Share, label: Label, status: int) -> None:
        self._end()
        share.feed = None
        share.tokens = self.relayed_tokens
        if share.response is not None:
            share.spread_now()  # whoever gets an end gets what was there before
            label = "died_mid_answer" if label == "stale_connection" else label
        self._tell(Failed(self.call, 0, label, status, None, self.relayed_tokens))

    def _end(self) -> None:
        self.over = True
        self._line.close()

    # ===== as what brings an answer, and as its owner =====

    def pause(self) -> None:
        """All clients here read slowly."""
        self._held = True
        self._line.hold(True)

    def resume(self) -> None:
        """One has caught up."""
        self._held = False
        self._line.hold(False)

    def stop(self) -> None:
        """Nobody here wants it any more."""
        if not self.over:
            self._end()

    def pull(self) -> None:
        """See `share.Reader`: it reads nothing."""

    def cut(self) -> None:
        """See `share.Reader`."""

    def watched(self, now: float) -> None:
        """See `share.Reader`: it has time-outs of its own."""


def _response(head: Head) -> ResponseHead:
    response = ResponseHead(head.status)
    response.status_line, response.block = head.status_line, head.block
    response.content_type, response.encoded, response.fixed = head.content_type, head.encoded, head.fixed
    return response
