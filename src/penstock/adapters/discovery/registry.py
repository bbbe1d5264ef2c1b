"""Which source a description stands for. Built-in sources are listed here, explicitly."""

from penstock.adapters.discovery.dns import DnsSource, DnsSpec
from penstock.adapters.discovery.settle import TrustSpec
from penstock.adapters.discovery.static import StaticSource, StaticSpec
from penstock.base.ports import Source

Spec = DnsSpec | StaticSpec


def source_of(spec: Spec) -> Source:
    """The source that this describes."""
    return DnsSource(spec) if isinstance(spec, DnsSpec) else StaticSource(spec)


def describe(spec: Spec) -> str:
    """What it asks for, in a few words: what tells a pool's sources apart."""
    if isinstance(spec, DnsSpec):
        return f"dns {spec.type} {spec.name}" + (f":{spec.port}" if spec.port is not None else "")
    return "static " + ",".join(spec.addresses)[:100]


def trust_of(spec: Spec) -> TrustSpec:
    """How far its answers are believed: a list that a person wrote is believed as it is."""
    return spec if isinstance(spec, DnsSpec) else TrustSpec(missing_after_s=0.0, empty_after=1, max=10_000)


def interval_of(spec: Spec) -> tuple[float, float]:
    """Seconds between two looks, and for one look."""
    return (spec.interval_s, spec.timeout_s) if isinstance(spec, DnsSpec) else (3600.0, 1.0)
