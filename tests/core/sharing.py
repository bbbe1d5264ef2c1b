"""What playbooks of the cache are written with."""

from typing import Any

from msgspec.structs import replace

from penstock.base.contents import Content
from penstock.core.cache.rules import key_of
from penstock.core.cache.spec import CacheSpec
from penstock.core.catalog import Target
from penstock.core.effects import Effect, Record, Send
from penstock.core.events import Arrived, Ended
from penstock.core.gate import Gate
from tests.core.playbook import USED, arrived, call, fleet, gate, pool, send

FIXED = Content("d1", fixed=True)


def asked(id: str, content: Content = FIXED, **fields: Any) -> Arrived:
    """A call whose request determines its answer."""
    return arrived(id, content=content, **fields)


def key(content: Content = FIXED, spec: CacheSpec | None = None, **fields: Any) -> str:
    """Under which the answer of such a call stands."""
    return key_of(spec or CacheSpec(), call(content=content, **fields), Target("main", "m"))


def house(*ids: str, seats: int = 1, cache: CacheSpec | None = None, shared: bool = False, **more: Any) -> Gate:
    """A Gate with a cache, and one pool of these replicas."""
    pools = (pool(**more.pop("pool", {})),)
    made = gate(*pools, cache=cache or CacheSpec(), shared_cache=shared, **more)
    made.on(fleet(*(ids or ("a",)), max_concurrent_requests=seats), 0.0)
    return made


def lead(id: str, attempt: int = 1, to: str = "a") -> Send:
    """The order to make an attempt that others may join."""
    return replace(send(id, attempt, to), cache="lead")


def ended(id: str, attempt: int = 1, size: Any = 100, **fields: Any) -> Ended:
    """It is answered, with an answer that can be kept."""
    return Ended(id, attempt, **{"status": 200, "usage": USED, "kept_bytes": size, **fields})


def rows(orders: list[Effect]) -> list[tuple[str, str, str]]:
    """Of each call that is over: how, and what the cache had to do with it."""
    return [(order.row.id, order.row.outcome, order.row.cache or "") for order in orders if isinstance(order, Record)]
