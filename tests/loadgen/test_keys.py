"""Keys of many tenants: read from a file, dealt by shares, never shown."""

from collections import Counter

import pytest

from penstock.loadgen.keys import Keyring, Tenant, read_keys
from penstock.workload.request import Request


def request(tenant: str = "", session: str = "") -> Request:
    """A small one."""
    return Request(0, 10, 2, tenant=tenant, session=session)


def test_a_file_names_tenants_with_their_keys() -> None:
    """By a key alone, or with a share."""
    assert read_keys("a: sk-1\nb: {key: sk-2, share: 10}\n") == {"a": Tenant("sk-1"), "b": Tenant("sk-2", 10.0)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "wants a line for each tenant"),
        ("- sk-1", "wants a line for each tenant"),
        ("a: [", "not YAML"),
        ("a: sk-1\na: sk-2", "twice"),
        ("a: {share: 2}", "a: Object missing required field `key`"),
        ("a: {key: sk-1, share: 0}", "a: Expected `float` > 0.0"),
        ("a: {key: sk-1, shares: 2}", "a: Object contains unknown field `shares`"),
        ('a: "sk-\\n1"', "a: the key has characters that a header cannot carry"),
    ],
)
def test_mistakes_are_told_without_the_key(text: str, said: str) -> None:
    """What is wrong, and where; the key itself is nobody's business."""
    with pytest.raises(ValueError, match=r".") as told:
        read_keys(text)
    assert said in str(told.value)
    assert "sk-" not in str(told.value)


def test_a_request_of_a_tenant_goes_with_its_key() -> None:
    """Whatever the shares."""
    ring = Keyring({"a": Tenant("sk-1"), "b": Tenant("sk-2", 1000.0)}, seed=1)
    assert {ring.tenant(request("a"), number) for number in range(50)} == {"a"}
    assert ring.header("a") == b"authorization: Bearer sk-1\r\n"


def test_others_are_dealt_by_shares() -> None:
    """A tenant of share 3 gets three times the requests of one of share 1, those of unknown tenants among them."""
    ring = Keyring({"a": Tenant("sk-1"), "b": Tenant("sk-2", 3.0)}, seed=1)
    dealt = Counter(ring.tenant(request("" if number % 2 else "unknown"), number) for number in range(4000))
    assert dealt["b"] / dealt["a"] == pytest.approx(3.0, rel=0.1)


def test_a_session_is_one_tenants() -> None:
    """All of its turns; and an equal seed deals alike."""
    rings = [Keyring({name: Tenant(f"sk-{name}") for name in "abcd"}, seed=7) for _ in range(2)]
    for session in ("s1", "s2", "s3"):
        assert len({ring.tenant(request(session=session), number) for ring in rings for number in range(20)}) == 1
