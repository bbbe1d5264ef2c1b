"""What replicas are believed to have cached: longest matches, bounds, forgetting, and what engines teach."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base.nouns import EngineStats, Usage
from penstock.base.prefix import ENDS, chain
from penstock.core.prefix import NOTHING, Cache, Cached, Index


def prompt(seed: int, size: int = 4096, common: bytes = b"") -> tuple[int, ...]:
    """The blocks of a text that is like no other but for how it begins."""
    return chain([common + Random(seed).randbytes(size - len(common))])[0]


def index(*names: str, tokens: int = 100_000, max_blocks: int = 8192) -> tuple[Index, list[Cache]]:
    """An index of these replicas."""
    made = Index(tokens, max_blocks)
    caches = [Cache(name) for name in names]
    made.keep(caches)
    return made, caches


def depth(made: Index, cache: Cache, blocks: tuple[int, ...], model: str = "m") -> int:
    """How many leading blocks of it this replica is believed to have."""
    return cache.depth(made.keys(blocks, model))


def test_the_longest_match_is_found_by_replica() -> None:
    """What was sent to a is known of a, up to where another prompt parts from it, and of nobody else."""
    made, (a, b) = index("a", "b")
    common = Random(9).randbytes(1024)
    one, other = prompt(1, common=common), prompt(2, common=common)
    assert made.sent(one, "m", 4000, a) == NOTHING
    assert depth(made, a, one) == len(one)
    assert depth(made, a, other) == 1
    assert depth(made, b, one) == 0
    assert made.sent(other, "m", 4096, a) == Cached(288, 288, "a")  # of 1,024 to 1,280 bytes the middle, 4 a token


def test_another_model_shares_nothing() -> None:
    """A LoRA adapter is a model by name, and its keys and values are its own."""
    made, (a,) = index("a")
    made.sent(prompt(1), "m", 4000, a)
    assert depth(made, a, prompt(1), "m-with-adapter") == 0
    assert not made.known(made.keys(prompt(1), "m-with-adapter"))


def test_the_least_recently_used_goes_first_and_its_end_before_its_beginning() -> None:
    """A replica of 1,536 tokens holds a prompt and a half; the older one loses its tail."""
    made, (a,) = index("a", tokens=1536)
    made.sent(prompt(1), "m", 4096, a)
    made.sent(prompt(2), "m", 4096, a)
    assert depth(made, a, prompt(2)) == 9
    assert 0 < depth(made, a, prompt(1)) < 9
    made.sent(prompt(3), "m", 4096, a)
    assert depth(made, a, prompt(1)) == 0
    assert a.bytes <= 1536 * 4


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(0, 200)), max_size=60))
def test_a_block_never_outlives_the_one_before_it(turns: list[tuple[int, int, int]]) -> None:
    """Whatever was sent and said, bisection finds what counting would, and every number adds up."""
    made, (a,) = index("a", tokens=1000, max_blocks=20)
    commons = [Random(n).randbytes(512 * n) for n in range(7)]
    for seed, size, answer in turns:
        blocks = prompt(seed, 512 * size + 3072, commons[size])
        found = made.sent(blocks, "m", 4000, a)
        made.ended("m", 512 * size + 3072, found, Usage(1000, answer), a)
        keys = made.keys(blocks, "m")
        known = [key in a.blocks for key in reversed(keys)]
        assert known == sorted(known, reverse=True)
        assert a.depth(keys) == sum(known)
        assert a.held <= 20


def test_memory_is_bounded_by_blocks_too_and_holders_go_with_them() -> None:
    """However many prompts come, a replica has at most so many blocks, and nobody is remembered for one he lost."""
    made, caches = index("a", "b", tokens=10**9, max_blocks=100)
    for seed in range(200):
        made.sent(prompt(seed), "m", 4000, caches[seed % 2])
    assert len(made) == 200
    assert made.holders(made.keys(prompt(0), "m")) == []
    assert made.holders(made.keys(prompt(199), "m")) == [caches[1]]


def test_large_fleets_share_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """All replicas of a pool together have a bound, whatever each may have."""
    monkeypatch.setattr("penstock.core.prefix.MOST_BLOCKS", 50)
    made, caches = index(*(f"r{n}" for n in range(10)), tokens=10**9)
    for seed in range(40):
        made.sent(prompt(seed), "m", 4000, caches[seed % 10])
    assert len(made) == 50


def test_an_engine_that_tells_its_size_is_taken_at_its_word() -> None:
    """Its KV cache bounds what it is believed to have, and of a match half a block of its own is not counted."""
    made, (a,) = index("a")
    a.observed(EngineStats(kv_tokens=512, kv_block_tokens=128))
    made.sent(prompt(1), "m", 4096, a)
    assert a.bytes == 512 * 4
    assert made.sent(prompt(2, common=Random(1).randbytes(4096)[:1024]), "m", 4096, a) == Cached(224, 224, "a")


def test_a_replica_that_is_gone_or_started_anew_is_forgotten() -> None:
    """Whoever left leaves nothing; an engine whose counters went backwards has lost all it had."""
    made, (a, b) = index("a", "b")
    made.sent(prompt(1), "m", 4000, a)
    made.sent(prompt(2), "m", 4000, b)
    made.keep([b, Cache("a")])  # another one under a's name
    assert not made.known(made.keys(prompt(1), "m"))
    assert not a.blocks
    assert not b.observed(EngineStats(prefix_queries=500, prefix_hits=0))
    assert not b.observed(EngineStats())
    assert b.observed(EngineStats(prefix_queries=20, prefix_hits=0))
    made.forget(b)
    assert (len(made), made.known(made.keys(prompt(2), "m"))) == (0, False)


def test_bytes_per_token_are_learnt_by_model() -> None:
    """From what answers say; the estimate is in their tokens."""
    made, (a,) = index("a")
    for _ in range(3):
        found = made.sent(prompt(1), "m", 4000, a)
        made.ended("m", 4096, found, Usage(2048, 1), a)
    assert made.bytes_per_token("m") == pytest.approx(2.0)
    assert made.bytes_per_token("other") == 4.0
    assert made.sent(prompt(1), "m", 4096, a).counted == 2047


def test_models_that_clients_make_up_share_a_rate() -> None:
    """Beyond a few hundred models the table does not grow."""
    made, (a,) = index("a")
    for number in range(1000):
        made.ended(f"m{number}", 4000, NOTHING, Usage(1000, 0), a)
    assert len(made._lessons) <= 257


def test_answers_take_room() -> None:
    """A thousand tokens of an answer push a prompt out as another prompt would."""
    made, (a,) = index("a", tokens=1024)
    made.sent(prompt(1), "m", 4096, a)
    made.ended("m", 4096, NOTHING, Usage(1024, 1024), a)
    assert depth(made, a, prompt(1)) == 0


def test_short_answers_take_room_together() -> None:
    """Ten tokens a hundred times are as many as a thousand at once, to a block of them."""
    made, (a,) = index("a", tokens=1024)
    made.sent(prompt(1), "m", 4096, a)
    for _ in range(103):
        made.ended("m", 4096, NOTHING, Usage(1024, 10), a)
    assert depth(made, a, prompt(1)) == 0


def test_models_share_nothing() -> None:
    """The first model that is asked for, those that follow, and calls that name none have blocks of their own."""
    made, (a,) = index("a")
    for model in ("m", "", "n"):
        assert made.sent(prompt(1), model, 4096, a).tokens == 0
    for model in ("m", "", "n"):
        assert made.sent(prompt(1), model, 4096, a).tokens > 0


def test_what_an_answer_tells_corrects_the_estimate() -> None:
    """An engine that finds half of what was expected is expected to find half."""
    made, (a,) = index("a")
    made.sent(prompt(1), "m", 4096, a)
    for _ in range(200):
        found = made.sent(prompt(1), "m", 4096, a)
        made.ended("m", 4096, found, Usage(1024, 0, 512), a)
    assert made.sent(prompt(1), "m", 4096, a).tokens == pytest.approx(512, rel=0.03)


def test_counters_correct_it_where_answers_do_not_tell() -> None:
    """An engine without a prefix cache is soon believed to have nothing; its answers cannot be told from silence."""
    made, (a,) = index("a")
    queries = 0
    for _ in range(300):
        found = made.sent(prompt(1), "m", 4096, a)
        made.ended("m", 4096, found, Usage(1024, 0, 0), a)
        queries += 1024
        a.observed(EngineStats(prefix_queries=queries, prefix_hits=0))
    assert made.sent(prompt(1), "m", 4096, a).tokens < 60


def test_traffic_of_others_does_not_count_as_ours() -> None:
    """Counters tell of all traffic: where half of it is ours, half of the hits are."""
    made, (a,) = index("a")
    a.observed(EngineStats(prefix_queries=0, prefix_hits=0))
    made.sent(prompt(1), "m", 4096, a)
    for turn in range(1, 200):
        made.sent(prompt(1), "m", 4096, a)
        a.observed(EngineStats(prefix_queries=2048 * turn, prefix_hits=2048 * turn))
    assert a.trust == pytest.approx(1.0, abs=0.02)


def test_the_holders_of_the_longest_part_are_named() -> None:
    """In a large fleet: of a conversation's replica and of those that have its system prompt alone, the former; the
    latest sixteen."""
    made, caches = index(*(f"r{n}" for n in range(80)))
    common = Random(9).randbytes(1024)
    for seed, cache in enumerate(caches):
        made.sent(prompt(seed, common=common), "m", 4096, cache)
    assert made.holders(made.keys(prompt(7, common=common), "m")) == [caches[7]]
    assert made.holders(made.keys(prompt(99, common=common), "m")) == caches[64:]
    assert ENDS[len(prompt(7))] == 4096
