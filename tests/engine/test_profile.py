"""A cost model read off tables: straight between the points, and linear in context like all of them."""

import msgspec
import pytest

from penstock.engine.profile import Profile, between

COST = Profile(
    tokens_s=((1.0, 1.0), (11.0, 2.0), (21.0, 4.0)), sequences_s=((1.0, 0.1), (3.0, 0.3)), sequence_s=0.01,
    context_token_s=0.001, pair_s=1e-4, prefill_token_s=0.02, mixed_sequence_s=0.5, mixed_context_token_s=0.002,
)  # fmt: skip


def test_between_points_it_is_straight() -> None:
    """On a point it is the point, between two the line; beyond the ends the last line goes on."""
    points = ((1.0, 1.0), (3.0, 5.0), (4.0, 6.0))
    assert [between(points, at) for at in (1, 2, 3, 4, 6, 0)] == [1.0, 3.0, 5.0, 6.0, 8.0, -1.0]


def test_a_step_is_the_sum_of_its_parts() -> None:
    """Tokens and sequences from the tables, attention at its prices; those for mixed steps only beside a prompt."""
    assert COST.step_s(0, 2, 100) == pytest.approx(1.1 + 0.2 + 0.02 + 0.1)
    assert COST.step_s(10, 2, 100, 55) == pytest.approx(2.1 + 0.1 + 0.2 + 0.02 + 0.1 + 0.2 + 0.0055 + 1.0 + 0.2)


def test_a_step_is_linear_in_its_context() -> None:
    """The promise that the Batcher jumps by."""
    assert COST.step_s(0, 3, 53) - COST.step_s(0, 3, 50) == pytest.approx(COST.growth_s(3))


def test_a_profile_can_be_written_in_a_file() -> None:
    """It survives the way through JSON; a table of one point is refused."""
    assert msgspec.json.decode(msgspec.json.encode(COST), type=Profile) == COST
    with pytest.raises(msgspec.ValidationError, match="length >= 2"):
        msgspec.json.decode(msgspec.json.encode(COST).replace(b"[[1.0,0.1],[3.0,0.3]]", b"[[1.0,0.1]]"), type=Profile)
