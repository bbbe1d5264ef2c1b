"""Prompts as the gateway and the engines see them: what is shared is equal, what is not differs."""

from penstock.base.prefix import ENDS
from penstock.sim.prompts import TOKEN_BYTES, own_text, seen_by_engine, seen_by_gateway
from tests.sim.support import request


def test_the_gateway_sees_as_many_blocks_as_the_text_fills() -> None:
    """A prompt of 1,000 tokens has the blocks that end within its 4,000 bytes."""
    seen = seen_by_gateway(request(0.0, 1000), 1)
    assert ENDS[len(seen)] <= 1000 * TOKEN_BYTES < ENDS[len(seen) + 1]


def test_equal_beginnings_are_equal_for_both_and_the_rest_is_not() -> None:
    """Two prompts that share two blocks of 512 tokens have the hashes of these in common, and no others."""
    one = request(0.0, 2000, 10, blocks=(1, 2, 3), block_tokens=512)
    other = request(0.0, 2000, 10, blocks=(1, 2, 4), block_tokens=512)
    ours, theirs = seen_by_gateway(one, 1), seen_by_gateway(other, 2)
    shared = sum(end <= 1024 * TOKEN_BYTES for end in ENDS[1:])
    assert [a == b for a, b in zip(ours, theirs, strict=True)] == [n < shared for n in range(len(ours))]
    engine, its = seen_by_engine(one, 16), seen_by_engine(other, 16)
    assert [a == b for a, b in zip(engine, its, strict=True)] == [n < 1024 // 16 for n in range(len(engine))]
    assert len(engine) == 3 * 512 // 16


def test_prompts_of_which_nothing_is_known_share_nothing() -> None:
    """Without blocks every request is like no other."""
    one, other = request(0.0, 600), request(0.0, 600)
    assert not set(seen_by_gateway(one, 1)) & set(seen_by_gateway(other, 2))
    assert seen_by_engine(one, 16) == seen_by_engine(other, 16) == ()


def test_every_requests_own_text_has_a_name_of_its_own() -> None:
    """Of requests, and of benchmarks, whose numbers are below zero; none is a hash or zero."""
    names = [own_text(number) for number in range(-100, 101)]
    assert len(set(names)) == len(names)
    assert max(names) < 0


def test_the_answer_has_blocks_where_the_workload_names_them() -> None:
    """An engine keeps what it generated as well: what a session's next turn will have in its prompt."""
    assert len(seen_by_engine(request(0.0, 100, 60, blocks=(1, 2, 3), block_tokens=64), 16)) == 160 // 16
