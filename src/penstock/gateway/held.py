"""What of new settings holds at once, and what only after a restart."""

from msgspec.structs import replace

from penstock.base.errors import ConfigError
from penstock.config.addresses import is_loopback, show_address
from penstock.config.schema import ServerSpec, Settings
from penstock.core.limits.spec import SharedSpec


def settled(started: Settings, new: Settings) -> Settings:
    """New settings with what holds until a restart. Raises ConfigError as `held` does."""
    server, limits = held(started.server, new.server), new.gate.limits
    if limits is not None and (limits.shared is None) != (server.lease_store is None):
        shared = None if server.lease_store is None else _shared(started)
        return replace(new, server=server, gate=replace(new.gate, limits=replace(limits, shared=shared)))
    return replace(new, server=server)


def _shared(started: Settings) -> SharedSpec:
    limits = started.gate.limits
    return SharedSpec() if limits is None or limits.shared is None else limits.shared


def held(started: ServerSpec, new: ServerSpec) -> ServerSpec:
    """New settings of the body with what holds until a restart. Raises ConfigError where that would open a door: the
    checks of the file were made for its own addresses."""
    mistakes: list[str] = []
    shown, moved = show_address(started.listen), new.listen != started.listen
    if new.open and not started.open and moved and not is_loopback(started.listen[0]):
        mistakes.append(f"keys: without them everybody could call {shown}, which is served until a restart")
    if new.admin_key_hash is None and started.admin is not None and not is_loopback(started.admin[0]):
        shown = show_address(started.admin)
        mistakes.append(f"admin_key: without it everybody could reach {shown}, which is served until a restart")
    if mistakes:
        raise ConfigError(mistakes)
    return replace(
        new, listen=started.listen, admin=started.admin, metrics=started.metrics, tls=started.tls,
        journal=started.journal, ledger=started.ledger, workers=started.workers, lease_store=started.lease_store,
        shared_cache=started.shared_cache,
    )  # fmt: skip
