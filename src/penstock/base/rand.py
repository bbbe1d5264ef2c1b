"""Seeded randomness, one stream a consumer.

Every consumer (a picker, the retry jitter, a trace generator) asks for a stream by its name. Streams do not disturb
each other: two policies that are compared on one seed meet the same luck, whatever else each of them draws.
"""

import hashlib
import random


class Rand:
    """A tree of random streams that grows from one seed."""

    __slots__ = ("seed",)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, name: str) -> random.Random:
        """The stream of this name: always the same numbers for the same seed and name."""
        digest = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest()
        return random.Random(int.from_bytes(digest, "big"))

    def child(self, name: str) -> "Rand":
        """A subtree of its own, for a part that has several consumers."""
        digest = hashlib.blake2b(f"{self.seed}//{name}".encode(), digest_size=8).digest()
        return Rand(int.from_bytes(digest, "big"))
