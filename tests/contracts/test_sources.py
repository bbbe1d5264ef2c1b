"""What every source of replicas keeps to, whether it is a list or a name asked of a real name server."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from penstock.adapters.discovery.dns import DnsSpec
from penstock.adapters.discovery.kubernetes import KubernetesSpec
from penstock.adapters.discovery.registry import Spec, describe, source_of
from penstock.adapters.discovery.static import StaticSpec
from penstock.base.ports import Source
from tests.helpers.dns import NameServer
from tests.helpers.kubernetes import cluster
from tests.helpers.kubernetes_objects import endpoint
from tests.helpers.wire import run

HOSTS = ["127.0.0.2", "127.0.0.3"]
Make = Callable[[], contextlib.AbstractAsyncContextManager[Spec]]


@contextlib.asynccontextmanager
async def a_list() -> AsyncIterator[Spec]:
    """Two addresses, one of them twice."""
    yield StaticSpec(addresses=tuple(f"{host}:80" for host in [*HOSTS, HOSTS[0]]))


@contextlib.asynccontextmanager
async def a_name() -> AsyncIterator[Spec]:
    """A name of two addresses."""
    async with NameServer({("chat.test", "A"): HOSTS}) as names:
        yield DnsSpec(name="chat.test", port=80, nameservers=(names.address,))


@contextlib.asynccontextmanager
async def a_service() -> AsyncIterator[Spec]:
    """An SRV name of two targets."""
    async with NameServer({("s.test", "SRV"): [f"0 1 80 {host}.test." for host in "ab"]}) as names:
        yield DnsSpec(name="s.test", type="srv", nameservers=(names.address,))


@contextlib.asynccontextmanager
async def an_endpoint_slice() -> AsyncIterator[Spec]:
    """A Kubernetes service of two ready endpoints, and one that is not."""
    with tempfile.TemporaryDirectory() as folder:
        async with cluster(Path(folder)) as (server, config):
            server.serve("chat", endpoint(HOSTS[0]), endpoint(HOSTS[1]), endpoint("127.0.0.4", ready=False))
            yield KubernetesSpec(service="chat", kubeconfig=config, watch_s=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("make", [a_list, a_name, a_service, an_endpoint_slice])
def test_a_source_hands_over_whole_snapshots(make: Make) -> None:
    """Asked twice, at once or later, it gives the same whole: each address once, a port that can be, a weight above
    zero. It has a name."""

    async def main() -> None:
        async with make() as spec:
            source: Source = source_of(spec)
            first, second = await source.look(2.0), await source.look(2.0)
            assert first == second
            assert len({it.address for it in first.found}) == len(first.found) == 2
            assert all(1 <= it.port <= 65535 and it.weight > 0 and it.host for it in first.found)
            assert describe(spec)

    run(main)


@pytest.mark.slow
@pytest.mark.parametrize("make", [a_list, a_name, a_service, an_endpoint_slice])
def test_a_source_keeps_to_its_time(make: Make) -> None:
    """With no time at all it answers at once or raises OSError: it never hangs, and never says less than the whole."""

    async def main() -> None:
        async with make() as spec:
            try:
                sighting = await source_of(spec).look(0.0)
            except OSError:
                return
            assert len(sighting.found) == 2

    run(main)
