"""A benchmark at a fixed concurrency: every request is seen once, and the closed forms hold where there are any."""

import pytest

from penstock.engine.batcher import EngineSpec
from penstock.engine.perf import StepCost
from penstock.engine.trial import Trial, trial

SPEC = EngineSpec(cost=StepCost(base_s=0.01, prefill_token_s=1e-4, decode_sequence_s=1e-3, context_token_s=1e-7))


def test_one_client_alone_is_computed_by_hand() -> None:
    """A prompt's step, then ten steps whose context grows: no other request is in the way."""
    seen = trial(SPEC, Trial(1, 100, 11, rounds=3))
    tokens = [0.011 + 1e-7 * (100 + number) for number in range(10)]
    assert [one.ttft_s for one in seen] == [pytest.approx(0.02)] * 3
    assert [one.e2e_s for one in seen] == [pytest.approx(0.02 + sum(tokens))] * 3
    assert [one.tpot_s for one in seen] == [pytest.approx(sum(tokens) / 10)] * 3


def test_time_outside_of_the_engine_counts() -> None:
    """What HTTP and tokenising take comes on top of the engine's time, and a pause between two requests does not."""
    (alone,) = trial(SPEC, Trial(1, 100, 11, rounds=1))
    for seen in trial(SPEC, Trial(1, 100, 11, rounds=3, outside_s=0.5, pause_s=7.0)):
        assert [seen.ttft_s, seen.e2e_s] == pytest.approx([alone.ttft_s + 0.5, alone.e2e_s + 0.5])


def test_every_request_is_seen() -> None:
    """So many rounds of so many clients, each with its lengths, and with a single token no time per token."""
    assert len(trial(SPEC, Trial(7, 50, 9, rounds=4, spread=0.5, pause_s=0.01))) == 28
    assert trial(SPEC, Trial(2, 50, 1, rounds=1))[0].tpot_s == 0.0


def test_load_makes_it_slower_and_luck_is_seeded() -> None:
    """Sixteen clients wait longer than two, and the same seed gives the same figures."""
    two, sixteen = (trial(SPEC, Trial(clients, 500, 50, spread=0.2)) for clients in (2, 16))
    assert sum(one.tpot_s for one in sixteen) / len(sixteen) > sum(one.tpot_s for one in two) / len(two)
    assert trial(SPEC, Trial(16, 500, 50, spread=0.2)) == sixteen
    assert trial(SPEC, Trial(16, 500, 50, spread=0.2), seed=1) != sixteen


def test_what_cannot_run_is_told() -> None:
    """A prompt beyond the model's length is no benchmark."""
    with pytest.raises(ValueError, match="too_long"):
        trial(SPEC, Trial(1, 40_000, 10))
