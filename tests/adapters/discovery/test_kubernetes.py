"""Endpoints of a service: ready ones, each once, on the port that is meant."""

from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.discovery.kubernetes import KubernetesSource, KubernetesSpec, endpoints
from penstock.base.nouns import Found
from tests.helpers.kubernetes import cluster
from tests.helpers.kubernetes_objects import endpoint
from tests.helpers.wire import run

HTTP = {"name": "http", "port": 8000}
GRPC = {"name": "grpc", "port": 8001}


def piece(*ends: dict[str, Any], ports: tuple[dict[str, Any], ...] = (HTTP,), **more: Any) -> dict[str, Any]:
    """A slice."""
    return {"addressType": "IPv4", "ports": list(ports), "endpoints": list(ends), **more}


def test_who_is_ready() -> None:
    """Not said is ready; one that ends takes nothing new, though it may still serve."""
    found = endpoints(
        [
            piece(
                endpoint("10.0.0.1"),
                endpoint("10.0.0.2", ready=True, serving=True, terminating=False),
                endpoint("10.0.0.3", ready=False),
                endpoint("10.0.0.4", ready=True, terminating=True, serving=True),
            ),
            piece(endpoint("10.0.0.1"), endpoint("10.0.0.9")),
            piece(endpoint("x.example"), addressType="FQDN"),
            {"addressType": "IPv4", "ports": None, "endpoints": None},
        ],
        None,
    )
    assert [it.address for it in found] == ["10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.9:8000"]


def test_a_pod_of_both_families_is_one_replica() -> None:
    """A dual-stack service has each of its pods in a slice of each family; one that has IPv6 alone is found by that."""
    old, new = piece(endpoint("10.0.0.1")), piece(endpoint("fd00::1"), addressType="IPv6")
    assert [it.address for it in endpoints([old, new], None)] == ["10.0.0.1:8000"]
    assert [it.address for it in endpoints([piece(), new], None)] == ["[fd00::1]:8000"]


def test_a_pod_that_becomes_unready_is_no_new_replica() -> None:
    """Of a dual-stack service the slice of IPv4 says so before that of IPv6 does: its other address stays unused."""
    old = piece(endpoint("10.0.0.1", ready=False))
    assert endpoints([old, piece(endpoint("fd00::1"), addressType="IPv6")], None) == ()


def test_which_port() -> None:
    """By name or number; a slice without it has no replicas; several and none named is a mistake that is told."""
    both = [piece(endpoint("10.0.0.1"), ports=(HTTP, GRPC)), piece(endpoint("10.0.0.2"), ports=(GRPC,))]
    assert endpoints(both, "http") == endpoints(both, "8000") == (Found(host="10.0.0.1", port=8000),)
    assert endpoints(both, "grpc") == (Found(host="10.0.0.1", port=8001), Found(host="10.0.0.2", port=8001))
    assert endpoints(both, "metrics") == ()
    with pytest.raises(ValueError, match="set `port` to one of http, grpc"):
        endpoints(both, None)


@pytest.mark.slow
def test_a_service(tmp_path: Path) -> None:
    """Asked of an API server: other services' slices are not looked at."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            server.serve("chat", endpoint("10.0.0.1"), endpoint("10.0.0.2", ready=False))
            server.serve("other", endpoint("10.0.0.3"))
            source = KubernetesSource(KubernetesSpec(service="chat", kubeconfig=config))
            assert (await source.look(5.0)).found == (Found(host="10.0.0.1", port=8000),)
            server.serve("chat", endpoint("10.0.0.2"))
            assert (await source.look(5.0)).found == (Found(host="10.0.0.2", port=8000),)

    run(main)
