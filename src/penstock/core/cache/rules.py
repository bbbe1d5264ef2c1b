"""Whether a call may have an answer from the cache, and under which key it would stand.

Pure: a call and settings in, a word or a key out. What makes up the body's digest, the edge decides that sees bodies.
"""

from hashlib import blake2b
from typing import Literal

from penstock.base.nouns import Call
from penstock.core.cache.spec import CacheRule, CacheSpec, Mode
from penstock.core.catalog import Target

Use = Literal["bypass", "refresh", "use"]


def rule_of(spec: CacheSpec, call: Call, model: str) -> CacheRule | None:
    """The first rule that matches."""
    for rule in spec.rules:
        if (
            (rule.tenant is None or rule.tenant == call.tenant)
            and (rule.model is None or rule.model == model)
            and (rule.path is None or call.path.startswith(rule.path))
        ):
            return rule
    return None


def use_of(call: Call, mode: Mode) -> Use:
    """bypass: it has nothing to do with the cache. refresh: its answer is kept, none is given to it."""
    content = call.content
    if not content or not content.digest or mode == "off" or content.wish == "bypass":
        return "bypass"
    if content.wish:
        return "refresh" if content.wish == "refresh" else "use"
    return "use" if mode == "all" or (mode == "fixed" and content.fixed) else "bypass"


def key_of(spec: CacheSpec, call: Call, target: Target) -> str:
    """A digest of all that changes the answer: two calls have the same key only where each may have the other's."""
    content = call.content
    assert content
    parts = (
        spec.version, call.tenant if spec.isolate else None, call.path, target, call.stream, call.max_tokens,
        content.digest,
    )  # fmt: skip
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()  # no two tuples of texts and numbers read the same
