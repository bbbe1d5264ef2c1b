"""Which source stands for which description."""

from penstock.adapters.discovery.dns import DnsSource, DnsSpec
from penstock.adapters.discovery.kubernetes import PAUSE_S, KubernetesSource, KubernetesSpec
from penstock.adapters.discovery.registry import describe, interval_of, source_of, trust_of
from penstock.adapters.discovery.static import StaticSource, StaticSpec


def test_each_kind_has_its_source() -> None:
    """And its name, its pace and its trust."""
    name, list_ = DnsSpec(name="chat.test", port=80), StaticSpec(addresses=("a:1", "b:2"))
    assert isinstance(source_of(name), DnsSource)
    assert isinstance(source_of(list_), StaticSource)
    assert describe(name) == "dns a chat.test:80"
    assert describe(DnsSpec(name="_llm._tcp.test", type="srv")) == "dns srv _llm._tcp.test"
    assert describe(list_) == "static a:1,b:2"
    assert interval_of(name) == (10.0, 5.0)
    assert trust_of(name) is name
    service = KubernetesSpec(service="chat", watch_s=20.0, timeout_s=3.0)
    assert isinstance(source_of(service), KubernetesSource)
    assert describe(service) == "kubernetes chat"
    full = KubernetesSpec(service="chat", namespace="models", context="eu", port="http")
    assert describe(full) == "kubernetes eu/models/chat:http"
    assert interval_of(service) == (PAUSE_S, 23.0)
    assert trust_of(service) is service
    assert trust_of(list_).empty_after == 1
