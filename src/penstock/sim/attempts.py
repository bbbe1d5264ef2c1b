"""An attempt as an engine has it: a connection that the gateway holds open, and the sequences that it asks for.

Most ask for one. A request with several inputs is answered when the last of them is done, and as a whole: one that the
engine does not take spoils it.
"""

from penstock.base.nouns import Usage
from penstock.core.effects import Send
from penstock.core.events import Ended, Failed
from penstock.engine import words
from penstock.workload.request import Request

Numbered = tuple[Request, int]
"""A request, and which of the run's it is."""


class Attempt:
    """A connection that the gateway holds open for an answer."""

    __slots__ = ("begun", "inputs", "name", "names", "order", "out", "parts", "streams", "way_s")

    def __init__(self, order: Send, way_s: float, inputs: tuple[Numbered, ...]) -> None:
        self.name = f"{order.id}/{order.attempt}"
        self.order = order
        self.way_s = way_s
        """To the replica, one way."""
        self.inputs = inputs
        self.names: tuple[str, ...] = (self.name,)
        """Its sequences', as the engine knows them."""
        if len(inputs) > 1:
            self.names += tuple([f"{self.name}#{place}" for place in range(1, len(inputs))])
        self.streams = not inputs[0][0].alike
        """Its answer comes token by token; else all of it at the end."""
        self.parts: dict[str, Usage] = {}
        """Of several inputs, what each of those that are done used, by sequence."""
        self.out = False
        """The engine has made its first token, and it is on its way."""
        self.begun = False
        """The gateway has heard of it."""

    def took(self, order: words.Finish | words.Reject) -> Ended | Failed | None:
        """One of several inputs is done, or is not taken: what is told now; None: it goes on."""
        sent = self.order
        if isinstance(order, words.Reject):  # to the gateway a list that is refused is no answer to any of its calls
            busy = order.why == "queue_full"
            return Failed(sent.id, sent.attempt, "upstream_busy" if busy else "bad_request", 503 if busy else 400)
        self.parts[order.id] = Usage(order.prompt_tokens, order.completion_tokens, order.cached_tokens)
        if len(self.parts) < len(self.names):
            return None
        whole = Usage(
            sum(part.prompt_tokens for part in self.parts.values()),
            sum(part.completion_tokens for part in self.parts.values()),
            sum(part.cached_tokens for part in self.parts.values()),
        )
        return Ended(sent.id, sent.attempt, 200, whole, whole.completion_tokens)
