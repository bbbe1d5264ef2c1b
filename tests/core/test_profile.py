"""The profile of a request: what its complexity is."""

import pytest

from penstock.core.profile import complexity


@pytest.mark.parametrize(
    ("prompt", "output", "expected"),
    [
        (10, 20, "low"),
        (499, 250, "low"),
        (500, 250, "medium"),
        (7999, 0, "medium"),
        (0, 4000, "high"),
        (9000, 1, "high"),
    ],
)
def test_complexity_is_the_expected_cost(prompt: int, output: int, expected: str) -> None:
    """An output token counts twice; the bounds are 1,000 and 8,000."""
    assert complexity(prompt, output) == expected
