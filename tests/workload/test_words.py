"""The words of prompts are what their token counts rest on."""

from penstock.workload.words import WORDS


def test_words() -> None:
    """All are different, lower-case English letters, three each."""
    assert len(set(WORDS)) == len(WORDS) > 128
    assert all(len(word) == 3 and word.isascii() and word.isalpha() and word.islower() for word in WORDS)
