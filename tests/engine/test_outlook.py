"""What an engine has still to do, as an oracle sees it."""

import pytest

from penstock.engine.batcher import Batcher, EngineSpec
from penstock.engine.outlook import Left, left, price
from penstock.engine.perf import StepCost
from penstock.engine.words import Submit, Woke

SPEC = EngineSpec(cost=StepCost(base_s=1.0, prefill_token_s=0.0, decode_sequence_s=0.0), max_num_batched_tokens=100)


def test_of_one_that_is_read_and_then_answers() -> None:
    """A prompt of 150 tokens in steps of 100, and 10 tokens, a second each: what is left falls as the steps end."""
    batcher = Batcher(SPEC, each_token=False)
    batcher.on(Submit("a", 150, 10), 0.0)
    assert left(batcher, 0.5) == Left(150, 10)
    batcher.on(Woke(), 1.0)
    assert left(batcher, 1.5) == Left(50, 10)
    batcher.on(Woke(), 2.0)
    assert [left(batcher, now).made for now in (2.5, 4.5, 10.5)] == [9, 7, 1]


def test_nothing_is_left_of_who_is_idle() -> None:
    """Before the first and after the last."""
    batcher = Batcher(SPEC, each_token=False)
    assert left(batcher, 5.0) == Left(0, 0)
    batcher.on(Submit("a", 10, 1), 5.0)
    batcher.on(Woke(), 6.0)
    assert left(batcher, 7.0) == Left(0, 0)


def test_what_can_be_found_need_not_be_read() -> None:
    """One that waits while its beginning is in the cache has only the rest before it."""
    batcher = Batcher(EngineSpec(cost=SPEC.cost, max_num_seqs=1), each_token=False)
    batcher.on(Submit("a", 64, 100, (1, 2, 3, 4)), 0.0)
    batcher.on(Woke(), 1.0)
    batcher.on(Submit("b", 64, 5, (1, 2, 9, 9)), 1.5)
    assert left(batcher, 1.5) == Left(32, 104)


def test_a_price_is_a_share_of_a_full_step() -> None:
    """100 tokens a step of one second are read; ten sequences make ten tokens in it; a quick engine takes half."""
    found = price(SPEC, 10, 1000)
    assert found.of(100, 10) == pytest.approx(2.0)
    quick = price(EngineSpec(cost=SPEC.cost, max_num_batched_tokens=100, speed=2.0), 10, 1000)
    assert quick.of(100, 10) == pytest.approx(1.0)
