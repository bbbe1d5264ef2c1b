"""Which source a description stands for. Built-in sources are listed here, explicitly."""

from penstock.adapters.discovery.dns import DnsSource, DnsSpec
from penstock.adapters.discovery.kubernetes import PAUSE_S, KubernetesSource, KubernetesSpec
from penstock.adapters.discovery.settle import TrustSpec
from penstock.adapters.discovery.static import StaticSource, StaticSpec
from penstock.base.ports import Source

Spec = DnsSpec | KubernetesSpec | StaticSpec


def source_of(spec: Spec) -> Source:
    """The source that this describes."""
    if isinstance(spec, DnsSpec):
        return DnsSource(spec)
    return KubernetesSource(spec) if isinstance(spec, KubernetesSpec) else StaticSource(spec)


def describe(spec: Spec) -> str:
    """What it asks for, in a few words: what tells a pool's sources apart."""
    if isinstance(spec, DnsSpec):
        return f"dns {spec.type} {spec.name}" + (f":{spec.port}" if spec.port is not None else "")
    if isinstance(spec, KubernetesSpec):
        where = "/".join(part for part in (spec.context, spec.namespace, spec.service) if part)
        return f"kubernetes {where}" + (f":{spec.port}" if spec.port is not None else "")
    return "static " + ",".join(spec.addresses)[:100]


def trust_of(spec: Spec) -> TrustSpec:
    """How far its answers are believed: a list that a person wrote is believed as it is."""
    if isinstance(spec, DnsSpec | KubernetesSpec):
        return spec
    return TrustSpec(missing_after_s=0.0, empty_after=1, max=10_000)


def interval_of(spec: Spec) -> tuple[float, float]:
    """Seconds between two looks, and for one look."""
    if isinstance(spec, KubernetesSpec):
        return PAUSE_S, spec.watch_s + spec.timeout_s
    return (spec.interval_s, spec.timeout_s) if isinstance(spec, DnsSpec) else (3600.0, 1.0)
