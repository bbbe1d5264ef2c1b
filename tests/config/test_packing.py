"""What may be said of compressing answers."""

import pytest

from penstock.base.errors import ConfigError
from penstock.config.packing import CompressionSpec
from tests.config.support import load_text

POOLS = "pools: [{name: p, replicas: [{url: 'http://h:1'}]}]"


@pytest.mark.parametrize(
    "text, spec",
    [
        ("", CompressionSpec(min_bytes=16 << 10, max_bytes=256 << 10, level=1)),
        ("compression: null", None),
        ("compression: {min: 1KiB, max: 1MiB, level: 6}", CompressionSpec(min_bytes=1024, max_bytes=1 << 20, level=6)),
    ],
)
def test_it_is_on_unless_it_is_switched_off(text: str, spec: CompressionSpec | None) -> None:
    """With the documented numbers, where nothing else is said."""
    assert load_text(f"{text}\n{POOLS}").server.compression == spec


def test_an_answer_that_would_hold_up_everybody_is_a_mistake() -> None:
    """More than 4 MiB are not compressed on the way of everybody's answers."""
    with pytest.raises(ConfigError, match=r"compression.max.*4MiB"):
        load_text(f"compression: {{max: 5MiB}}\n{POOLS}")
