"""Shared limits in Redis: how keys are named. (What a store must do: tests/contracts, with a real server.)"""

import pytest

from penstock.adapters.stores.lease_redis import LeaseRedis, name_of
from tests.helpers.wire import run


def test_keys_are_short_and_tell_accounts_apart() -> None:
    """They begin as the names do, and differ where those do, also where names hold what parts them."""
    accounts = [
        ("tenant", "a", ""), ("key", "a", ""), ("tenant", "a", "m"), ("tenant", "a:m", ""), ("everybody", "", ""),
        ("tenant", "x" * 128, ""), ("tenant", "x" * 127 + "y", ""),
    ]  # fmt: skip
    names = [name_of(account) for account in accounts]
    assert len(set(names)) == len(names)
    assert names[0].startswith("penstock:limits:tenant:a::")
    assert max(map(len, names)) < 180


def test_a_url_must_be_one() -> None:
    """Another is a ValueError, when it is made."""

    async def main() -> None:
        with pytest.raises(ValueError, match="redis://"):
            LeaseRedis("http://127.0.0.1")

    run(main)
