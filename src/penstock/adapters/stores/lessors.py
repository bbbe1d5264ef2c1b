"""Which store of shared limits a URL means."""

from penstock.adapters.stores.lease_socket import LeaseClient
from penstock.base.ports import LeaseStore

SOCKET = "penstock+unix:"
"""Before the path of a `LeaseServer`'s socket."""


def lessor_of(url: str) -> LeaseStore:
    """The store. Raises OSError where what it needs is not installed, ValueError where it is none."""
    if url.startswith(SOCKET):
        return LeaseClient(url.removeprefix(SOCKET))
    try:
        from penstock.adapters.stores.lease_redis import LeaseRedis
    except ImportError as missing:
        text = f"shared_limits: {missing.name} is missing: pip install 'penstock[redis]'"
        raise OSError(text) from None
    return LeaseRedis(url)
