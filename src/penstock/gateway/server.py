"""The data plane put together: listens, admits clients, joins them with the Gate, sweeps time-outs, drains.

It decides nothing about calls: whole valid requests become facts, the Gate's orders become bytes.
"""

import asyncio
import ipaddress
import itertools
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from msgspec import UNSET

from penstock.adapters.wire.malformed import Malformed
from penstock.base.contents import Content
from penstock.base.errors import REFUSALS, Label
from penstock.base.nouns import Call
from penstock.base.ports import Dialect
from penstock.config.schema import ServerSpec, Settings
from penstock.core.cache.spec import CacheSpec
from penstock.core.effects import Effect
from penstock.core.events import Arrived, ClientGone, Event
from penstock.core.route.presets import reads_prefix
from penstock.core.spec import ProbeSpec, ScrapeSpec
from penstock.gateway.cache.cached import CachedExchange
from penstock.gateway.cache.comparing import Comparer, comparer
from penstock.gateway.cache.content import content_of
from penstock.gateway.cache.shelf import Shelf
from penstock.gateway.call.carriage import Carriage
from penstock.gateway.call.exchange import Exchange
from penstock.gateway.call.grouping import alike, prompts_in
from penstock.gateway.client.fields import Fields
from penstock.gateway.client.head import Head, Peer, cookie_line, session_of
from penstock.gateway.client.inbound import BODY, BUSY, Inbound
from penstock.gateway.client.multipart import peek_form
from penstock.gateway.client.peek import ATTACHED_TOKENS, answers, guess_tokens, most_tokens, peek, peek_prompt, user_of
from penstock.gateway.fleet.outbound import Outbound
from penstock.gateway.outbox import Outbox
from penstock.gateway.perform import Performer
from penstock.gateway.processes.lessee import Lessee, open_lessee
from penstock.gateway.pulse import Pulse

log = logging.getLogger("penstock.gateway")

SWEEP_S: Final = 0.1
"""How often deadlines are looked at; a time-out comes up to two of these late, never early."""
ASK_USAGE: Final = True
"""Whether streams are asked for their usage where the client does not: without it tokens can only be estimated."""
_NO_PREFIX: Final[tuple[int, ...]] = ()
_CLOSE_S: Final = 2.0
"""How long clients may take to read a last answer once everything else has ended."""
_MOST_TOLD: Final = 128
"""Characters of a client's own words in an error."""
_OVER_LIMIT: Final = 256
"""Connections beyond the limit that still get an answer; further ones are closed without one."""


def _check(fields: Fields, model: str, head: Head) -> None:
    if head.most_tokens is not None and fields.n_predict and bytes(fields.n_predict) != b"null":
        raise Malformed("bad_request", "Say 'max_tokens', not 'n_predict': limits go by that.", "n_predict")
    if head.models is not None and model not in head.models:
        raise Malformed("forbidden", f"This API key may not use the model {model[:_MOST_TOLD]!r}.", "model")


class Teller(Protocol):
    """What takes facts: the pump."""

    def tell(self, event: Event) -> None:
        """Tell the Gate."""
        ...


class DataPlane:
    """The sockets of the gateway."""

    perform: Callable[[Effect], None]
    cache: CacheSpec
    _caches: bool
    """There is a cache."""
    similar: Comparer | None = None
    """Who compares questions in other words; None: nobody."""
    lease_name = ""
    """By which name it asks for leases; empty: any."""

    def __init__(
        self, settings: Settings, dialect_of: Callable[[str], Dialect], models: Callable[[], Iterable[str]],
        ready: Callable[[], bool], *, sweep_s: float = SWEEP_S, ask_usage: bool = ASK_USAGE, looks: bool = True,
        name: str = "",
    ) -> None:  # fmt: skip
        """`looks`: replicas are looked at from here. `name` stands in the ids of its calls."""
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(self._loop.call_soon)
        self._models = models
        self.ready = ready
        self._ask_usage = ask_usage
        self.pulse = Pulse(self._loop.time(), sweep_s, settings.server)
        self.server: ServerSpec = settings.server
        self.timeouts = settings.server.timeouts
        self.exchanges: dict[str, Exchange] = {}
        self.carriages: dict[str, Carriage] = {}
        self.buffered_bytes = 0
        """Request bodies held."""
        self.refused: dict[str, int] = {}
        """Requests answered here without the Gate, by label."""
        self._connections: dict[Inbound, None] = {}
        self._prefix = os.urandom(4).hex() + name
        self._serves = bool(name) or settings.server.workers == 1
        """Not only workers do."""
        self._numbers = itertools.count(1)
        self._accepted = self._requests = 0
        self._proxies: tuple[Any, ...] = ()
        self._probes: dict[str, ProbeSpec] = {}
        self._scrapes: dict[str, ScrapeSpec] = {}
        self._cookies: dict[str, bytes] = {}
        self._groups = self._reads_prefix = False
        """A pool lets requests go together; a pool's strategy wants to know how prompts begin."""
        self.shelf = Shelf()
        self._listeners: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self.outbound = Outbound(self, settings.server.upstream)
        performer = Performer(self, dialect_of, looks)
        self.perform, self.keeper = performer.perform, performer.keeper
        self.tell: Callable[[Event], None] = _nobody
        self.lessee: Lessee | None = None
        self._idle, self._empty = asyncio.Event(), asyncio.Event()
        self.apply(settings)

    # ===== life =====

    def attach(self, pump: Teller) -> None:
        """From now on facts go there."""
        self.tell = pump.tell

    def apply(self, settings: Settings) -> None:
        """New settings. Nothing is dropped: connections and calls go on under the new bounds."""
        self.server = settings.server
        self.timeouts = settings.server.timeouts
        self.pulse.apply(settings.server)
        self._proxies = tuple(ipaddress.ip_network(proxy, strict=False) for proxy in settings.server.trusted_proxies)
        self._probes = {pool.name: pool.probe for pool in settings.gate.pools}
        self.cache, self._caches = settings.gate.cache or CacheSpec(), settings.gate.cache is not None
        self.similar = comparer(self, self.cache.semantic if self._serves else None)
        self._reads_prefix = any(reads_prefix(pool.strategy) for pool in settings.gate.pools)
        self._groups = any(pool.batching is not None for pool in settings.gate.pools)
        self._scrapes = {pool.name: pool.scrape for pool in settings.gate.pools}
        self._cookies = {
            pool.name: cookie_line(pool.sticky.cookie, pool.sticky.ttl_s, settings.server.tls is not None)
            for pool in settings.gate.pools
            if pool.sticky is not None and pool.sticky.cookie is not None
        }
        self.outbound.apply(settings.replicas, settings.access, settings.server.upstream)

    async def start(self, *, reuse_port: bool = False) -> None:
        """Listen. Raises OSError that names the address, ssl.SSLError or OSError for TLS files that cannot be used."""
        host, port = self.server.listen
        context = None
        if self.server.lease_store is not None:
            self.lessee = open_lessee(self.server.lease_store, self.tell, self.lease_name)
        if self.server.tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.server.tls.cert, self.server.tls.key)
            context.set_alpn_protocols(["http/1.1"])
        try:
            listener = await self._loop.create_server(
                lambda: Inbound(self), host, port, ssl=context, backlog=self.server.limits.backlog,  # type: ignore[arg-type, return-value]
                reuse_port=reuse_port or None, reuse_address=True,
            )  # fmt: skip
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        self._listeners.append(listener)
        self._sweep()

    def begin(self) -> None:
        """Look at the time without listening: clients come to others."""
        self._sweep()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        # uvloop's is a list, whatever asyncio's types say
        sockets: list[Iterable[socket.socket]] = [getattr(listener, "sockets", ()) for listener in self._listeners]
        return [sock.getsockname()[:2] for each in sockets for sock in each]

    async def drain(self, timeout_s: float) -> None:
        """Stop: refuse new work with 503, let answers finish within the time, then cut them with a clear error.

        It listens until nothing is under way: a client that is told 503 knows more than one that is not let in.
        """
        self.pulse.draining = True
        for inbound in list(self._connections):
            inbound.close_if_idle()
        self._note_end()
        if not await _within(timeout_s, self._idle):
            log.warning("draining took too long: %d calls are cut", len(self.exchanges))
        for listener in self._listeners:
            listener.close()
        for exchange in list(self.exchanges.values()):
            self._cut(exchange)
        for inbound in list(self._connections):
            inbound.close_if_idle()
        await _within(_CLOSE_S, self._empty)
        for inbound in list(self._connections):
            inbound.transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.outbound.close()

    def _cut(self, exchange: Exchange) -> None:
        attempts = list(exchange.attempts)
        for attempt in attempts:
            attempt.fail("cut_by_shutdown")
        if not exchange.over:
            label: Label = "cut_by_shutdown" if attempts else "shutting_down"
            exchange.end_with(label, REFUSALS[label].http)
            self.tell(ClientGone(exchange.id))

    def _note_end(self) -> None:
        """While draining: is anything still under way?"""
        if not self.exchanges and not any(inbound.state in (BODY, BUSY) for inbound in self._connections):
            self._idle.set()
        if not self._connections:
            self._empty.set()

    # ===== clients =====

    def peer(self, transport: asyncio.Transport) -> Peer:
        """Who is at the other end."""
        name = transport.get_extra_info("peername")
        address = str(name[0]) if isinstance(name, tuple) else "unknown"
        scheme = b"https" if self.server.tls is not None else b"http"
        return Peer(address.encode("ascii", "replace"), self._trusts(address), scheme)

    def _trusts(self, address: str) -> bool:
        if not self._proxies:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)

    def admit(self, inbound: Inbound) -> Label | None:
        """Count a new connection; why it is sent away, otherwise None."""
        self._connections[inbound] = None
        self._accepted += 1
        beyond = len(self._connections) - self.server.limits.connections
        if beyond > _OVER_LIMIT:
            inbound.transport.abort()
        if self.pulse.draining:
            return "shutting_down"
        return "overloaded" if beyond > 0 else None

    def lost(self, inbound: Inbound) -> None:
        """A connection has closed."""
        self._connections.pop(inbound, None)
        if self.pulse.draining and not self._connections:
            self._empty.set()

    def models(self) -> list[str]:
        """The served models."""
        return sorted(self._models())

    def count_refusal(self, label: str) -> None:
        """A request was answered here, without the Gate."""
        self.refused[label] = self.refused.get(label, 0) + 1

    def arrived(self, inbound: Inbound, head: Head, body: bytes) -> None:
        """A whole request for a replica. Raises Malformed where its body is wrong."""
        if self.buffered_bytes + len(body) > self.server.limits.buffered_bytes:
            raise Malformed("overloaded")
        route, prefix, prompt_bytes, span = head.route, _NO_PREFIX, 0, (0, 0)
        guess = ATTACHED_TOKENS if route.body == "multipart" else guess_tokens(body)
        if route.prompt and self._reads_prefix:
            fields, prefix, prompt_bytes = peek_prompt(body)
        elif route.body == "json":
            fields = peek(body)
        else:
            form = peek_form(head.content_type, body)
            fields = Fields(model=form.model, stream=form.stream)
            span = form.model_at
        model = fields.model or ""
        if not model and route.needs_model:
            raise Malformed("bad_request", "The request must name a 'model'.", "model")
        _check(fields, model, head)
        stream, options = fields.stream or False, fields.stream_options
        told = options is not None and options.include_usage
        wants_usage = stream and route.may_ask_usage and self._ask_usage and not told
        call_id = f"{self._prefix}-{next(self._numbers)}"
        content = self._content(head, body, fields) if self._caches else None
        kind = Exchange if content is None else CachedExchange
        exchange = kind(self, inbound, call_id, head, body, model, wants_usage)
        if self.similar is not None and content is not None and isinstance(exchange, CachedExchange):
            content, exchange.question = self.similar.framed(content, head.path, body, self.cache)
        exchange.model_at = span
        self.exchanges[call_id] = inbound.exchange = exchange
        self._requests += 1
        choices = answers(fields) * (prompts_in(body) if route.lists == b"prompt" else 1)
        most = most_tokens(fields, route.most_tokens, route.chats)
        if most is None and head.most_tokens is not None and route.most_tokens:
            most = exchange.most_tokens = head.most_tokens
        session = head.session
        if self._cookies and not session:
            exchange.cookie, exchange.cookies = os.urandom(12).hex().encode(), self._cookies
            session = session_of(exchange.cookie)
        self.tell(
            Arrived(
                Call(
                    call_id, model, head.path, head.host, head.tenant, head.key, head.client_id, stream,
                    True, head.wishes.priority, guess, most, len(body),
                    session, user_of(fields) if fields.user else "", prefix, prompt_bytes,
                    head.wishes.latency_s, head.tier, choices, head.region, content or UNSET,
                ),
                alike(exchange) if self._groups and route.lists and not stream else "",
                head.client,
            )
        )  # fmt: skip

    def _content(self, head: Head, body: bytes, fields: Fields) -> Content | None:
        """What the cache needs to know; HTTP/1.0 frames answers otherwise, and has none."""
        return None if head.http10 else content_of(head.path, body, fields, head.wishes, self.cache)

    def new_id(self) -> str:
        """For a call of our own."""
        self._requests += 1
        return f"{self._prefix}-{next(self._numbers)}"

    def gave(self, call_id: str) -> bool:
        """Whether this process has given a request that id."""
        prefix, dash, number = call_id.rpartition("-")
        made = number.isascii() and number.isdigit() and len(number) < 16 and 0 < int(number) <= self._requests
        return bool(dash) and prefix == self._prefix and made

    def fail(self, call_id: str) -> None:
        """A bug has cost this call: end it."""
        exchange = self.exchanges.pop(call_id, None)
        if exchange is not None:
            exchange.end_with("internal", REFUSALS["internal"].http)

    def forget(self, call_id: str) -> None:
        """The call is over: nothing of it may stay."""
        exchange = self.exchanges.pop(call_id, None)
        if exchange is not None and not exchange.over:
            exchange.end_with("internal", REFUSALS["internal"].http)

    # ===== time =====

    def _sweep(self) -> None:
        """Look at every deadline. One timer for all of them: none is made or taken back per request."""
        now = self._loop.time()
        self.pulse.now = now
        for inbound in [inbound for inbound in self._connections if inbound.deadline <= now]:
            inbound.expire(now)
        for carriage in list(self.carriages.values()):
            carriage.expire(now)
        self.outbound.sweep(now)
        if self.pulse.draining:
            self._note_end()
        self._timer = self._loop.call_later(self.pulse.sweep_s, self._sweep)

    # ===== for others =====

    def probe_spec(self, pool: str) -> ProbeSpec:
        """How the replicas of a pool are probed."""
        return self._probes.get(pool) or ProbeSpec()

    def scrape_spec(self, pool: str) -> ScrapeSpec:
        """How the metrics of a pool's replicas are read."""
        return self._scrapes.get(pool) or ScrapeSpec()

    def counters(self) -> dict[str, int]:
        """What is held; all but the totals are zero when nothing goes on and no client is connected."""
        return {
            "connections": len(self._connections),
            "exchanges": len(self.exchanges),
            "upstream_connections": self.outbound.open,
            "upstream_idle": self.outbound.idle,
            "upstream_pending": self.outbound.connecting,
            "buffered_bytes": self.buffered_bytes,
            "accepted_total": self._accepted,
            "requests_total": self._requests,
        }


async def _within(timeout_s: float, event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _nobody(event: Event) -> None:
    raise RuntimeError("no pump is attached")
