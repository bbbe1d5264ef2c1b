"""Which store a URL means."""

import builtins
from typing import Any

import pytest

from penstock.adapters.stores.lease_redis import LeaseRedis
from penstock.adapters.stores.lease_socket import LeaseClient
from penstock.adapters.stores.lessors import SOCKET, lessor_of
from tests.helpers.wire import run


def test_urls_and_their_stores() -> None:
    """A parent's socket, or a Redis; nothing is connected before it is asked."""

    async def main() -> None:
        assert isinstance(lessor_of(f"{SOCKET}/tmp/none"), LeaseClient)
        for url in ("redis://127.0.0.1:1/0", "rediss://127.0.0.1:1", "unix:///tmp/none"):
            assert isinstance(lessor_of(url), LeaseRedis)
        with pytest.raises(ValueError, match="redis"):
            lessor_of("http://127.0.0.1")

    run(main)


def test_without_its_package_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OSError names the extra."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "penstock.adapters.stores.lease_redis":
            raise ImportError(name="redis")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OSError, match=r"redis is missing: pip install 'penstock\[redis\]'"):
        lessor_of("redis://127.0.0.1")
