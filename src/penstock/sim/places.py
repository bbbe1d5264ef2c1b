"""Where requests of a simulation come from, and how far it is from there to a replica.

Every region has an entry of its own, and one Gate decides for all of them: what is between a client and a replica is
the way between their regions.
"""

from bisect import bisect_right
from hashlib import blake2b
from itertools import accumulate

from penstock.base.rand import Rand
from penstock.config.regions import ClientRegions
from penstock.core.regions import Atlas
from penstock.workload.request import Request


class Places:
    """One run's."""

    def __init__(self, spec: ClientRegions, rand: Rand) -> None:
        self._atlas = Atlas(spec.spec())
        weights = {name: weight for name, weight in spec.weights().items() if weight}
        self._names = list(weights)
        self._edges = list(accumulate(weights.values()))
        self._luck = rand.stream("regions")
        self._salt = str(self._luck.random()).encode()
        self._here = spec.here or next(iter(spec.places))

    def origin(self, request: Request) -> str:
        """Where it comes from, by lot; a session's requests all from one region."""
        if request.session:
            digest = blake2b(request.session.encode(), digest_size=8, key=self._salt).digest()
            lot = int.from_bytes(digest, "big") / (1 << 64)
        else:
            lot = self._luck.random()
        return self._names[min(bisect_right(self._edges, lot * self._edges[-1]), len(self._names) - 1)]

    def way_s(self, origin: str, region: str) -> float:
        """From there to a replica, one way."""
        return self._atlas.row(origin).get(region, self._atlas.near_ms) / 2e3

    def watch_way_s(self, region: str) -> float:
        """From where replicas are probed and read."""
        return self.way_s(self._here, region)
