"""What several gateways may share through a store: limits, and kept answers. What each part needs to know of it stands
beside the part; where the store is, only the file says.
"""

from typing import Annotated

from penstock.config.strict import doc
from penstock.core.cache.spec import CacheSpec
from penstock.core.limits.spec import SharedSpec

STORES = ("redis://", "rediss://", "unix://")
"""How the URL of a store may begin."""


class CacheConf(CacheSpec, frozen=True, kw_only=True):
    """Answers that are given again, and identical calls at the same time that are answered by one [C1, C2, C3]."""

    redis: Annotated[str | None, doc("store that several gateways share: redis://host:port/database (rediss:// with TLS, unix:///path; :password@ before the host), needs the extra `redis`; none: each keeps its own")] = None


class SharedConf(SharedSpec, frozen=True, kw_only=True):
    """Limits and budgets hold for all gateways together that name the same store [D6]. What one uses is granted to it
    before, so that no limit is passed, however many gateways there are and whichever of them dies."""

    store: Annotated[str, doc("redis://host:port/database (rediss:// with TLS, unix:///path for a socket; :password@ before the host), needs the extra `redis`")]
