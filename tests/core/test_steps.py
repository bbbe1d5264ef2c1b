"""Steps and trails: an order of steps, a profile, and nothing for the garbage collector."""

import gc

from penstock.core.profile import Profile
from penstock.core.steps import Paused, Trail
from tests.core.playbook import record


def trail(last: Paused | None = None, max_tokens: int | None = None) -> Trail:
    """The trail of a call of 600 prompt tokens whose tenant's answers have 300."""
    return Trail(record(priority=1).row, last, True, 0, 600, 300.0, max_tokens, 2400, "s", 9.0, "free", 3)


def test_steps_are_told_from_the_first_to_the_last() -> None:
    """Each points to the one before it; a trail turns them around."""
    first = Paused(1.0, None, 0, 2.0)
    second = Paused(2.0, first, 0, 3.0)
    assert trail(second).steps() == [first, second]
    assert trail().steps() == []


def test_a_profile_is_what_was_known_before() -> None:
    """Expected output is what the tenant's answers have, never more than the call's own bound."""
    assert trail().profile() == Profile(
        prompt_tokens=600, output_tokens=300, max_tokens=None, complexity="medium", latency_s=9.0, priority="high",
        tier="free", session="s", stream=False, body_bytes=2400, prefix_blocks=3,
    )  # fmt: skip
    bounded = trail(max_tokens=10).profile()
    assert (bounded.output_tokens, bounded.complexity) == (10, "low")


def test_the_garbage_collector_does_not_see_them() -> None:
    """Ten thousand of them cost it nothing."""
    step = Paused(1.0, None, 0, 2.0)
    assert not gc.is_tracked(step)
    assert not gc.is_tracked(trail(step))
