"""What of new settings waits for a restart, and what a reload may not do."""

import pytest
from msgspec.structs import replace

from penstock.base.errors import ConfigError
from penstock.config.schema import ServerSpec, Settings
from penstock.core.limits.spec import LimitsSpec, SharedSpec
from penstock.core.spec import GateSpec
from penstock.gateway.held import held, settled

LOOPBACK, PUBLIC = ("127.0.0.1", 1), ("0.0.0.0", 1)


def test_addresses_hold_until_a_restart() -> None:
    """A reload moves no door, and drops no TLS or journal; everything else is the new one's."""
    started = ServerSpec(listen=LOOPBACK, admin=("127.0.0.1", 2), journal="old")
    new = ServerSpec(listen=("127.0.0.1", 3), admin=None, metrics=("127.0.0.1", 4), admin_key_hash="00")
    assert held(started, new) == replace(started, admin_key_hash="00")


@pytest.mark.parametrize(
    "started, new, words",
    [
        (ServerSpec(listen=PUBLIC, open=False, admin=None), ServerSpec(listen=LOOPBACK), "keys: "),
        (ServerSpec(listen=LOOPBACK, admin=PUBLIC, admin_key_hash="00"), ServerSpec(listen=LOOPBACK), "admin_key: "),
    ],
)
def test_a_reload_opens_no_public_door(started: ServerSpec, new: ServerSpec, words: str) -> None:
    """Keys that fall away together with a public address are refused: that address is served until a restart."""
    with pytest.raises(ConfigError, match=f"{words}.*0.0.0.0:1"):
        held(started, new)


def test_an_open_gateway_may_stay_open() -> None:
    """`auth: none` beyond loopback was said once, and a reload of the same address needs no more."""
    spec = ServerSpec(listen=PUBLIC, admin=None)
    assert held(spec, spec) == spec
    closed = ServerSpec(listen=PUBLIC, open=False, admin=None)
    assert held(closed, spec).open


def sharing(store: str | None, shared: SharedSpec | None) -> Settings:
    """Settings with a store of shared limits, and how they are used."""
    return Settings(server=ServerSpec(lease_store=store), gate=GateSpec(limits=LimitsSpec(shared=shared)))


def test_limits_begin_and_cease_to_be_shared_with_a_restart() -> None:
    """The store that a gateway has stays, and none is begun; what it does without its store may change at once."""
    alone, together = sharing(None, None), sharing("redis://a", SharedSpec())
    other = sharing("redis://b", SharedSpec(away="local"))
    assert settled(alone, together) == alone
    assert settled(together, alone) == together
    assert settled(together, other) == replace(other, server=together.server)
    assert settled(alone, Settings()) == Settings()
