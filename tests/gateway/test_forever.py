"""A gateway's process: one worker is the gateway itself, several have a parent. (Signals and ends: e2e/test_stop.)"""

import pytest
from msgspec.structs import replace

from penstock.config.schema import ServerSpec, Settings
from penstock.gateway import forever
from penstock.gateway.build import Gateway
from penstock.gateway.processes.parent import Parent
from tests.helpers.wire import run


@pytest.mark.parametrize(("workers", "kind"), [(1, Gateway), (2, Parent)])
def test_which_gateway_it_is(workers: int, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker: a plain gateway, no process more. Several: a parent."""
    made: list[Gateway] = []

    async def start(self: Gateway) -> None:
        made.append(self)
        raise OSError("enough")

    monkeypatch.setattr(Gateway, "start", start)
    monkeypatch.setattr(Parent, "start", start)
    settings = Settings(server=replace(ServerSpec(admin=None), workers=workers))

    async def main() -> None:
        with pytest.raises(OSError, match="enough"):
            await forever._serve(settings, None, None, lambda bound: None)

    run(main)
    assert [type(one) for one in made] == [kind]
