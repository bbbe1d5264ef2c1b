"""One shape for every engine's usage object."""

import msgspec
import pytest

from penstock.adapters.wire.usage_shape import UsageFields
from penstock.base.nouns import Usage


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (b'{"prompt_tokens":3,"completion_tokens":2}', Usage(3, 2, 0)),
        (b'{"input_tokens":3,"output_tokens":2,"cache_read_input_tokens":1}', Usage(4, 2, 1)),
        (b'{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}', Usage(3, 0, 2)),
        (b'{"input_tokens":3,"input_tokens_details":{"cached_tokens":2}}', Usage(3, 0, 2)),
        (b'{"total_tokens":5}', None),
    ],
    ids=["OpenAI", "Anthropic", "OpenAI, cached", "responses, cached", "no number of ours"],
)
def test_names_of_every_api(told: bytes, meant: Usage | None) -> None:
    """OpenAI's names and Anthropic's, whose input leaves out what was cached, come to the same noun."""
    assert msgspec.json.decode(told, type=UsageFields).usage() == meant
