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
    return _digest(spec, call, target, content.digest)


def frame_of(spec: CacheSpec, call: Call, target: Target) -> str:
    """What it has in common with the calls whose answer it may have although their question is in other words; empty:
    it may have none of that kind."""
    content, semantic = call.content, spec.semantic
    if semantic is None or not content or not content.frame:
        return ""
    rule = rule_of(spec, call, target.model) if spec.rules else None
    mode = semantic.mode if rule is None or rule.semantic is None else rule.semantic
    if mode == "off" or (mode == "asked" and content.wish != "similar"):
        return ""
    return _digest(spec, call, target, content.frame)


def _digest(spec: CacheSpec, call: Call, target: Target, body: str) -> str:
    parts = (
        spec.version, call.tenant if spec.isolate else None, call.path, target, call.stream, call.max_tokens, body,
    )  # fmt: skip
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()  # no two tuples of texts and numbers read the same
