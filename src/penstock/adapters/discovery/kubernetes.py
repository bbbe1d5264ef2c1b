"""Replicas by a Kubernetes service: every ready endpoint of its EndpointSlices is one.

The API server is told apart from a name server: it says the whole, so an address that it takes back is gone at once.
An empty answer is still believed only where the configuration says so, because all pods of a service are unready for a
moment more often than they are gone.
"""

from typing import Annotated, Any

from msgspec import Meta, field

from penstock.adapters.discovery.settle import TrustSpec
from penstock.adapters.kubernetes.client import Cluster, Context, Json, Kubeconfig, Namespace
from penstock.adapters.kubernetes.watched import Watched
from penstock.base.nouns import Found
from penstock.base.ports import Sighting
from penstock.base.units import Seconds

SLICES = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
PAUSE_S = 1.0
"""Between two looks: what changes meanwhile is seen in one."""


def _doc(text: str) -> Meta:
    return Meta(description=text)


class KubernetesSpec(TrustSpec, frozen=True, kw_only=True, tag="kubernetes", tag_field="kind"):
    """A Kubernetes service whose ready endpoints are replicas."""

    service: Annotated[str, Meta(min_length=1, max_length=253), _doc("its name; a headless one will do")]
    port: Annotated[str | None, _doc("name or number of the endpoints' port; none: their only one")] = None
    namespace: Namespace = None
    kubeconfig: Kubeconfig = None
    context: Context = None
    watch_s: Annotated[
        Seconds,
        _doc("how long one question for changes stays open; they come at once; 0: the whole is asked for every second"),
    ] = field(default=30.0, name="watch")
    timeout_s: Annotated[Seconds, _doc("for one look, beyond `watch`")] = field(default=5.0, name="timeout")
    missing_after_s: Annotated[Seconds, _doc("an endpoint is given up once the service has lacked it for so long")] = (
        field(default=0.0, name="missing_after")
    )


class KubernetesSource:
    """A service."""

    def __init__(self, spec: KubernetesSpec) -> None:
        self._spec = spec
        self._slices = Watched(Cluster(spec.namespace, spec.kubeconfig, spec.context))

    async def look(self, timeout_s: float) -> Sighting:
        """See `base.ports.Source`. Waits for a change, so the time that it is given is the time that it takes."""
        params = {"labelSelector": f"kubernetes.io/service-name={self._spec.service}"}
        slices = await self._slices.look(SLICES, params, min(self._spec.watch_s, timeout_s), timeout_s)
        return Sighting(endpoints(slices, self._spec.port))


def endpoints(slices: list[Json], port: str | None) -> tuple[Found, ...]:
    """Every ready endpoint once: a service of both families has each in two slices, of which that of IPv4 counts,
    ready or not (the two change one after the other). Raises ValueError where nobody could tell its port."""
    old = any(it.get("addressType") == "IPv4" and it.get("endpoints") for it in slices)
    return _of_family("IPv4" if old else "IPv6", slices, port)


def _of_family(family: str, slices: list[Json], port: str | None) -> tuple[Found, ...]:
    found: dict[str, Found] = {}
    for it in slices:
        if it.get("addressType") != family:  # nor FQDN: deprecated, and nobody resolves them
            continue
        number = _port(it.get("ports") or [], port)
        for endpoint in it.get("endpoints") or []:
            if number is None or not _ready(endpoint.get("conditions") or {}):
                continue
            one = Found(host=str(endpoint["addresses"][0]), port=number)
            found[one.address] = one
    return tuple(found[address] for address in sorted(found))


def _ready(conditions: dict[str, Any]) -> bool:
    """As the API says: not said is ready. One that ends takes nothing new, though it may still serve."""
    return conditions.get("ready") is not False and not conditions.get("terminating")


def _port(ports: list[dict[str, Any]], wanted: str | None) -> int | None:
    """The port of a slice's endpoints; None: it has no such port. Raises ValueError where it has several."""
    fitting = [
        it for it in ports
        if it.get("port") and (wanted is None or wanted in (it.get("name") or "", str(it["port"])))
    ]  # fmt: skip
    if len(fitting) > 1:
        names = ", ".join(str(it.get("name") or it["port"]) for it in fitting)
        raise ValueError(f"the service has several ports: set `port` to one of {names}")
    return int(fitting[0]["port"]) if fitting else None
