"""Replicas by a DNS name: every address of an A or AAAA name, or every target of an SRV name, is one.

A and AAAA are asked of the system's resolver, which knows /etc/hosts and search domains but tells no TTL. SRV, and any
question to name servers of one's own choice, go through dnspython (extra `dns`), imported only when somebody asks.
Refused: both families at once, because a replica with two addresses would count twice; a DNS client of our own,
because truncation, compression and search lists are a library's work.
"""

import asyncio
import importlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from penstock.adapters.discovery.settle import TrustSpec
from penstock.base.nouns import Found
from penstock.base.ports import Sighting
from penstock.base.units import Seconds

LEAST_WEIGHT = 0.01
"""SRV's weight 0 means a small chance, not none (RFC 2782)."""
MOST_THREADS = 64
"""Questions at once; one that hangs holds its thread until the resolver gives up."""


def _doc(text: str) -> Meta:
    return Meta(description=text)


class DnsSpec(TrustSpec, frozen=True, kw_only=True, tag="dns", tag_field="kind"):
    """A DNS name whose addresses are replicas."""

    name: Annotated[str, Meta(min_length=1, max_length=253), _doc("the name, e.g. vllm.default.svc.cluster.local")]
    type: Annotated[Literal["a", "aaaa", "srv"], _doc("which records; srv needs the extra `dns`")] = "a"
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None, _doc("port of every replica; none for srv, which names ports")
    ] = None
    interval_s: Annotated[Seconds, _doc("between two looks; a shorter TTL brings the next one forward")] = field(
        default=10.0, name="interval"
    )
    timeout_s: Annotated[Seconds, _doc("for one look")] = field(default=5.0, name="timeout")
    nameservers: Annotated[
        tuple[str, ...], _doc("addresses of name servers, 10.0.0.10 or 10.0.0.10:53; none: the system's; needs `dns`")
    ] = ()


class DnsSource:
    """A name."""

    def __init__(self, spec: DnsSpec, lookup: Callable[..., Any] = socket.getaddrinfo) -> None:
        """`lookup` has the signature of `socket.getaddrinfo`."""
        self._spec = spec
        self._lookup = lookup

    async def look(self, timeout_s: float) -> Sighting:
        """See `base.ports.Source`."""
        spec = self._spec
        async with asyncio.timeout(timeout_s):
            if spec.type == "srv":
                return _targets(await _ask(spec, "SRV", timeout_s))
            if spec.nameservers:
                answer = await _ask(spec, spec.type.upper(), timeout_s)
                return Sighting(self._at([record.address for record in _records(answer)]), _ttl(answer))
            return Sighting(self._at(await self._by_system()))

    def _at(self, hosts: list[str]) -> tuple[Found, ...]:
        port = self._spec.port or 0
        found = {host: Found(host=host, port=port) for host in sorted(hosts, key=_numerically)}
        return tuple(found.values())

    async def _by_system(self) -> list[str]:
        family = socket.AF_INET if self._spec.type == "a" else socket.AF_INET6
        try:
            told = await _in_thread(lambda: self._lookup(self._spec.name, self._spec.port, family, socket.SOCK_STREAM))
        except socket.gaierror as error:
            if error.errno == getattr(socket, "EAI_NODATA", None):
                return []  # the name is there, an address is not
            raise
        except UnicodeError as error:
            raise ValueError(f"not a name that can be asked for: {error}") from None
        # a link-local address holds for one network card of this host alone
        return [str(entry[4][0]) for entry in told if "%" not in str(entry[4][0])]


def _numerically(host: str) -> tuple[int, int]:
    address = ipaddress.ip_address(host)
    return address.version, int(address)


# ===== resolvers block =====

_free = threading.BoundedSemaphore(MOST_THREADS)


async def _in_thread(work: Callable[[], Any]) -> Any:
    """Do blocking work beside. Not in the loop's own threads: a resolver that hangs would take them all, and hold up
    the process' end; these are daemons. Raises OSError where too many hang already."""
    if not _free.acquire(blocking=False):
        raise OSError(f"{MOST_THREADS} questions to name servers hang already")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    telling, awaited = threading.Lock(), [True]

    def settle(set_it: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            set_it(value)

    def run() -> None:
        outcome: tuple[Callable[[Any], None], Any]
        try:
            outcome = (done.set_result, work())
        except Exception as error:
            outcome = (done.set_exception, error)
        finally:
            _free.release()
        with telling:  # a loop that is told something while it closes may never come to an end (uvloop's)
            if awaited:
                loop.call_soon_threadsafe(settle, *outcome)

    try:
        threading.Thread(target=run, name="penstock-dns", daemon=True).start()
    except RuntimeError as error:  # the system gives no more of them for now
        _free.release()
        raise OSError(f"a name server cannot be asked: {error}") from None
    try:
        return await done
    finally:
        with telling:
            awaited.clear()


# ===== dnspython =====


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise OSError("dnspython is not installed: install `penstock[dns]` for srv and nameservers") from None


async def _ask(spec: DnsSpec, kind: str, timeout_s: float) -> Any:
    """Beside the loop as well. Refused: the library's asynchronous resolver, whose question left a socket open in its
    loop when it was given up while that was being made; such a loop (uvloop's) never closed."""
    return await _in_thread(lambda: _answer(spec, kind, timeout_s))


def _answer(spec: DnsSpec, kind: str, timeout_s: float) -> Any:
    resolver_module, errors = _package("dns.resolver"), _package("dns.exception")
    try:
        resolver = resolver_module.Resolver(configure=not spec.nameservers)
        if spec.nameservers:
            resolver.nameservers = [_server(text) for text in spec.nameservers]
        return resolver.resolve(spec.name, kind, raise_on_no_answer=False, search=True, lifetime=timeout_s)
    except errors.DNSException as error:
        raise OSError(f"{type(error).__name__}: {error}") from None


def _server(text: str) -> Any:
    host, port = parse_nameserver(text)
    return _package("dns.nameserver").Do53Nameserver(host, port)


def parse_nameserver(text: str) -> tuple[str, int]:
    """The IP address and the port of a name server. Raises ValueError."""
    host, port = text, "53"
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    ipaddress.ip_address(host)
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"no port: {port[:20]!r}")
    return host, int(port)


def _records(answer: Any) -> list[Any]:
    return [] if answer.rrset is None else list(answer.rrset)


def _ttl(answer: Any) -> float | None:
    return None if answer.rrset is None else float(answer.chaining_result.minimum_ttl)


def _targets(answer: Any) -> Sighting:
    """SRV: the lowest priority serves, the others are backups; weights are relative to their mean."""
    records = [record for record in _records(answer) if record.target.to_text() != "."]  # ".": there is no service
    records.sort(key=lambda record: (record.priority, record.target.to_text(), record.port))
    found: dict[str, Found] = {}
    for record in records:
        peers = [other.weight for other in records if other.priority == record.priority]
        mean = sum(peers) / len(peers)
        weight = max(LEAST_WEIGHT, record.weight / mean) if mean else 1.0
        host = record.target.to_text(omit_final_dot=True)
        one = Found(host=host, port=record.port, weight=weight, backup=record.priority > records[0].priority)
        found.setdefault(one.address, one)
    return Sighting(tuple(found.values()), _ttl(answer))
