"""The cache's edge in a simulation: answers that are kept or shared are given in virtual time.

A prompt that a workload tells block by block to its end has an identity, and so has its answer: the same prompt is
answered from the cache, at once, or joins the request that runs. Nobody else's text is known, so nothing else is equal.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeVar

from msgspec.structs import replace

from penstock.base.contents import Content
from penstock.base.nouns import Usage
from penstock.core.effects import Adopt, Answer, Cancel, Compare, Drop, Keep, LookUp, Record, Send
from penstock.core.events import Began, Compared, Ended, Event, Failed, LookedUp
from penstock.drive.kernel import Kernel
from penstock.workload.request import Request

TOKEN_BYTES = 200
"""Of a streamed answer, an event a token."""
_OWN = Content("")
Attempt = TypeVar("Attempt", Send, Cancel)


def content_of(request: Request) -> Content:
    """Its identity; a prompt of which nobody knows the end has none."""
    if not request.blocks or request.prompt_tokens > len(request.blocks) * request.block_tokens:
        return _OWN
    count = -(-request.prompt_tokens // request.block_tokens)
    whole = repr((request.adapter, request.prompt_tokens, request.block_tokens, request.blocks[:count]))
    return Content(blake2b(whole.encode(), digest_size=16).hexdigest(), fixed=True)


class Answers:
    """What calls get that is not made for them."""

    def __init__(self, kernel: Kernel, tell: Callable[[Event], None]) -> None:
        self._kernel = kernel
        self._tell = tell
        self._kept: dict[str, Usage] = {}
        self._ended: dict[str, Usage] = {}
        """The answer that a call has just had."""
        self._followers: dict[str, dict[str, None]] = {}
        """Call -> those that get what it gets."""
        self._leaders: dict[str, str] = {}
        self._names: dict[str, str] = {}
        """Call -> under which name engines know its attempts: the one that they were made for."""
        self._calls: dict[str, str] = {}
        """The reverse, where they differ."""
        self._begun: dict[str, None] = {}

    # ===== from engines =====

    def heard(self, event: Event) -> None:
        """What an engine tells: of the call whose attempt it is by now, and of those that follow it."""
        if not isinstance(event, Began | Ended | Failed):
            self._tell(event)
            return
        call = self._calls.get(event.id, event.id)
        event = replace(event, id=call)
        if isinstance(event, Ended) and event.status == 200 and event.usage is not None:
            self._ended[call] = event.usage
            event = replace(event, kept_bytes=max(1, event.usage.completion_tokens * TOKEN_BYTES))
        if isinstance(event, Began):
            self._begun[call] = None
        followers = list(self._followers.get(call, ()))
        self._tell(event)
        for follower in followers:
            if isinstance(event, Began):
                self._tell(Began(follower, 0))
            elif isinstance(event, Ended) and self._leaders.get(follower) == call:
                self._tell(Ended(follower, 0, event.status, event.usage, event.relayed_tokens))
        self._ended.pop(call, None)

    # ===== orders =====

    def table(self) -> dict[type, Callable[[Any], None]]:
        """Orders, and what is done."""
        return {
            Answer: self.answer, Adopt: self.adopt, Keep: self.keep, Drop: self.drop, LookUp: self.look_up,
            Compare: self.compare,
        }  # fmt: skip

    def own(self, order: Attempt) -> Attempt:
        """An order about an attempt as engines know it."""
        name = self._names.get(order.id)
        return order if name is None else replace(order, id=name)

    def answer(self, order: Answer) -> None:
        """It is given what was kept, at once; or gets what another call gets."""
        self._leave(order.id)
        if order.how == "hit":
            self._kernel.at(self._kernel.now, self._give, (order.id, self._kept[order.key]))
            return
        self._followers.setdefault(order.of, {})[order.id] = None
        self._leaders[order.id] = order.of
        if order.of in self._begun:
            self._kernel.at(self._kernel.now, self._tell, Began(order.id, 0))

    def _give(self, what: tuple[str, Usage]) -> None:
        call, usage = what
        self._tell(Ended(call, 0, 200, usage, usage.completion_tokens))

    def adopt(self, order: Adopt) -> None:
        """What was made for one call is another's from now on, and so are those that followed it."""
        self._leave(order.by)
        followers = self._followers.pop(order.id, {})
        if followers:
            self._followers[order.by] = followers
            self._leaders |= dict.fromkeys(followers, order.by)
        name = self._names.pop(order.id, order.id)
        self._names[order.by] = name
        self._calls[name] = order.by
        if order.id in self._begun:
            self._begun[order.by] = None

    def keep(self, order: Keep) -> None:
        """Keep what the call has just had."""
        self.drop(Drop(order.evicted))
        if order.id in self._ended:
            self._kept[order.key] = self._ended[order.id]

    def drop(self, order: Drop) -> None:
        """Let go."""
        for key in order.keys:
            self._kept.pop(key, None)

    def look_up(self, order: LookUp) -> None:
        """No gateways share anything here."""
        self._tell(LookedUp(order.id))

    def compare(self, order: Compare) -> None:
        """Nobody's words are known here."""
        self._tell(Compared(order.id))

    def over(self, order: Record) -> None:
        """Nothing of a call may stay, but for those that follow it: they have its answer, or are told of another."""
        call = order.row.id
        self._leave(call)
        self._begun.pop(call, None)
        name = self._names.pop(call, None)
        if name is not None:
            self._calls.pop(name, None)

    def _leave(self, call: str) -> None:
        leader = self._leaders.pop(call, None)
        if leader is not None and leader in self._followers:
            self._followers[leader].pop(call, None)
            if not self._followers[leader]:
                del self._followers[leader]
