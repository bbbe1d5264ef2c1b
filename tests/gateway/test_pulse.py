"""What every request looks at follows the settings."""

import msgspec

from penstock.config.schema import GatewayTimeouts, LimitSpec, ServerSpec
from penstock.gateway.pulse import Pulse


def test_new_settings_reach_it() -> None:
    """A reload changes the bounds of connections that are open already, and neither the time nor draining."""
    pulse = Pulse(7.0, 0.1, ServerSpec())
    pulse.draining = True
    limits = msgspec.structs.replace(LimitSpec(), head_bytes=1, body_bytes=2)
    timeouts = msgspec.structs.replace(GatewayTimeouts(), keep_alive_s=3.0, request_head_s=4.0, send_s=5.0)
    pulse.apply(msgspec.structs.replace(ServerSpec(), limits=limits, timeouts=timeouts))
    assert (pulse.head_bytes, pulse.body_bytes) == (1, 2)
    assert (pulse.keep_alive_s, pulse.request_head_s, pulse.send_s) == (3.0, 4.0, 5.0)
    assert (pulse.now, pulse.sweep_s, pulse.draining) == (7.0, 0.1, True)
