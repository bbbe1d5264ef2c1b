"""What a request's head means to this gateway: which route, who asks, and which of its headers travel on.

Decided once per distinct head: clients repeat themselves, so a connection keeps its last verdict and uses it again when
the next head differs in nothing but the digits of its Content-Length.
"""

import hashlib
import re
from typing import Final

from msgspec import Struct

from penstock.adapters.wire.request import CHUNKED, RequestHead, parse_request_head
from penstock.base.errors import Label
from penstock.base.nouns import PRIORITIES, Tier
from penstock.config.schema import ServerSpec
from penstock.core.regions import RegionsSpec
from penstock.gateway.call.packing import takes_gzip
from penstock.gateway.client.clients import client_of
from penstock.gateway.client.paths import Route, find, missing
from penstock.gateway.client.wishes import Wishes

_ID: Final = re.compile(rb"[!-~]{1,128}")
_ADDRESSES: Final = re.compile(rb"[0-9A-Za-z.:\[\], \t_-]{1,1024}")
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,15})\r\n")
_PORT: Final = re.compile(rb":[0-9]*\Z")
"""Behind a host: an address of IPv6 ends with a bracket."""
_MAX_DIGITS: Final = 16

_NOT_FORWARDED: Final = frozenset((
    # of this connection alone (RFC 9110 7.6.1)
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"http2-settings", b"proxy-authorization", b"proxy-authenticate", b"expect",
    # we say these ourselves
    b"host", b"content-length", b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host",
    b"x-forwarded-port", b"forwarded", b"x-real-ip", b"via",
    # secrets of the client that the replica has no business with
    b"authorization", b"x-api-key", b"api-key", b"cookie",
    # llama-server keeps the stream that it names: it would go on without its client, and end another's of that name
    b"x-conversation-id",
    # a compressed answer could not be read, nor a request
    b"accept-encoding", b"content-encoding",
))  # fmt: skip

_OF_ONE: Final[tuple[bytes, ...]] = (
    b"x-forwarded-for:", b"x-forwarded-proto:", b"user-agent:", b"accept:", b"accept-language:",
    b"origin:", b"referer:",    b"traceparent:", b"tracestate:", b"baggage:", b"x-stainless-", b"sec-",
    b"pragma:", b"priority:", b"dnt:", b"date:",
)  # fmt: skip
"""Lines that requests may differ in and still go to an engine as one, which gets those of the first."""


class Peer(Struct, frozen=True):
    """Who is at the other end of a client's connection."""

    address: bytes
    trusted: bool
    """A proxy whose X-Forwarded-… headers are believed."""
    scheme: bytes = b"http"


class Head:
    """A request's head, judged."""

    __slots__ = (
        "_alike", "allow", "chunked", "client", "client_id", "content_type", "expect", "expires_at", "forward",
        "framed", "gzip", "head_only", "host", "http10", "keep_alive", "key", "method", "models", "most_tokens", "path",
        "refusal", "region", "route", "session", "target", "tenant", "tier", "wishes",
    )  # fmt: skip

    route: Route

    def __init__(self, parsed: RequestHead) -> None:
        self.method = parsed.method
        self.target = parsed.target
        self.path = parsed.target.partition(b"?")[0].decode("ascii")
        self.host = _PORT.sub(b"", parsed.host).lower().decode("ascii")
        self.http10 = parsed.http10
        self.keep_alive = parsed.keep_alive
        self.expect = parsed.expect
        self.chunked = parsed.length == CHUNKED
        self.framed = parsed.length is not None
        """It has a Content-Length or is chunked."""
        self.head_only = parsed.method == b"HEAD"
        self.key = ""
        """Name of the key; empty: none was shown and none is needed."""
        self.tenant = "anonymous"
        """Who is charged."""
        self.tier: Tier = "standard"
        """The tenant's."""
        self.most_tokens: int | None = None
        """Tokens that an answer may have where the request does not say, because a limit applies; None: none does."""
        self.models: frozenset[str] | None = None
        """Names that the key may ask for; None: all."""
        self.expires_at: float | None = None
        """When the key expires, in seconds since 1970; None: never."""
        self.wishes = Wishes()
        self.client_id = ""
        self.client = ""
        """A digest of its address, where a plain rate asks for it and it shows no key."""
        self.session = ""
        """A digest of what names the session: the name itself may be a secret, and this one reaches the journal."""
        self.region = ""
        """Where it comes from, where that matters: one of the configured regions, or empty."""
        self.forward = b""
        """Header lines that travel on, rendered."""
        self.content_type = b""
        self.gzip = False
        """The client takes gzip."""
        self.refusal: tuple[Label, str] | None = None
        self.allow = b""
        """A header line: the methods of its path, where it has another."""
        self._alike: bytes | None = None

    @property
    def alike(self) -> bytes:
        """All of the head that an engine might answer by: what is one request's or one client's own is left out."""
        if self._alike is None:
            lines = [line for line in self.forward.split(b"\r\n") if not line.startswith(_OF_ONE)]
            self._alike = b"\r\n".join([self.target, *sorted(lines)])
        return self._alike

    def refused(self, wall_s: float) -> tuple[Label, str] | None:
        """Why the request is refused at this time, in seconds since 1970: a head may outlive its key."""
        if self.refusal is None and self.expires_at is not None and wall_s >= self.expires_at:
            return "unauthorized", "This API key has expired."
        return self.refusal


def judge(parsed: RequestHead, peer: Peer, server: ServerSpec) -> Head:
    """Decide everything about a request that its head alone decides."""
    head = Head(parsed)
    route = find(parsed.target)
    if route is None:
        head.refusal = ("not_found", missing(parsed.target))
        return head
    head.route = route
    if parsed.method.decode() != route.method and not (head.head_only and route.method == "GET"):
        head.refusal = ("method_not_allowed", f"This path takes {route.method}.")
        head.allow = b"allow: POST\r\n" if route.method == "POST" else b"allow: GET, HEAD\r\n"
        return head
    _read_headers(head, parsed, peer, None if route.open else server)
    if server.session_headers or server.session_cookies:
        head.session = _session(parsed, server)
    if server.regions is not None:
        head.region = _region(head.wishes.region, peer, server.regions)
    return head


def _region(told: str, peer: Peer, regions: RegionsSpec) -> str:
    """The region that a header tells, where it is one and whoever tells it is believed; else here."""
    believed = regions.header == "anybody" or (regions.header == "proxies" and peer.trusted)
    return told if believed and told in regions.places else regions.here


def _read_headers(head: Head, parsed: RequestHead, peer: Peer, server: ServerSpec | None) -> None:
    lines: list[bytes] = []
    secrets: list[bytes] = []
    addresses = b""
    scheme = b""
    encoded = False
    for name, value in parsed.headers:
        if name == b"authorization":
            secrets.append(_bearer(value))
        elif name == b"x-api-key":
            secrets.append(value)
        elif name == b"x-request-id":
            if _ID.fullmatch(value):
                head.client_id = value.decode("ascii")
        elif name == b"x-forwarded-for":
            addresses = value
        elif name == b"x-forwarded-proto":
            scheme = value
        elif name == b"accept-encoding":
            head.gzip = takes_gzip(value)
        elif name == b"content-encoding":
            encoded = value.lower() not in (b"", b"identity")
        elif name == b"content-type":
            if head.content_type:
                head.refusal = ("bad_http", "Content-Type must be given once.")
            head.content_type = value
        elif name.startswith(b"x-penstock-"):
            head.wishes.read(name, value)
        if name not in _NOT_FORWARDED and name not in parsed.connection and not name.startswith(b"x-penstock-"):
            lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(_forwarded(peer, addresses, scheme))
    head.forward = b"".join(lines)
    if server is not None:
        _authorize(head, secrets, server)
        if not head.key and server.limits.per_client is not None:
            head.client = client_of(peer.address, peer.trusted, addresses, server.trusted_proxies)
        if head.wishes.mistake and head.refusal is None:
            head.refusal = ("bad_request", head.wishes.mistake)
    if encoded and head.refusal is None:
        head.refusal = ("encoded_body", "")


def _session(parsed: RequestHead, server: ServerSpec) -> str:
    """The session that the first of the configured headers names, else the first of the cookies; empty: none."""
    headers = {name.decode("latin-1"): value for name, value in reversed(parsed.headers)}
    for name in server.session_headers:
        if value := headers.get(name):
            return session_of(value)
    pairs = [pair.partition(b"=") for pair in headers.get("cookie", b"").split(b";")]
    cookies = {name.strip().decode("latin-1"): value.strip() for name, _, value in reversed(pairs)}
    for name in server.session_cookies:
        if value := cookies.get(name):
            return session_of(value)
    return ""


def session_of(value: bytes) -> str:
    """The digest that stands for a session's name."""
    return hashlib.blake2b(value, digest_size=8).hexdigest()


def cookie_line(name: str, ttl_s: float, secure: bool) -> bytes:
    """The header line that gives a client its session's cookie, with `%b` where the session stands."""
    flag = "; Secure" if secure else ""
    quoted = name.replace("%", "%%")
    return f"set-cookie: {quoted}=%b; Max-Age={max(1, int(ttl_s))}; Path=/; HttpOnly; SameSite=Lax{flag}\r\n".encode()


def _forwarded(peer: Peer, addresses: bytes, scheme: bytes) -> bytes:
    before = addresses + b", " if peer.trusted and _ADDRESSES.fullmatch(addresses) else b""
    scheme = scheme if peer.trusted and scheme in (b"http", b"https") else peer.scheme
    return b"x-forwarded-for: %b%b\r\nx-forwarded-proto: %b\r\n" % (before, peer.address, scheme)


def _bearer(value: bytes) -> bytes:
    scheme, _, secret = value.partition(b" ")
    return secret.strip(b" \t") if scheme.lower() == b"bearer" else b""


def _authorize(head: Head, secrets: list[bytes], server: ServerSpec) -> None:
    """Look the key up by its hash: no plain key is ever compared, kept or logged."""
    names = {server.key_names.get(hashlib.sha256(secret).hexdigest(), "") for secret in secrets if secret}
    name = names.pop() if len(names) == 1 else ""
    if name:
        head.key = head.tenant = name
        if server.key_terms:
            _grant(head, secrets, server)
    elif not server.open:
        head.refusal = ("unauthorized", "")
    else:
        head.most_tokens = server.most_tokens


def _grant(head: Head, secrets: list[bytes], server: ServerSpec) -> None:
    """What goes with the key."""
    for secret in secrets:
        terms = server.key_terms.get(hashlib.sha256(secret).hexdigest())
        if terms is not None:
            head.tenant, head.tier, head.most_tokens = terms.tenant or head.key, terms.tier, terms.most_tokens
            head.wishes.bound(PRIORITIES.index(terms.ceiling))
            head.models = None if terms.models is None else frozenset(terms.models)
            head.expires_at = terms.expires_at


class Memory:
    """The last verdict of one connection."""

    __slots__ = ("_after", "_before", "_head", "_server")

    def __init__(self) -> None:
        self._head: Head | None = None
        self._server: ServerSpec | None = None
        self._before = b""
        self._after = b""

    def read(self, raw: bytes, peer: Peer, server: ServerSpec) -> tuple[Head, int]:
        """The judged head and the length of its body (0 where it has none or is chunked). Raises Malformed.

        A head is known again by all its bytes but the digits of its Content-Length: what stands before and behind them
        was read by the strict parser in a head that was accepted, and other digits cannot change its meaning.
        """
        head = self._head
        if head is not None and server is self._server:
            before, after = self._before, self._after
            if not after:
                if raw == before:
                    return head, 0
            elif raw.startswith(before) and raw.endswith(after):
                digits = raw[len(before) : -len(after)]
                if digits.isdigit() and len(digits) < _MAX_DIGITS:
                    return head, int(digits)
        return self._read(raw, peer, server)

    def _read(self, raw: bytes, peer: Peer, server: ServerSpec) -> tuple[Head, int]:
        self._head = None
        parsed = parse_request_head(raw, server.limits.headers)
        head = judge(parsed, peer, server)
        length = parsed.length if parsed.length is not None else 0
        found = _LENGTH.search(raw)
        if found is not None:
            self._before, self._after = raw[: found.start(1)], raw[found.end(1) :]
        else:
            self._before, self._after = raw, b""
        if (found is not None) == (parsed.length is not None and length >= 0):
            self._head, self._server = head, server  # else the length has a form that the short cut does not know
        return head, max(length, 0)
