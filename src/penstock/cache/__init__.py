"""The cache as a library: results of async functions are kept and given again, and identical calls at the same time run
once. Made of the gateway's own index (`core.cache`); it knows nothing of HTTP.

    from penstock.cache import cached

    @cached(ttl_s=600)
    async def ask(question: str) -> str: ...
"""

from penstock.cache.results import Cache, Numbers, cached

__all__ = ["Cache", "Numbers", "cached"]
