"""Checks of what the file says about sources of replicas: names, addresses, ports, paths."""

import re

from penstock.adapters.discovery.dns import parse_nameserver
from penstock.adapters.discovery.static import parse_address
from penstock.config.addresses import is_host
from penstock.config.mistakes import Mistakes, Path
from penstock.config.schema import DnsConf, KubernetesConf, SourceConf

_PATH = re.compile(r"/[!-~]*")
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def is_path(text: str) -> bool:
    """Whether this is the path of a URL."""
    return bool(_PATH.fullmatch(text)) and not set(text) & set("?#\\")


def is_object(text: str) -> bool:
    """Whether this can be the name of an object in Kubernetes (RFC 1123)."""
    return bool(_OBJECT.fullmatch(text))


def check_source(conf: SourceConf, path: Path, mistakes: Mistakes) -> None:
    """Mistakes in one source."""
    if conf.path and not is_path(conf.path):
        mistakes.wrong((*path, "path"), conf.path, "a base path, like /llm", "it begins with /")
    if isinstance(conf, DnsConf):
        _check_dns(conf, path, mistakes)
        return
    if isinstance(conf, KubernetesConf):
        _check_kubernetes(conf, path, mistakes)
        return
    if not conf.addresses:
        mistakes.say((*path, "addresses"), "found none, expected at least one host:port")
    for at, text in enumerate(conf.addresses):
        try:
            parse_address(text)
        except ValueError:
            mistakes.wrong((*path, "addresses", at), text, "host:port, or [IPv6]:port")


def _check_dns(conf: DnsConf, path: Path, mistakes: Mistakes) -> None:
    if not is_host(conf.name):
        mistakes.wrong((*path, "name"), conf.name, "a DNS name without scheme or port, like vllm.default.svc")
    if conf.type == "srv" and conf.port is not None:
        mistakes.say((*path, "port"), "an SRV record names the port itself: leave it out")
    if conf.type != "srv" and conf.port is None:
        mistakes.say((*path, "port"), "missing, expected the port on which the replicas serve")
    for name, value in (("interval", conf.interval_s), ("timeout", conf.timeout_s)):
        if not value:
            mistakes.say((*path, name), "found 0, expected more than 0")
    for at, text in enumerate(conf.nameservers):
        try:
            parse_nameserver(text)
        except ValueError:
            mistakes.wrong((*path, "nameservers", at), text, "an IP address, or one with a port, like 10.0.0.10:53")


def _check_kubernetes(conf: KubernetesConf, path: Path, mistakes: Mistakes) -> None:
    for name, text in (("service", conf.service), ("namespace", conf.namespace)):
        if text is not None and not is_object(text):
            mistakes.wrong((*path, name), text, "a name of Kubernetes: small letters, digits, - and .")
    if not conf.timeout_s:
        mistakes.say((*path, "timeout"), "found 0, expected more than 0")
