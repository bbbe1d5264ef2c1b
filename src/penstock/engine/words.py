"""The Batcher's two vocabularies: the facts that it can be told and the orders that it answers with. Closed.

Tokens travel as counts. What they say is the business of whoever asked.
"""

from typing import Literal

from msgspec import Struct

Reason = Literal["length", "stop", "abort"]
WhyNot = Literal["empty", "too_long", "queue_full"]


class Submit(Struct, frozen=True, tag=True, gc=False):
    """A request for one sequence. It ends in exactly one Finish or Reject."""

    id: str
    """Unique among the sequences that have not ended."""
    prompt_tokens: int
    max_tokens: int
    """Tokens that will be generated, unless it is aborted. 0: only read the prompt (embeddings, scores)."""
    hashes: tuple[int, ...] = ()
    """Content of its full blocks, in order, each hash taken over the one before it as well, so that equal hashes mean
    equal prefixes. Blocks that the answer will fill may follow those of the prompt. Empty: nothing is ever shared."""
    reason: Literal["length", "stop"] = "length"
    """What to report when all of `max_tokens` are out."""
    own: int = 0
    """What its full blocks beyond the `hashes` are found by: text that no other sequence has, so that one name does for
    all of it. Only this very text may come again under it (a second attempt), and not at once. Negative, so that it is
    no hash; 0: they are never found again."""


class Abort(Struct, frozen=True, tag=True, gc=False):
    """Nobody wants this sequence any more, whatever phase it is in. Unknown and ended ids are ignored."""

    id: str


class Slowed(Struct, frozen=True, tag=True, gc=False):
    """From the next step on everything takes `factor` times as long as the spec says (1: as it says)."""

    factor: float


class Woke(Struct, frozen=True, tag=True, gc=False):
    """The time that the Batcher asked to be woken at has come."""


Event = Submit | Abort | Slowed | Woke


class Emit(Struct, frozen=True, tag=True, gc=False):
    """So many more tokens of this sequence are out."""

    id: str
    tokens: int
    first: bool
    """These are the first ones."""


class Finish(Struct, frozen=True, tag=True, gc=False):
    """The sequence is over; its seat and blocks are free."""

    id: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    """Tokens of the prompt that were found in the prefix cache when it was first admitted."""
    reason: Reason


class Reject(Struct, frozen=True, tag=True, gc=False):
    """The sequence can never run here, or not now: it was not taken."""

    id: str
    why: WhyNot


Order = Emit | Finish | Reject
