"""The cache's block: mistakes are told, and what is not written has its default."""

import pytest

from penstock.base.errors import ConfigError
from penstock.config.load import load, read_text
from penstock.core.cache.spec import CacheRule, CacheSpec, SemanticSpec

FILE = "pools: [{name: p, models: [m]}]\naliases: {fast: m}\nkeys: [{name: team, key: sk-1}]\n"


def cache_of(block: str) -> CacheSpec | None:
    """What the Gate reads."""
    return load(FILE + block, {}, read_text).gate.cache


def test_there_is_none_unless_it_is_written() -> None:
    """An empty block has every default."""
    assert cache_of("") is None
    assert cache_of("cache: {}") == CacheSpec()


def test_all_that_is_written_arrives() -> None:
    """Units and rules."""
    block = "cache: {ttl: 5m, memory: 8MiB, largest: 1KiB, rules: [{tenant: team, path: /v1/emb, mode: all, ttl: 1h}]}"
    assert cache_of(block) == CacheSpec(
        ttl_s=300.0, memory_bytes=8 << 20, largest_bytes=1 << 10,
        rules=(CacheRule(tenant="team", path="/v1/emb", mode="all", ttl_s=3600.0),),
    )  # fmt: skip


def test_questions_in_other_words() -> None:
    """Off unless it is written, then only for who asks; a rule says it for some."""
    assert CacheSpec().semantic is None
    assert cache_of("cache: {semantic: {}}") == CacheSpec(semantic=SemanticSpec(mode="asked", threshold=0.9))
    block = "cache: {semantic: {model: m, timeout: 50ms, longest: 1KiB}, rules: [{tenant: team, semantic: all}]}"
    assert cache_of(block) == CacheSpec(
        semantic=SemanticSpec(model="m", timeout_s=0.05, longest_bytes=1024),
        rules=(CacheRule(tenant="team", semantic="all"),),
    )  # fmt: skip


MISTAKES = [
    ("{semantic: {threshold: 1.5}}", "cache.semantic.threshold"),
    ("{semantic: {longest: 9KiB}}", "1 to 8192 bytes"),
    ("{semantic: {model: n}}", "no pool serves 'n'"),
    ("{semantic: {model: fast}}", "name the model: m"),
    ("{rules: [{semantic: all}]}", "there is no semantic cache"),
    ("{memory: 0}", "cache.memory"),
    ("{memory: 1KiB}", "it is more than `memory`"),
    ("{mode: sometimes}", "cache.mode"),
    ("{rules: [{tenant: taem}]}", "did you mean `team`"),
    ("{rules: [{model: fast}]}", "name the model: m"),
    ("{rules: [{path: v1}]}", "it begins with /"),
]


@pytest.mark.parametrize("block,told", MISTAKES)
def test_mistakes_are_told(block: str, told: str) -> None:
    """With their place and a way out."""
    with pytest.raises(ConfigError) as error:
        cache_of(f"cache: {block}")
    assert told in str(error.value)
