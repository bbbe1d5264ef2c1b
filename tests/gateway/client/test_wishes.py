"""What clients wish by headers: read strictly, bounded by their key."""

import hashlib

import pytest

from penstock.config.schema import KeyTerms, ServerSpec
from penstock.gateway.client.head import Head
from penstock.gateway.client.wishes import CACHE, TAGS, Wishes
from tests.gateway.client.test_head import read

DIGEST = hashlib.sha256(b"sk-1").hexdigest()
SERVER = ServerSpec(
    open=False, key_names={DIGEST: "one"}, key_terms={DIGEST: KeyTerms(ceiling="high", tier="premium")}
)  # fmt: skip
KEY = "Authorization: Bearer sk-1\r\n"


@pytest.mark.parametrize(("word", "index"), [("critical", 0), ("HIGH", 1), ("normal", 2), ("low", 3), ("batch", 4)])
def test_a_priority_is_one_of_five_words(word: str, index: int) -> None:
    """In any case of letters."""
    head = read(f"x-penstock-priority: {word}\r\n")
    assert (head.wishes.priority, head.refusal) == (index, None)


@pytest.mark.parametrize(("text", "seconds"), [("2", 2.0), ("1.5", 1.5), ("500ms", 0.5), ("1m30s", 90.0)])
def test_a_timeout_is_a_duration(text: str, seconds: float) -> None:
    """A number of seconds, or with units."""
    assert read(f"X-Penstock-Timeout: {text}\r\n").wishes.latency_s == seconds


@pytest.mark.parametrize(
    "line",
    [
        "x-penstock-priority: urgent", "x-penstock-priority: ", "x-penstock-timeout: soon", "x-penstock-timeout: 0",
        "x-penstock-timeout: -3", "x-penstock-timeout: nan", "x-penstock-timeout: " + "9" * 40,
        "x-penstock-timeout: \u00e9",
    ],
)  # fmt: skip
def test_nonsense_is_told(line: str) -> None:
    """A value that means nothing is a bad request that names the header and what it takes."""
    refusal = read(line + "\r\n").refusal
    assert refusal is not None
    assert refusal[0] == "bad_request"
    assert line.partition(":")[0] in refusal[1]


def test_without_headers_nothing_is_wished() -> None:
    """Normal priority, no timeout, standard tier; other headers of ours mean nothing."""
    head: Head = read("x-penstock-other: 1\r\n")
    assert (head.wishes.priority, head.wishes.latency_s, head.tier, head.refusal) == (2, None, "standard", None)


@pytest.mark.parametrize(("word", "index"), [("critical", 1), ("high", 1), ("batch", 4)])
def test_a_key_has_a_ceiling_and_a_tier(word: str, index: int) -> None:
    """Who asks for more than its key's ceiling gets the ceiling; below it, what it asked for."""
    head = read(f"{KEY}x-penstock-priority: {word}\r\n", server=SERVER)
    assert (head.key, head.tier, head.wishes.priority) == ("one", "premium", index)


def test_a_low_ceiling_holds_without_a_wish() -> None:
    """A key whose ceiling is batch sends batch calls, whether it says so or not."""
    server = ServerSpec(open=False, key_names={DIGEST: "one"}, key_terms={DIGEST: KeyTerms(ceiling="batch")})
    assert read(KEY, server=server).wishes.priority == 4


def test_a_wrong_key_comes_before_a_wrong_wish() -> None:
    """Who may not call learns nothing else."""
    refusal = read("x-penstock-priority: urgent\r\n", server=SERVER).refusal
    assert refusal is not None
    assert refusal[0] == "unauthorized"


def test_a_later_good_word_does_not_hide_a_mistake() -> None:
    """Of two headers both count."""
    wishes = Wishes()
    wishes.read(b"x-penstock-priority", b"urgent")
    wishes.read(b"x-penstock-timeout", b"3")
    assert wishes.mistake
    assert wishes.latency_s == 3.0


@pytest.mark.parametrize(
    "name,value,word",
    [(CACHE, b"no", "use, similar, bypass, refresh"), (TAGS, b"a b", "letters"), (TAGS, b",".join([b"x"] * 17), "16")],
)
def test_wrong_words_about_the_cache_are_mistakes(name: bytes, value: bytes, word: str) -> None:
    """They are told of, not guessed at."""
    wishes = Wishes()
    wishes.read(name, value)
    assert word in wishes.mistake
