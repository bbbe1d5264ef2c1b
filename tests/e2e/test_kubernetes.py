"""A gateway that scales a Deployment and finds a service, against an API server stand-in: it starts, is killed, comes
back, and an outage of the API server is nobody's outage."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.kubernetes import DEPLOYMENT, cluster
from tests.helpers.kubernetes_objects import endpoint
from tests.helpers.processes import Gateway
from tests.helpers.traffic import ask, chat, eventually, ready, said, states
from tests.helpers.wire import run

pytestmark = pytest.mark.slow


def pools(config: str, port: int) -> dict[str, Any]:
    """One pool that scales a Deployment, one whose replicas are a service's endpoints."""
    probe = {"interval": "200ms", "timeout": "1s"}
    actuator = {"kind": "kubernetes", "deployment": DEPLOYMENT, "port": port, "kubeconfig": config}
    scale = {"min": 2, "max": 3, "interval": "300ms", "look": "100ms", "actuator": actuator}
    found = {"kind": "kubernetes", "service": "other", "kubeconfig": config, "replica": {"engine": "vllm"}}
    return {
        "pools": [
            {"name": "tiny", "models": ["tiny"], "probe": probe, "scale": {**scale, "replica": {"engine": "vllm"}}},
            {"name": "other", "models": ["other"], "probe": probe, "discover": [found]},
        ]
    }


async def is_fleet(gateway: Gateway, *names: str) -> None:
    """Wait until exactly these serve."""

    async def so() -> bool:
        now = await states(gateway)
        return {id for id, state in now.items() if state in ("healthy", "busy")} == set(names) == set(now)

    await eventually(so, f"a fleet of {names}", 20.0)


def test_a_deployment_and_a_service(start: Start, engines: list[str], tmp_path: Path) -> None:
    """Two pods are ordered and serve; after a SIGKILL the next gateway has the same two and orders none; while the API
    server is away calls are answered; an endpoint that comes joins at once."""
    port = int(engines[0].rpartition(":")[2])

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            server.pod_ip, server.service_port = "127.0.0.1", port
            server.serve("other", endpoint("127.0.0.1"))
            gateway = start(pools(config, port))
            await ready(gateway)
            other = f"127.0.0.1:{port}"
            await is_fleet(gateway, "tiny-1", "tiny-2", other)
            assert (await ask(gateway.port, chat(3))).status == 200
            before = sorted(server.pods)
            gateway.kill()

            gateway = start(pools(config, port))
            await ready(gateway)
            await is_fleet(gateway, "tiny-1", "tiny-2", other)
            assert (sorted(server.pods), server.replicas) == (before, 2)

            server.token = "another"

            async def is_shown() -> bool:
                return bool((await said(gateway.admin_port, "/admin/pools"))[0]["blind"])

            await eventually(is_shown, "the outage", 20.0)
            assert (await ask(gateway.port, chat(3))).status == 200
            await is_fleet(gateway, "tiny-1", "tiny-2", other)

    run(main, 60.0)
