"""Lays a pool's blocks over the gateway's own, field by field.

It works on plain data, before it becomes specs: afterwards nobody could tell a value that was written from a default.
"""

from functools import cache
from typing import Any

from msgspec import inspect as ty

from penstock.config.schema import PoolConf
from penstock.config.shape import bare, inspected

BLOCKS = ("queue", "timeouts", "retries", "breaker", "outliers", "panic", "probe", "scrape", "benchmark")


@cache
def _fields_by_block() -> dict[str, frozenset[str]]:
    pool = inspected(PoolConf)
    assert isinstance(pool, ty.StructType)
    found: dict[str, frozenset[str]] = {}
    for field in pool.fields:
        block = bare(field.type)[0]
        if field.encode_name in BLOCKS and isinstance(block, ty.StructType):
            found[field.encode_name] = frozenset(inner.encode_name for inner in block.fields)
    return found


def lay_over(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with every pool's blocks completed from the gateway's, whose `timeouts` has fields of its own."""
    allowed = _fields_by_block()
    pools = []
    for pool in tree.get("pools", []):
        whole = dict(pool)
        for block, names in allowed.items():
            base = {name: value for name, value in tree.get(block, {}).items() if name in names}
            whole[block] = base | pool.get(block, {})
        pools.append(whole)
    return {**tree, "pools": pools}
