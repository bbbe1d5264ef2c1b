"""The noun of this room: one request that a workload says will come. No prompt text, only sizes and what is shared."""

from msgspec import Struct

NS = 1_000_000_000
"""Nanoseconds in a second. Workloads count in whole ones, so that sums are exact and streams equal everywhere."""
NORMAL = 2
"""Index of `normal` in `base.nouns.PRIORITIES`."""


class Request(Struct, frozen=True, gc=False):
    """One request: when it arrives, how large it is, who sends it, and what it shares with others."""

    at_ns: int
    """Arrival, in nanoseconds after the workload's start."""
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    """Ids of the leading blocks: an equal id at an equal place means an equal text up to the block's end. A prompt may
    go on after its blocks, with text that nobody shares; blocks beyond the prompt's end are what the answer fills, as
    the session's next turn will have it in its prompt. Empty: nothing is known of shared prefixes."""
    block_tokens: int = 0
    """Tokens in a full block; 0: there are no blocks. Only in replayed traces may a prompt's last block be partial."""
    session: str = ""
    tenant: str = ""
    model: str = ""
    adapter: str = ""
    """LoRA adapter; empty: the model itself."""
    priority: int = NORMAL
    """Index in `base.nouns.PRIORITIES`."""
    turn: int = 0
    """Place in its session, from 0."""
    think_ns: int = 0
    """Pause between the answer to the session's turn before and this request, for who plays sessions in closed loop;
    `at_ns` is the arrival where answers take the time that the workload guessed."""
    deadline_ns: int | None = None
    """How long after its arrival the client can wait for the whole answer; None: it did not say."""
    alike: str = ""
    """What all requests share that differ in nothing but their one input, so that they may go to an engine together:
    embeddings, or with tokens of an answer completions, which are not streamed. Empty: it goes alone, and is."""

    @property
    def at_s(self) -> float:
        """Arrival in seconds."""
        return self.at_ns / NS
